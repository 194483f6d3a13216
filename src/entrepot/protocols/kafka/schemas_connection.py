"""Tables of the messages for finding the broker and logging in, as schema.py reads them; fields are named as Kafka names them."""

API_VERSIONS_REQUEST = """
    client_software_name string 3+
    client_software_version string 3+
"""

API_VERSIONS_RESPONSE = """
    error_code i16
    api_keys []
        api_key i16
        min_version i16
        max_version i16
    throttle_time_ms i32 1+
    supported_features [] 3+ tag=0
        name string
        min_version i16
        max_version i16
    finalized_features_epoch i64 3+ tag=1 =-1
    finalized_features [] 3+ tag=2
        name string
        max_version_level i16
        min_version_level i16
    zk_migration_ready bool 3+ tag=3
"""

SASL_HANDSHAKE_REQUEST = """
    mechanism string
"""

SASL_HANDSHAKE_RESPONSE = """
    error_code i16
    mechanisms []string
"""

SASL_AUTHENTICATE_REQUEST = """
    auth_bytes bytes
"""

SASL_AUTHENTICATE_RESPONSE = """
    error_code i16
    error_message string ?
    auth_bytes bytes
    session_lifetime_ms i64 1+
"""

METADATA_REQUEST = """
    topics [] ?1+
        topic_id uuid 10+
        name string ?10+
    allow_auto_topic_creation bool 4+ =true
    include_cluster_authorized_operations bool 8-10
    include_topic_authorized_operations bool 8+
"""

METADATA_RESPONSE = """
    throttle_time_ms i32 3+
    brokers []
        node_id i32
        host string
        port i32
        rack string 1+ ? =null
    cluster_id string 2+ ? =null
    controller_id i32 1+ =-1
    topics []
        error_code i16
        name string ?12+
        topic_id uuid 10+
        is_internal bool 1+
        partitions []
            error_code i16
            partition_index i32
            leader_id i32
            leader_epoch i32 7+ =-1
            replica_nodes []i32
            isr_nodes []i32
            offline_replicas []i32 5+
        topic_authorized_operations i32 8+ =-2147483648
    error_code i16 13+
    cluster_authorized_operations i32 8-10 =-2147483648
"""

FIND_COORDINATOR_REQUEST = """
    key string 0-3
    key_type i8 1+
    coordinator_keys []string 4+
"""

FIND_COORDINATOR_RESPONSE = """
    throttle_time_ms i32 1+
    coordinators [] 4+
        key string
        node_id i32
        host string
        port i32
        error_code i16
        error_message string ?
    error_code i16 0-3
    error_message string 1-3 ?
    node_id i32 0-3
    host string 0-3
    port i32 0-3
"""

DESCRIBE_CLUSTER_REQUEST = """
    include_cluster_authorized_operations bool
    endpoint_type i8 1+ =1
    include_fenced_brokers bool 2+
"""

DESCRIBE_CLUSTER_RESPONSE = """
    throttle_time_ms i32
    error_code i16
    error_message string ? =null
    endpoint_type i8 1+ =1
    cluster_id string
    controller_id i32 =-1
    brokers []
        broker_id i32
        host string
        port i32
        rack string ? =null
        is_fenced bool 2+
    cluster_authorized_operations i32 =-2147483648
"""

DESCRIBE_TOPIC_PARTITIONS_REQUEST = """
    topics []
        name string
    response_partition_limit i32 =2000
    cursor struct ? =null
        topic_name string
        partition_index i32
"""

DESCRIBE_TOPIC_PARTITIONS_RESPONSE = """
    throttle_time_ms i32
    topics []
        error_code i16
        name string ?
        topic_id uuid
        is_internal bool
        partitions []
            error_code i16
            partition_index i32
            leader_id i32
            leader_epoch i32 =-1
            replica_nodes []i32
            isr_nodes []i32
            eligible_leader_replicas []i32 ? =null
            last_known_elr []i32 ? =null
            offline_replicas []i32
        topic_authorized_operations i32 =-2147483648
    next_cursor struct ? =null
        topic_name string
        partition_index i32
"""
