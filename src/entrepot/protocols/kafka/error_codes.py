"""Kafka's error codes, and which of them says what the broker refused (https://kafka.apache.org/protocol, "Error codes")."""

from __future__ import annotations

import enum

from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable


class ErrorCode(enum.IntEnum):
    """Named and numbered as Kafka does; those that this broker sends."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    MEMBER_ID_REQUIRED = 79
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    ELECTION_NOT_NEEDED = 84
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    INVALID_REGULAR_EXPRESSION = 128


E = ErrorCode

GENERAL = {
    Reason.NOT_SUPPORTED: E.INVALID_REQUEST,
    Reason.INVALID: E.INVALID_REQUEST,
    Reason.LIMIT: E.POLICY_VIOLATION,
    Reason.UNAUTHENTICATED: E.SASL_AUTHENTICATION_FAILED,
}
"""What a reason means where a table below says nothing else."""

TOPIC = GENERAL | {
    Reason.NOT_FOUND: E.UNKNOWN_TOPIC_OR_PARTITION,
    Reason.NOT_PERMITTED: E.TOPIC_AUTHORIZATION_FAILED,
    Reason.EXISTS_DIFFERENT: E.TOPIC_ALREADY_EXISTS,
    Reason.OUT_OF_RANGE: E.OFFSET_OUT_OF_RANGE,
    Reason.UNKNOWN_KEY: E.INVALID_CONFIG,
    Reason.INVALID_VALUE: E.INVALID_CONFIG,
    Reason.TOO_LARGE: E.MESSAGE_TOO_LARGE,
    Reason.ENDED_EPOCH: E.FENCED_LEADER_EPOCH,
    Reason.UNKNOWN_EPOCH: E.UNKNOWN_LEADER_EPOCH,
}
"""Topics, their configuration, and offsets in them."""

NAMING = TOPIC | {Reason.INVALID: E.INVALID_TOPIC_EXCEPTION}
"""Topics that are only named: an invalid argument is the name."""

PARTITIONS = TOPIC | {Reason.INVALID: E.INVALID_PARTITIONS}

APPEND = TOPIC | {
    Reason.INVALID: E.INVALID_TIMESTAMP,
    Reason.LIMIT: E.KAFKA_STORAGE_ERROR,
    Reason.FULL: E.KAFKA_STORAGE_ERROR,
    Reason.OUT_OF_SEQUENCE: E.OUT_OF_ORDER_SEQUENCE_NUMBER,
    Reason.STALE_PRODUCER: E.INVALID_PRODUCER_EPOCH,
    Reason.UNKNOWN_PRODUCER: E.UNKNOWN_PRODUCER_ID,
    Reason.NOT_SUPPORTED: E.INVALID_RECORD,
}
"""Produce. A disk that is full is told as one that fails: clients send again later."""

GROUP = GENERAL | {
    Reason.NOT_FOUND: E.GROUP_ID_NOT_FOUND,
    Reason.NOT_PERMITTED: E.GROUP_AUTHORIZATION_FAILED,
    Reason.NOT_EMPTY: E.NON_EMPTY_GROUP,
    Reason.IN_USE: E.GROUP_SUBSCRIBED_TO_TOPIC,
    Reason.UNKNOWN_MEMBER: E.UNKNOWN_MEMBER_ID,
    Reason.STALE_MEMBER: E.ILLEGAL_GENERATION,
    Reason.REBALANCING: E.REBALANCE_IN_PROGRESS,
    Reason.MEMBER_ID_REQUIRED: E.MEMBER_ID_REQUIRED,
    Reason.FENCED_INSTANCE: E.FENCED_INSTANCE_ID,
    Reason.UNRELEASED_INSTANCE: E.UNRELEASED_INSTANCE_ID,
    Reason.INCONSISTENT_GROUP: E.INCONSISTENT_GROUP_PROTOCOL,
    Reason.UNSUPPORTED_ASSIGNOR: E.UNSUPPORTED_ASSIGNOR,
    Reason.STALE_EPOCH: E.STALE_MEMBER_EPOCH,
    Reason.FENCED_MEMBER: E.FENCED_MEMBER_EPOCH,
    Reason.INVALID_SESSION_TIMEOUT: E.INVALID_SESSION_TIMEOUT,
    Reason.INVALID_PATTERN: E.INVALID_REGULAR_EXPRESSION,
    Reason.INVALID_GROUP: E.INVALID_GROUP_ID,
    Reason.LIMIT: E.GROUP_MAX_SIZE_REACHED,
}
"""Groups of both kinds."""

CONSUMER_GROUP = GROUP | {Reason.INCONSISTENT_GROUP: E.GROUP_ID_NOT_FOUND}
"""Where only groups of the newer kind are meant: another one is none."""

OFFSETS_PARTITION = TOPIC | {Reason.TOO_LARGE: E.OFFSET_METADATA_TOO_LARGE, Reason.IN_USE: E.GROUP_SUBSCRIBED_TO_TOPIC}
"""One partition of those whose offsets are committed, fetched or deleted."""

del E


OF_COORDINATORS = frozenset({ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR})
"""What groups' clients are told of what can be tried again: here, or where they find the coordinator then."""


def code_for(error: BaseException | None, table: dict[Reason, ErrorCode], unavailable: ErrorCode) -> ErrorCode:
    """The code that says `error`; `unavailable` for what can be tried again.

    An outcome that is not known is REQUEST_TIMED_OUT, as Kafka has it: perhaps done, try again. Groups' clients do not know that code, and are told
    that the coordinator is not available, as by Kafka where a write of its coordinator timed out.
    """
    if error is None:
        return ErrorCode.NONE
    if isinstance(error, Refused):
        return table.get(error.reason, ErrorCode.UNKNOWN_SERVER_ERROR)
    if isinstance(error, Unavailable):
        return unavailable
    if isinstance(error, OutcomeUnknown):
        return ErrorCode.COORDINATOR_NOT_AVAILABLE if unavailable in OF_COORDINATORS else ErrorCode.REQUEST_TIMED_OUT
    return ErrorCode.UNKNOWN_SERVER_ERROR
