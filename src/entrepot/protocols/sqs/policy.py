"""Queue policies: whether the policy of a queue allows a principal an action (AWS's policy language, as far as SQS has use for it).

Deny wins over Allow. An Allow whose condition has an operator or a key that is not known here never allows; a Deny of that kind always denies: what
is not understood never opens a queue.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from entrepot.protocols.sqs.errors import SqsError

ALLOW = "Allow"
DENY = "Deny"
POLICY_MAX_BYTES = 65_536
STATEMENTS_MAX = 1000
OWNER_ONLY = frozenset(
    {
        "AddPermission",
        "RemovePermission",
        "CreateQueue",
        "DeleteQueue",
        "ListQueues",
        "SetQueueAttributes",
        "TagQueue",
        "UntagQueue",
        "ListQueueTags",
        "StartMessageMoveTask",
        "CancelMessageMoveTask",
        "ListMessageMoveTasks",
    }
)
"""What no policy gives to another account."""
VERSIONS = ("2008-10-17", "2012-10-17")


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks for what. `arn` is the principal's ("": anonymous), `account` its account; `keys` are what conditions may look at, in lower case."""

    action: str  # SendMessage
    resource: str  # the queue's ARN
    account: str
    arn: str
    keys: Mapping[str, str] = field(default_factory=dict)


def parse_policy(text: str) -> dict[str, Any]:
    """A policy's document. Raises SqsError (InvalidAttributeValue)."""
    bad = SqsError("InvalidAttributeValue", "Invalid value for the parameter Policy.")
    if len(text) > POLICY_MAX_BYTES:
        raise bad
    try:
        document = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise bad from None
    if not isinstance(document, dict) or document.get("Version", VERSIONS[0]) not in VERSIONS:
        raise bad
    statements = _list(document.get("Statement"))
    if not statements or len(statements) > STATEMENTS_MAX:
        raise bad
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in (ALLOW, DENY):
            raise bad
        if not any(name in statement for name in ("Principal", "NotPrincipal")) or not any(name in statement for name in ("Action", "NotAction")):
            raise bad
        if not isinstance(statement.get("Condition", {}), dict):
            raise bad
    return document


def evaluate(document: dict[str, Any], context: Context) -> str | None:
    """ALLOW, DENY, or None: the policy says nothing of this."""
    allowed = False
    for statement in _list(document.get("Statement")):
        effect = statement.get("Effect")
        if not (_principal(statement, context) and _action(statement, context) and _resource(statement, context)):
            continue
        holds = _conditions(statement.get("Condition"), context)
        if effect == DENY and holds is not False:
            return DENY
        if effect == ALLOW and holds is True:
            allowed = True
    return ALLOW if allowed else None


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def matches(pattern: str, text: str, fold: bool = False) -> bool:
    """Whether `text` is like the pattern, in which * is anything and ? one character. At most len(pattern) * len(text) steps."""
    if fold:
        pattern, text = pattern.lower(), text.lower()
    at = pos = 0
    star, mark = -1, 0  # the last * so far, and up to where it reaches in the text
    while pos < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, pos
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[pos]):
            at += 1
            pos += 1
        elif star >= 0:
            mark += 1
            at, pos = star + 1, mark
        else:
            return False
    return all(rest == "*" for rest in pattern[at:])


def _principal(statement: dict[str, Any], context: Context) -> bool:
    if "NotPrincipal" in statement:
        return not _is_principal(statement["NotPrincipal"], context)
    return _is_principal(statement.get("Principal"), context)


def _is_principal(value: Any, context: Context) -> bool:
    if value == "*":
        return True
    if not isinstance(value, dict):
        return False
    for name in _list(value.get("AWS")):
        if name == "*":
            return True
        if not context.arn or not isinstance(name, str):
            continue
        if name in (context.arn, context.account, f"arn:aws:iam::{context.account}:root"):
            return True
    return False


def _action(statement: dict[str, Any], context: Context) -> bool:
    action = f"sqs:{context.action}"
    if "NotAction" in statement:
        return not any(isinstance(name, str) and matches(name, action, fold=True) for name in _list(statement["NotAction"]))
    return any(isinstance(name, str) and (name == "*" or matches(name, action, fold=True)) for name in _list(statement.get("Action")))


def _resource(statement: dict[str, Any], context: Context) -> bool:
    if "NotResource" in statement:
        return not any(isinstance(name, str) and matches(name, context.resource) for name in _list(statement["NotResource"]))
    if "Resource" not in statement:
        return True
    return any(isinstance(name, str) and matches(name, context.resource) for name in _list(statement["Resource"]))


def _conditions(value: Any, context: Context) -> bool | None:
    """Whether all hold; None: one is not understood."""
    if not value:
        return True
    known = True
    for operator, keys in value.items():
        if not isinstance(keys, dict):
            return None
        for key, wanted in keys.items():
            holds = _condition(operator, key.lower(), [str(item) if not isinstance(item, bool) else str(item).lower() for item in _list(wanted)], context)
            if holds is False:
                return False
            if holds is None:
                known = False
    return True if known else None


KEYS = frozenset(
    {"aws:sourceip", "aws:securetransport", "aws:sourcearn", "aws:sourceaccount", "aws:principalarn", "aws:principalaccount", "aws:username", "aws:useragent"}
)


def _condition(operator: str, key: str, wanted: list[str], context: Context) -> bool | None:
    """Whether one condition holds; None: not understood."""
    if_exists = operator.endswith("IfExists")
    name = operator.removesuffix("IfExists")
    if key not in KEYS:
        return None
    there = context.keys.get(key)
    if name == "Null":
        return (there is None) == (wanted == ["true"])
    test = _OPERATORS.get(name)
    if test is None:
        return None
    if there is None:
        return if_exists or name in _NEGATIVE
    holds: bool = test(there, wanted)
    return holds


def _in_networks(address: str, networks: list[str]) -> bool:
    try:
        there = ipaddress.ip_address(address)
        return any(there in ipaddress.ip_network(network, strict=False) for network in networks)
    except (ValueError, TypeError):
        return False


_NEGATIVE = frozenset({"StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike", "ArnNotEquals", "ArnNotLike", "NotIpAddress"})
_OPERATORS: dict[str, Any] = {
    "StringEquals": lambda there, wanted: there in wanted,
    "StringNotEquals": lambda there, wanted: there not in wanted,
    "StringEqualsIgnoreCase": lambda there, wanted: there.lower() in [item.lower() for item in wanted],
    "StringNotEqualsIgnoreCase": lambda there, wanted: there.lower() not in [item.lower() for item in wanted],
    "StringLike": lambda there, wanted: any(matches(item, there) for item in wanted),
    "StringNotLike": lambda there, wanted: not any(matches(item, there) for item in wanted),
    "ArnEquals": lambda there, wanted: any(matches(item, there) for item in wanted),
    "ArnLike": lambda there, wanted: any(matches(item, there) for item in wanted),
    "ArnNotEquals": lambda there, wanted: not any(matches(item, there) for item in wanted),
    "ArnNotLike": lambda there, wanted: not any(matches(item, there) for item in wanted),
    "IpAddress": _in_networks,
    "NotIpAddress": lambda there, wanted: not _in_networks(there, wanted),
    "Bool": lambda there, wanted: there in [item.lower() for item in wanted],
}
