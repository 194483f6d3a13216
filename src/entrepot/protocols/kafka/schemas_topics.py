"""Tables of the messages for topics and their configuration, as schema.py reads them; fields are named as Kafka names them."""

CREATE_TOPICS_REQUEST = """
    topics []
        name string
        num_partitions i32
        replication_factor i16
        assignments []
            partition_index i32
            broker_ids []i32
        configs []
            name string
            value string ?
    timeout_ms i32 =60000
    validate_only bool
"""

CREATE_TOPICS_RESPONSE = """
    throttle_time_ms i32
    topics []
        name string
        topic_id uuid 7+
        error_code i16
        error_message string ?
        topic_config_error_code i16 5+ tag=0
        num_partitions i32 5+ =-1
        replication_factor i16 5+ =-1
        configs [] 5+ ?
            name string
            value string ?
            read_only bool
            config_source i8 =-1
            is_sensitive bool
"""

DELETE_TOPICS_REQUEST = """
    topics [] 6+
        name string ? =null
        topic_id uuid
    topic_names []string 1-5
    timeout_ms i32
"""

DELETE_TOPICS_RESPONSE = """
    throttle_time_ms i32
    responses []
        name string ?6+
        topic_id uuid 6+
        error_code i16
        error_message string 5+ ? =null
"""

CREATE_PARTITIONS_REQUEST = """
    topics []
        name string
        count i32
        assignments [] ?
            broker_ids []i32
    timeout_ms i32
    validate_only bool
"""

CREATE_PARTITIONS_RESPONSE = """
    throttle_time_ms i32
    results []
        name string
        error_code i16
        error_message string ? =null
"""

DESCRIBE_CONFIGS_REQUEST = """
    resources []
        resource_type i8
        resource_name string
        configuration_keys []string ?
    include_synonyms bool
    include_documentation bool 3+
"""

DESCRIBE_CONFIGS_RESPONSE = """
    throttle_time_ms i32
    results []
        error_code i16
        error_message string ?
        resource_type i8
        resource_name string
        configs []
            name string
            value string ?
            read_only bool
            config_source i8 =-1
            is_sensitive bool
            synonyms []
                name string
                value string ?
                source i8
            config_type i8 3+
            documentation string 3+ ?
"""

ALTER_CONFIGS_REQUEST = """
    resources []
        resource_type i8
        resource_name string
        configs []
            name string
            value string ?
    validate_only bool
"""

ALTER_CONFIGS_RESPONSE = """
    throttle_time_ms i32
    responses []
        error_code i16
        error_message string ?
        resource_type i8
        resource_name string
"""

INCREMENTAL_ALTER_CONFIGS_REQUEST = """
    resources []
        resource_type i8
        resource_name string
        configs []
            name string
            config_operation i8
            value string ?
    validate_only bool
"""

INCREMENTAL_ALTER_CONFIGS_RESPONSE = """
    throttle_time_ms i32
    responses []
        error_code i16
        error_message string ?
        resource_type i8
        resource_name string
"""
