"""What a policy must be to be kept: AWS's grammar and quotas. Raises what AWS answers, InvalidAttributeValue or OverLimit.

Stricter than policy.py, which must make something of any policy; and wider: policy variables, dates and keys of other services are right in AWS's language,
so they are kept, though what hangs on them never allows.
"""

from __future__ import annotations

import re
from typing import Any

from entrepot.protocols.sqs.actions import ACTIONS
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.patterns import Pattern, Steps
from entrepot.protocols.sqs.policy import (
    ALLOW,
    DENY,
    DOCUMENT_ELEMENTS,
    PRINCIPAL_KINDS,
    STATEMENT_ELEMENTS,
    VERSIONS,
    Ambiguous,
    is_action,
    is_principal,
    is_resource,
    list_of,
    read_document,
)
from entrepot.protocols.sqs.policy_conditions import IF_EXISTS, OPERATORS, SETS, has_variable, maybe_arn_pattern, maybe_network, texts_of

POLICY_MAX_BYTES = 8192
STATEMENTS_MAX = 20
PRINCIPALS_MAX = 50  # of all statements
ACTIONS_MAX = 7  # of one statement
CONDITIONS_MAX = 10  # of one statement
_KEY = re.compile(r"[A-Za-z0-9-]+:\S{1,256}")
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_DATE = re.compile(r"-?\d{1,15}|\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NAMES = [f"sqs:{name}".lower() for name in ACTIONS]


def _bad() -> SqsError:
    return SqsError("InvalidAttributeValue", "Invalid value for the parameter Policy.")


def _over(text: str) -> SqsError:
    return SqsError("OverLimit", text)


def check_policy(text: str) -> None:
    """Raises SqsError for what is no policy, or over a quota."""
    if len(text.encode(errors="surrogatepass")) > POLICY_MAX_BYTES:
        raise _over("Submitted policy is over max allowed size.")
    try:
        document = read_document(text)
    except ValueError:
        raise _bad() from None
    _check_object(document, DOCUMENT_ELEMENTS)
    if document.get("Version", VERSIONS[0]) not in VERSIONS or not isinstance(document.get("Id", ""), str):
        raise _bad()
    statements = list_of(document.get("Statement", []))
    if not statements:
        raise _bad()
    if len(statements) > STATEMENTS_MAX:
        raise _over(f"{len(statements)} statements were found in the submitted policy, max allowed is {STATEMENTS_MAX}")
    principals = sum(_check_statement(statement) for statement in statements)
    if principals > PRINCIPALS_MAX:
        raise _over(f"{principals} principals were found in the submitted policy, max allowed is {PRINCIPALS_MAX}")


def _check_object(value: Any, elements: frozenset[str]) -> None:
    if not isinstance(value, dict) or isinstance(value, Ambiguous) or not value.keys() <= elements:
        raise _bad()


def _check_statement(statement: Any) -> int:
    """How many principals it has."""
    _check_object(statement, STATEMENT_ELEMENTS)
    if statement.get("Effect") not in (ALLOW, DENY) or not isinstance(statement.get("Sid", ""), str):
        raise _bad()
    for name in ("Principal", "Action"):
        if (name in statement) == (f"Not{name}" in statement):
            raise _bad()
    if "Resource" in statement and "NotResource" in statement:
        raise _bad()
    actions = list_of(statement.get("Action", statement.get("NotAction")))
    if not actions or not all(is_action(name) and _names_an_action(name.lower()) for name in actions):
        raise _bad()
    if len(actions) > ACTIONS_MAX:
        raise _over(f"{len(actions)} actions were found in a statement from the submitted policy, max allowed is {ACTIONS_MAX}")
    for name in ("Resource", "NotResource"):
        resources = list_of(statement.get(name, "*"))
        if not resources or not all(map(is_resource, resources)):
            raise _bad()
    _check_conditions(statement.get("Condition", {}))
    return _check_principals(statement.get("Principal", statement.get("NotPrincipal")))


def _names_an_action(name: str) -> bool:
    pattern = Pattern(name)
    return any(pattern.matches(action, Steps(10_000)) for action in _NAMES)


def _check_principals(value: Any) -> int:
    if value == "*":
        return 1
    _check_object(value, PRINCIPAL_KINDS)
    count = 0
    for kind, listed in value.items():
        names = list_of(listed)
        count += len(names)
        if not names or not all(is_principal(name) if kind == "AWS" else isinstance(name, str) and name for name in names):
            raise _bad()
    if not count:
        raise _bad()
    return count


def _check_conditions(operators: Any) -> None:
    if not isinstance(operators, dict) or isinstance(operators, Ambiguous):
        raise _bad()
    count = 0
    for operator, keys in operators.items():
        name = operator
        for prefix in SETS:
            name = name.removeprefix(prefix)
        base = name.removesuffix(IF_EXISTS)
        if base not in OPERATORS or (base == "Null" and operator != base) or len(operator) - len(name) > max(map(len, SETS)):
            raise _bad()
        if not isinstance(keys, dict) or isinstance(keys, Ambiguous) or not keys:
            raise _bad()
        if len({key.lower() for key in keys}) < len(keys):
            raise _bad()
        count += len(keys)
        for key, value in keys.items():
            values = texts_of(value)
            if _KEY.fullmatch(key) is None or values is None or not all(_is_value(base, item) for item in values):
                raise _bad()
    if count > CONDITIONS_MAX:
        raise _over(f"{count} conditions were found in a statement from the submitted policy, max allowed is {CONDITIONS_MAX}")


def _is_value(operator: str, text: str) -> bool:
    """Whether an operator can compare with it."""
    if has_variable(text):
        return operator.startswith(("String", "Arn"))
    if operator.startswith("Arn"):
        return maybe_arn_pattern(text) is not None
    if operator.endswith("IpAddress"):
        return maybe_network(text) is not None
    if operator in ("Bool", "Null"):
        return text.lower() in ("true", "false")
    if operator.startswith("Numeric"):
        return _NUMBER.fullmatch(text) is not None
    if operator.startswith("Date"):
        return _DATE.fullmatch(text) is not None
    return True
