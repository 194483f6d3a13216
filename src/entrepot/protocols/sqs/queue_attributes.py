"""Queue attributes as SQS has them, and the policy that the broker keeps: checked, compared, and made of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import msgspec

from entrepot.broker.calls.queue_requests import QueueDescription, TimedPolicy
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.policy_rules import check_policy

RECEIVE_COUNT_MAX = 1000
SOURCES_MAX = 10

# Whole numbers: least, greatest, the policy's field, its factor.
NUMBERS: dict[str, tuple[int, int, str, int]] = {
    "DelaySeconds": (0, 900, "delay_ms", 1000),
    "MaximumMessageSize": (1024, 1_048_576, "record_max_bytes", 1),
    "MessageRetentionPeriod": (60, 1_209_600, "retention_ms", 1000),
    "ReceiveMessageWaitTimeSeconds": (0, 20, "wait_ms", 1000),
    "VisibilityTimeout": (0, 43_200, "visibility_ms", 1000),
}
FIFO_ONLY = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
# Kept as they are: nothing here is encrypted, but what was set is what is got.
KEPT = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
SETTABLE = (*NUMBERS, "Policy", "RedrivePolicy", "RedriveAllowPolicy", *FIFO_ONLY, *KEPT)
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
READ_ONLY = (*COUNTS, "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn")
KNOWN = frozenset((*SETTABLE, *READ_ONLY, "All"))

ArnOf = Callable[[str], str]  # a queue's ARN from its name
NameOf = Callable[[str], str | None]  # the name of a queue of the same namespace from its ARN; None: it is none


class Wished:
    """Attributes as a request gives them, checked: the policy they make, its fields that were given, and what is kept as it is."""

    __slots__ = ("access_policy", "attributes", "given", "policy")

    def __init__(self, policy: TimedPolicy, attributes: dict[str, str]) -> None:
        self.policy = policy
        self.given: set[str] = set()
        self.access_policy: str | None = None
        self.attributes = attributes


def unknown(name: str) -> SqsError:
    """No attribute is called that."""
    return SqsError("InvalidAttributeName", f"Unknown Attribute {name[:80]}.")


def invalid(name: str, why: str = "") -> SqsError:
    """No value of that attribute."""
    return SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}." + (f" Reason: {why}" if why else ""))


def read_attributes(attributes: dict[str, str], base: TimedPolicy, kept: dict[str, str], fifo: bool, name_of: NameOf) -> Wished:
    """What `attributes` make of a queue that has `base` and `kept`. Raises SqsError."""
    wished = Wished(base, dict(kept))
    for name, value in attributes.items():
        if name in NUMBERS:
            least, greatest, field, factor = NUMBERS[name]
            _set(wished, **{field: factor * _number(name, value, least, greatest)})
        elif name == "Policy":
            if value:
                check_policy(value)
            wished.access_policy = value
        elif name == "RedrivePolicy":
            _redrive(wished, value, fifo, name_of)
        elif name == "RedriveAllowPolicy":
            _redrive_allow(wished, value, name_of)
        elif name in FIFO_ONLY:
            if not fifo:
                if name in ("DeduplicationScope", "FifoThroughputLimit"):
                    raise SqsError("InvalidAttributeName", f"You can specify the {name} only when FifoQueue is set to true.")
                raise unknown(name)
            _fifo(wished, name, value)
        elif name in KEPT:
            _keep(wished, name, value)
        else:
            raise unknown(name)
    _encryption(wished, attributes)
    if wished.policy.limit_by_group and not wished.policy.deduplication_by_group:
        raise invalid("FifoThroughputLimit", "perMessageGroupId is allowed only when DeduplicationScope is messageGroup.")
    return wished


def _set(wished: Wished, **fields: Any) -> None:
    wished.policy = replace(wished.policy, **fields)
    wished.given.update(fields)


def _number(name: str, value: str, least: int, greatest: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 12) or not least <= int(value) <= greatest:
        raise invalid(name, f"Must be a whole number from {least} to {greatest}.")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise invalid(name, "Must be true or false.")
    return value.lower() == "true"


def _fifo(wished: Wished, name: str, value: str) -> None:
    if name == "FifoQueue":
        if not _boolean(name, value):
            raise invalid(name, "The name of a queue that ends with .fifo is that of a FIFO queue.")
    elif name == "ContentBasedDeduplication":
        _set(wished, deduplicate_content=_boolean(name, value))
    elif name == "DeduplicationScope":
        if value not in ("messageGroup", "queue"):
            raise invalid(name, "Must be messageGroup or queue.")
        _set(wished, deduplication_by_group=value == "messageGroup")
    else:
        if value not in ("perQueue", "perMessageGroupId"):
            raise invalid(name, "Must be perQueue or perMessageGroupId.")
        _set(wished, limit_by_group=value == "perMessageGroupId")


def _keep(wished: Wished, name: str, value: str) -> None:
    if name == "SqsManagedSseEnabled":
        value = str(_boolean(name, value)).lower()
    elif name == "KmsDataKeyReusePeriodSeconds":
        _number(name, value, 60, 86_400)
    if value:
        wished.attributes[name] = value
    else:
        wished.attributes.pop(name, None)


def _encryption(wished: Wished, given: dict[str, str]) -> None:
    """There is one way at a time: who sets a key turns SSE-SQS off, which stays off without the key, and who turns SSE-SQS on takes the key away."""
    managed = wished.attributes.get("SqsManagedSseEnabled") == "true" and "SqsManagedSseEnabled" in given
    if given.get("KmsMasterKeyId"):
        if managed:
            raise SqsError(
                "InvalidAttributeName", "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
            )
        wished.attributes["SqsManagedSseEnabled"] = "false"
    elif managed:
        wished.attributes.pop("KmsMasterKeyId", None)
    if "KmsMasterKeyId" not in wished.attributes:
        wished.attributes.pop("KmsDataKeyReusePeriodSeconds", None)


def _json(name: str, value: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise invalid(name) from None
    if not isinstance(document, dict):
        raise invalid(name)
    return document


def _redrive(wished: Wished, value: str, fifo: bool, name_of: NameOf) -> None:
    name = "RedrivePolicy"
    if not value:
        _set(wished, dead_letter_queue=None, receive_max=0)
        return
    document = _json(name, value)
    target, count = document.get("deadLetterTargetArn"), document.get("maxReceiveCount")
    text = f"Value {value[:300]} for parameter {name} is invalid. Reason: "
    if target is None or count is None:
        missing = "deadLetterTargetArn" if target is None else "maxReceiveCount"
        raise SqsError("InvalidParameterValueException", f"{text}Redrive policy does not contain mandatory attribute: {missing}.")
    if set(document) - {"deadLetterTargetArn", "maxReceiveCount"}:
        raise SqsError("InvalidParameterValueException", f"{text}Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].")
    digits = str(count)
    if isinstance(count, bool) or not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:9]) <= RECEIVE_COUNT_MAX):
        raise SqsError(
            "InvalidParameterValueException",
            f"{text}Invalid value for maxReceiveCount: {digits[:20]}, valid values are from 1 to {RECEIVE_COUNT_MAX} both inclusive.",
        )
    queue = name_of(target) if isinstance(target, str) else None
    if queue is None:
        raise SqsError("InvalidParameterValueException", f"{text}Invalid value for deadLetterTargetArn: {str(target)[:300]}.")
    if queue.endswith(".fifo") != fifo:
        kind = "FIFO" if fifo else "standard"
        raise SqsError("InvalidParameterValueException", f"{text}Dead-letter queue must be of the same type as the source, a {kind} queue.")
    _set(wished, dead_letter_queue=queue, receive_max=int(digits))


def _redrive_allow(wished: Wished, value: str, name_of: NameOf) -> None:
    name = "RedriveAllowPolicy"
    if not value:
        _set(wished, sources_allowed=None)
        return
    document = _json(name, value)
    permission, arns = document.get("redrivePermission"), document.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue") or (permission == "byQueue") != (arns is not None):
        raise invalid(name, "redrivePermission must be allowAll, denyAll, or byQueue with sourceQueueArns.")
    if permission == "allowAll":
        _set(wished, sources_allowed=None)
    elif permission == "denyAll":
        _set(wished, sources_allowed=())
    else:
        if not isinstance(arns, list) or not 1 <= len(arns) <= SOURCES_MAX:
            raise invalid(name, f"sourceQueueArns must be a list of 1 to {SOURCES_MAX} ARNs.")
        names = [name_of(arn) if isinstance(arn, str) else None for arn in arns]
        if None in names:
            raise invalid(name, "sourceQueueArns must be ARNs of queues of the account.")
        _set(wished, sources_allowed=tuple(sorted({queue for queue in names if queue is not None})))


def check_names(names: Iterable[str]) -> set[str]:
    """The names themselves, all where All is among them. Raises SqsError for what no attribute is called."""
    wanted = set(names)
    for name in wanted:
        if name not in KNOWN:
            raise unknown(name)
    return set(KNOWN) if "All" in wanted else wanted


def show_attributes(found: QueueDescription, wanted: set[str], arn_of: ArnOf) -> dict[str, str]:
    """The attributes asked for, of those that the queue has."""
    policy = found.policy
    values: dict[str, str] = {
        "QueueArn": arn_of(found.name),
        "ApproximateNumberOfMessages": str(found.visible),
        "ApproximateNumberOfMessagesNotVisible": str(found.leased),
        "ApproximateNumberOfMessagesDelayed": str(found.delayed),
        "CreatedTimestamp": str(found.created_s),
        "LastModifiedTimestamp": str(found.modified_s),
    }
    for name, (_, greatest, field, factor) in NUMBERS.items():
        value = getattr(policy, field)
        values[name] = str(value // factor if value >= 0 else greatest)
    if found.access_policy:
        values["Policy"] = found.access_policy
    if policy.dead_letter_queue is not None:
        redrive = {"deadLetterTargetArn": arn_of(policy.dead_letter_queue), "maxReceiveCount": policy.receive_max}
        values["RedrivePolicy"] = msgspec.json.encode(redrive).decode()
    if policy.sources_allowed is not None:
        allow: dict[str, Any] = {"redrivePermission": "byQueue", "sourceQueueArns": [arn_of(name) for name in policy.sources_allowed]}
        values["RedriveAllowPolicy"] = msgspec.json.encode(allow if policy.sources_allowed else {"redrivePermission": "denyAll"}).decode()
    if policy.groups:
        values["FifoQueue"] = "true"
        values["ContentBasedDeduplication"] = str(policy.deduplicate_content).lower()
        values["DeduplicationScope"] = "messageGroup" if policy.deduplication_by_group else "queue"
        values["FifoThroughputLimit"] = "perMessageGroupId" if policy.limit_by_group else "perQueue"
    values |= found.attributes
    if "KmsMasterKeyId" in values:
        values.setdefault("KmsDataKeyReusePeriodSeconds", "300")
        values["SqsManagedSseEnabled"] = "false"  # older versions kept both
    else:
        values.pop("KmsDataKeyReusePeriodSeconds", None)
        values.setdefault("SqsManagedSseEnabled", "true")
    return {name: value for name, value in values.items() if name in wanted}
