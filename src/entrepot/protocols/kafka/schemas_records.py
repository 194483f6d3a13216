"""Tables of the messages for writing and reading records, as schema.py reads them; fields are named as Kafka names them."""

PRODUCE_REQUEST = """
    transactional_id string ? =null
    acks i16
    timeout_ms i32
    topic_data []
        name string
        partition_data []
            index i32
            records records ?
"""

PRODUCE_RESPONSE = """
    responses []
        name string
        partition_responses []
            index i32
            error_code i16
            base_offset i64
            log_append_time_ms i64 =-1
            log_start_offset i64 5+ =-1
            record_errors [] 8+
                batch_index i32
                batch_index_error_message string ? =null
            error_message string 8+ ? =null
            current_leader struct 10+ tag=0
                leader_id i32 =-1
                leader_epoch i32 =-1
    throttle_time_ms i32
    node_endpoints [] 10+ tag=0
        node_id i32
        host string
        port i32
        rack string ? =null
"""

FETCH_REQUEST = """
    cluster_id string 12+ ? tag=0 =null
    replica_state struct 15+ tag=1
        replica_id i32 =-1
        replica_epoch i64 =-1
    replica_id i32 4-14 =-1
    max_wait_ms i32
    min_bytes i32
    max_bytes i32 =2147483647
    isolation_level i8
    session_id i32 7+
    session_epoch i32 7+ =-1
    topics []
        topic_id uuid 13+
        topic string 4-12
        partitions []
            partition i32
            current_leader_epoch i32 9+ =-1
            fetch_offset i64
            last_fetched_epoch i32 12+ =-1
            log_start_offset i64 5+ =-1
            partition_max_bytes i32
            replica_directory_id uuid 17+ tag=0
    forgotten_topics_data [] 7+
        topic_id uuid 13+
        topic string 7-12
        partitions []i32
    rack_id string 11+
"""

FETCH_RESPONSE = """
    throttle_time_ms i32
    error_code i16 7+
    session_id i32 7+
    responses []
        topic_id uuid 13+
        topic string 4-12
        partitions []
            partition_index i32
            error_code i16
            high_watermark i64
            last_stable_offset i64 =-1
            log_start_offset i64 5+ =-1
            diverging_epoch struct 12+ tag=0
                epoch i32 =-1
                end_offset i64 =-1
            current_leader struct 12+ tag=1
                leader_id i32 =-1
                leader_epoch i32 =-1
            snapshot_id struct 12+ tag=2
                end_offset i64 =-1
                epoch i32 =-1
            aborted_transactions [] ?
                producer_id i64
                first_offset i64
            preferred_read_replica i32 11+ =-1
            records records ?
    node_endpoints [] 16+ tag=0
        node_id i32
        host string
        port i32
        rack string ? =null
"""

LIST_OFFSETS_REQUEST = """
    replica_id i32
    isolation_level i8 2+
    topics []
        name string
        partitions []
            partition_index i32
            current_leader_epoch i32 4+ =-1
            timestamp i64
    timeout_ms i32 10+
"""

LIST_OFFSETS_RESPONSE = """
    throttle_time_ms i32 2+
    topics []
        name string
        partitions []
            partition_index i32
            error_code i16
            timestamp i64 =-1
            offset i64 =-1
            leader_epoch i32 4+ =-1
"""

OFFSET_FOR_LEADER_EPOCH_REQUEST = """
    replica_id i32 3+ =-2
    topics []
        topic string
        partitions []
            partition i32
            current_leader_epoch i32 =-1
            leader_epoch i32
"""

OFFSET_FOR_LEADER_EPOCH_RESPONSE = """
    throttle_time_ms i32
    topics []
        topic string
        partitions []
            error_code i16
            partition i32
            leader_epoch i32 =-1
            end_offset i64 =-1
"""

INIT_PRODUCER_ID_REQUEST = """
    transactional_id string ?
    transaction_timeout_ms i32
    producer_id i64 3+ =-1
    producer_epoch i16 3+ =-1
"""

INIT_PRODUCER_ID_RESPONSE = """
    throttle_time_ms i32
    error_code i16
    producer_id i64 =-1
    producer_epoch i16
"""

DELETE_RECORDS_REQUEST = """
    topics []
        name string
        partitions []
            partition_index i32
            offset i64
    timeout_ms i32
"""

DELETE_RECORDS_RESPONSE = """
    throttle_time_ms i32
    topics []
        name string
        partitions []
            partition_index i32
            low_watermark i64
            error_code i16
"""
