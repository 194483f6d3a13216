"""The messages of what tools ask of a cluster's brokers, as tables (schema.py)."""

ELECT_LEADERS_REQUEST = """
    election_type i8 1+
    topic_partitions [] ? =null
        topic string
        partitions []i32
    timeout_ms i32 =60000
"""

ELECT_LEADERS_RESPONSE = """
    throttle_time_ms i32
    error_code i16 1+
    replica_election_results []
        topic string
        partition_result []
            partition_id i32
            error_code i16
            error_message string ? =null
"""

ALTER_REASSIGNMENTS_REQUEST = """
    timeout_ms i32 =60000
    allow_replication_factor_change bool 1+ =true
    topics []
        name string
        partitions []
            partition_index i32
            replicas []i32 ? =null
"""

ALTER_REASSIGNMENTS_RESPONSE = """
    throttle_time_ms i32
    allow_replication_factor_change bool 1+ =true
    error_code i16
    error_message string ? =null
    responses []
        name string
        partitions []
            partition_index i32
            error_code i16
            error_message string ? =null
"""

LIST_REASSIGNMENTS_REQUEST = """
    timeout_ms i32 =60000
    topics [] ? =null
        name string
        partition_indexes []i32
"""

LIST_REASSIGNMENTS_RESPONSE = """
    throttle_time_ms i32
    error_code i16
    error_message string ? =null
    topics []
        name string
        partitions []
            partition_index i32
            replicas []i32
            adding_replicas []i32
            removing_replicas []i32
"""

DESCRIBE_LOG_DIRS_REQUEST = """
    topics [] ? =null
        topic string
        partitions []i32
"""

DESCRIBE_LOG_DIRS_RESPONSE = """
    throttle_time_ms i32
    error_code i16 3+
    results []
        error_code i16
        log_dir string
        topics []
            name string
            partitions []
                partition_index i32
                partition_size i64
                offset_lag i64
                is_future_key bool
        total_bytes i64 4+ =-1
        usable_bytes i64 4+ =-1
        is_cordoned bool 5+
"""

LIST_CONFIG_RESOURCES_REQUEST = """
    resource_types []i8 1+
"""

LIST_CONFIG_RESOURCES_RESPONSE = """
    throttle_time_ms i32
    error_code i16
    config_resources []
        resource_name string
        resource_type i8 1+ =16
"""
