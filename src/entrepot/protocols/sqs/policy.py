"""Queue policies: whether the policy of a queue allows a principal an action (AWS's policy language, as far as SQS has use for it).

Deny wins over Allow. Whatever of a statement is not understood, here always None, is neither true nor false: an Allow that hangs on it does not allow, and
a Deny that hangs on it denies. So what is not understood never opens a queue; policy_rules.py refuses most of it before it is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entrepot.protocols.sqs.patterns import Exhausted, Pattern, Steps
from entrepot.protocols.sqs.policy_conditions import Condition, has_variable, make_condition, maybe_arn_pattern

ALLOW = "Allow"
DENY = "Deny"
STEPS_MAX = 5000  # of one evaluation: about a millisecond; one that needs more denies
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
DOCUMENT_ELEMENTS = frozenset({"Version", "Id", "Statement"})
STATEMENT_ELEMENTS = frozenset({"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"})
PRINCIPAL_KINDS = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
PRINCIPAL = re.compile(r"\d{12}|arn:[a-z0-9-]+:(iam|sts)::\d{12}:[^*?]+|A[A-Z0-9]{15,127}", re.ASCII | re.DOTALL)
"""An account, a user or role, or the unique id of one that was deleted."""
ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks for what. `arn` is the principal's ("": anonymous), `account` its account; `keys` are what conditions may look at, in lower case."""

    action: str  # SendMessage
    resource: str  # the queue's ARN
    account: str
    arn: str
    keys: Mapping[str, str] = field(default_factory=dict)


