"""Tables of the messages for consumer groups and their offsets, as schema.py reads them; fields are named as Kafka names them."""

OFFSET_COMMIT_REQUEST = """
    group_id string
    generation_id_or_member_epoch i32 =-1
    member_id string
    group_instance_id string 7+ ? =null
    retention_time_ms i64 2-4 =-1
    topics []
        name string
        partitions []
            partition_index i32
            committed_offset i64
            committed_leader_epoch i32 6+ =-1
            committed_metadata string ?
"""

OFFSET_COMMIT_RESPONSE = """
    throttle_time_ms i32 3+
    topics []
        name string
        partitions []
            partition_index i32
            error_code i16
"""

OFFSET_FETCH_REQUEST = """
    groups [] 8+
        group_id string
        member_id string 9+ ? =null
        member_epoch i32 9+ =-1
        topics [] ?
            name string
            partition_indexes []i32
    group_id string 1-7
    topics [] 1-7 ?2+
        name string
        partition_indexes []i32
    require_stable bool 7+
"""

OFFSET_FETCH_RESPONSE = """
    throttle_time_ms i32 3+
    groups [] 8+
        group_id string
        topics []
            name string
            partitions []
                partition_index i32
                committed_offset i64
                committed_leader_epoch i32 =-1
                metadata string ?
                error_code i16
        error_code i16
    topics [] 1-7
        name string
        partitions []
            partition_index i32
            committed_offset i64
            committed_leader_epoch i32 5+ =-1
            metadata string ?
            error_code i16
    error_code i16 2-7
"""

JOIN_GROUP_REQUEST = """
    group_id string
    session_timeout_ms i32
    rebalance_timeout_ms i32 1+ =-1
    member_id string
    group_instance_id string 5+ ? =null
    protocol_type string
    protocols []
        name string
        metadata bytes
    reason string 8+ ? =null
"""

JOIN_GROUP_RESPONSE = """
    throttle_time_ms i32 2+
    error_code i16
    generation_id i32 =-1
    protocol_type string 7+ ? =null
    protocol_name string ?7+
    leader string
    skip_assignment bool 9+
    member_id string
    members []
        member_id string
        group_instance_id string 5+ ? =null
        metadata bytes
"""

HEARTBEAT_REQUEST = """
    group_id string
    generation_id i32
    member_id string
    group_instance_id string 3+ ? =null
"""

HEARTBEAT_RESPONSE = """
    throttle_time_ms i32 1+
    error_code i16
"""

LEAVE_GROUP_REQUEST = """
    group_id string
    members [] 3+
        member_id string
        group_instance_id string ? =null
        reason string 5+ ? =null
    member_id string 0-2
"""

LEAVE_GROUP_RESPONSE = """
    throttle_time_ms i32 1+
    error_code i16
    members [] 3+
        member_id string
        group_instance_id string ?
        error_code i16
"""

SYNC_GROUP_REQUEST = """
    group_id string
    generation_id i32
    member_id string
    group_instance_id string 3+ ? =null
    protocol_type string 5+ ? =null
    protocol_name string 5+ ? =null
    assignments []
        member_id string
        assignment bytes
"""

SYNC_GROUP_RESPONSE = """
    throttle_time_ms i32 1+
    error_code i16
    protocol_type string 5+ ? =null
    protocol_name string 5+ ? =null
    assignment bytes
"""

DESCRIBE_GROUPS_REQUEST = """
    groups []string
    include_authorized_operations bool 3+
"""

DESCRIBE_GROUPS_RESPONSE = """
    throttle_time_ms i32 1+
    groups []
        error_code i16
        error_message string 6+ ? =null
        group_id string
        group_state string
        protocol_type string
        protocol_data string
        members []
            member_id string
            group_instance_id string 4+ ? =null
            client_id string
            client_host string
            member_metadata bytes
            member_assignment bytes
        authorized_operations i32 3+ =-2147483648
"""

LIST_GROUPS_REQUEST = """
    states_filter []string 4+
    types_filter []string 5+
"""

LIST_GROUPS_RESPONSE = """
    throttle_time_ms i32 1+
    error_code i16
    groups []
        group_id string
        protocol_type string
        group_state string 4+
        group_type string 5+
"""

DELETE_GROUPS_REQUEST = """
    groups_names []string
"""

DELETE_GROUPS_RESPONSE = """
    throttle_time_ms i32
    results []
        group_id string
        error_code i16
"""

OFFSET_DELETE_REQUEST = """
    group_id string
    topics []
        name string
        partitions []
            partition_index i32
"""

OFFSET_DELETE_RESPONSE = """
    error_code i16
    throttle_time_ms i32
    topics []
        name string
        partitions []
            partition_index i32
            error_code i16
"""

CONSUMER_GROUP_HEARTBEAT_REQUEST = """
    group_id string
    member_id string
    member_epoch i32
    instance_id string ? =null
    rack_id string ? =null
    rebalance_timeout_ms i32 =-1
    subscribed_topic_names []string ? =null
    subscribed_topic_regex string 1+ ? =null
    server_assignor string ? =null
    topic_partitions [] ?
        topic_id uuid
        partitions []i32
"""

CONSUMER_GROUP_HEARTBEAT_RESPONSE = """
    throttle_time_ms i32
    error_code i16
    error_message string ? =null
    member_id string ? =null
    member_epoch i32
    heartbeat_interval_ms i32
    assignment struct ? =null
        topic_partitions []
            topic_id uuid
            partitions []i32
"""

CONSUMER_GROUP_DESCRIBE_REQUEST = """
    group_ids []string
    include_authorized_operations bool
"""

CONSUMER_GROUP_DESCRIBE_RESPONSE = """
    throttle_time_ms i32
    groups []
        error_code i16
        error_message string ? =null
        group_id string
        group_state string
        group_epoch i32
        assignment_epoch i32
        assignor_name string
        members []
            member_id string
            instance_id string ? =null
            rack_id string ? =null
            member_epoch i32
            client_id string
            client_host string
            subscribed_topic_names []string
            subscribed_topic_regex string ? =null
            assignment struct
                topic_partitions []
                    topic_id uuid
                    topic_name string
                    partitions []i32
            target_assignment struct
                topic_partitions []
                    topic_id uuid
                    topic_name string
                    partitions []i32
            member_type i8 1+ =-1
        authorized_operations i32 =-2147483648
"""