class Ambiguous(dict[str, Any]):
    """A JSON object that says one name twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Ambiguous(made)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name is said twice")
    return made


def read_document(text: str, plain: bool = False) -> Any:
    """A policy's JSON. Raises ValueError; `plain`: also where an object would be Ambiguous."""
    try:
        return json.loads(text, object_pairs_hook=_plain_object if plain else _object, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def list_of(value: Any) -> list[Any]:
    """One or many as many."""
    return value if isinstance(value, list) else [value]


# ---- the elements of a statement, each made once and then asked: True, False, or None


class _Principals:
    __slots__ = ("everybody", "is_known", "names", "negated", "unknown")

    def __init__(self, value: Any, negated: bool) -> None:
        kinds = {"AWS": "*"} if value == "*" else value if isinstance(value, dict) and not isinstance(value, Ambiguous) else {}
        names = list_of(kinds.get("AWS", []))
        self.negated = negated
        self.is_known = len(kinds) > 0 and kinds.keys() <= PRINCIPAL_KINDS and all(list_of(listed) for listed in kinds.values())
        self.everybody = "*" in names
        self.names = frozenset(name for name in names if isinstance(name, str))
        self.unknown = not all(map(is_principal, names))

    def holds(self, context: Context) -> bool | None:
        if not self.is_known:
            return None
        arn, account = context.arn, context.account
        if self.everybody or (arn and not self.names.isdisjoint((arn, account, f"arn:aws:iam::{account}:root"))):
            return not self.negated
        return None if self.unknown else self.negated


class _Actions:
    __slots__ = ("names", "negated", "patterns", "unknown")

    def __init__(self, value: Any, negated: bool) -> None:
        listed = list_of(value)
        known = [name.lower() for name in listed if is_action(name)]
        self.negated = negated
        self.names = frozenset(known)
        self.patterns = [Pattern(name) for name in known if "*" in name or "?" in name]
        self.unknown = not known or len(known) < len(listed)

    def holds(self, names: list[str], steps: Steps) -> bool | None:
        if not self.names.isdisjoint(names) or any(pattern.matches(name, steps) for pattern in self.patterns for name in names):
            return not self.negated
        return None if self.unknown else self.negated


class _Resources:
    __slots__ = ("negated", "patterns", "unknown")

    def __init__(self, value: Any, negated: bool) -> None:
        listed = list_of(value)
        known = [name for name in listed if is_resource(name) and not has_variable(name)]
        self.negated = negated
        self.patterns = [Pattern(name) for name in known]
        self.unknown = not known or len(known) < len(listed)

    def holds(self, arn: str, steps: Steps) -> bool | None:
        if any(pattern.matches(arn, steps) for pattern in self.patterns):
            return not self.negated
        return None if self.unknown else self.negated


def is_principal(name: Any) -> bool:
    """Whether it is what "AWS" may be."""
    return isinstance(name, str) and (name == "*" or PRINCIPAL.fullmatch(name) is not None)


def is_action(name: Any) -> bool:
    """Whether it has the form of an action, of any service."""
    return isinstance(name, str) and ACTION.fullmatch(name) is not None


def is_resource(name: Any) -> bool:
    """Whether it is an ARN, or like one."""
    return isinstance(name, str) and maybe_arn_pattern(name) is not None


def _one_of(statement: dict[str, Any], name: str) -> tuple[Any, bool]:
    """The value of an element or of its negation, and whether it is that; both are none."""
    negation = f"Not{name}"
    if negation not in statement:
        return statement.get(name), False
    return (None if name in statement else statement[negation]), True


class _Statement:
    """One statement. `is_whole`: there is nothing in it, beside its elements, that is not understood."""

    __slots__ = ("actions", "conditions", "denies", "is_whole", "principals", "resources")

    def __init__(self, statement: Any) -> None:
        self.is_whole = (
            isinstance(statement, dict)
            and not isinstance(statement, Ambiguous)
            and statement.keys() <= STATEMENT_ELEMENTS
            and statement.get("Effect") in (ALLOW, DENY)
            and isinstance(statement.get("Sid", ""), str)
        )
        if not isinstance(statement, dict) or isinstance(statement, Ambiguous):
            statement = {}
        self.denies = statement.get("Effect") != ALLOW  # what it does is not understood: it might deny
        self.principals = _Principals(*_one_of(statement, "Principal"))
        self.actions = _Actions(*_one_of(statement, "Action"))
        self.resources = _Resources(*_one_of(statement, "Resource")) if "Resource" in statement or "NotResource" in statement else None
        self.conditions: list[Condition] = []
        operators = statement.get("Condition", {})
        if not isinstance(operators, dict) or isinstance(operators, Ambiguous):
            operators = {"": None}
        for operator, keys in operators.items():
            if isinstance(keys, dict) and keys and not isinstance(keys, Ambiguous):
                self.conditions += [make_condition(operator, key, value) for key, value in keys.items()]
            else:
                self.is_whole = False

    def holds(self, context: Context, names: list[str], steps: Steps) -> bool | None:
        steps.take(1)
        found = [self.principals.holds(context)]
        if found[0] is not False:
            found.append(self.actions.holds(names, steps))
        if self.resources is not None and False not in found:
            found.append(self.resources.holds(context.resource, steps))
        for condition in self.conditions:
            if False in found:
                break
            found.append(condition.holds(context.keys, steps))
        if False in found:
            return False
        return True if self.is_whole and None not in found else None


class Policy:
    """A policy, made ready once: of any text, also of what would not be kept today."""

    __slots__ = ("_statements",)

    def __init__(self, text: str) -> None:
        try:
            document = read_document(text)
        except ValueError:
            document = None
        if not isinstance(document, dict) or isinstance(document, Ambiguous) or "Statement" not in document:
            document = {"Statement": None}
        self._statements = [_Statement(statement) for statement in list_of(document["Statement"])]
        if not document.keys() <= DOCUMENT_ELEMENTS or document.get("Version", VERSIONS[0]) not in VERSIONS or not isinstance(document.get("Id", ""), str):
            for statement in self._statements:
                statement.is_whole = False

    def decide(self, context: Context) -> str | None:
        """ALLOW, DENY, or None: the policy says nothing of this. In at most STEPS_MAX steps."""
        action = f"sqs:{context.action}".lower()
        names = [action]
        if action.endswith("batch"):
            names.append(action.removesuffix("batch"))  # what holds for one message holds for many
        steps = Steps(STEPS_MAX)
        allowed = False
        try:
            for statement in self._statements:
                if statement.denies:
                    if statement.holds(context, names, steps) is not False:
                        return DENY
                elif not allowed:
                    allowed = statement.holds(context, names, steps) is True
        except Exhausted:
            return DENY
        return ALLOW if allowed else None
