"""AddPermission and RemovePermission: statements of the queue's policy, by their label."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.queue_requests import QueueDescription, SetQueuePolicy
from entrepot.protocols.sqs.accounts import is_account
from entrepot.protocols.sqs.actions import ACTIONS
from entrepot.protocols.sqs.errors import SqsError, invalid_value
from entrepot.protocols.sqs.policy import OWNER_ONLY, read_document
from entrepot.protocols.sqs.policy_rules import ACTIONS_MAX, check_policy
from entrepot.protocols.sqs.queues import change_queue

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")


def add_permission(exchange: Exchange) -> None:
    """Handler of AddPermission."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    if not _LABEL.fullmatch(request.Label):
        raise invalid_value(
            f"Value {request.Label[:100]} for parameter Label is invalid. "
            "Reason: Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."
        )
    if not request.Actions:
        raise SqsError("MissingRequiredParameterException", "The request must contain the parameter Actions.")
    if not request.AWSAccountIds:
        raise invalid_value("Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.")
    if len(request.Actions) > ACTIONS_MAX:
        raise SqsError("OverLimit", f"{len(request.Actions)} Actions were found, maximum allowed is {ACTIONS_MAX}.")
    for action in request.Actions:
        if action != "*" and (action not in ACTIONS or action in OWNER_ONLY):
            raise invalid_value(f"Value SQS:{action[:80]} for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.")
    for account in request.AWSAccountIds:
        if not is_account(account):
            raise invalid_value(f"Value [{account[:80]}] for parameter PrincipalId is invalid. Reason: Unable to verify.")
    change_queue(exchange, _with_statement)


def _document(found: QueueDescription) -> dict[str, Any]:
    """The queue's policy, which may be one that would not be kept today; it is written again, so nothing in it may get another meaning."""
    try:
        document = read_document(found.access_policy, plain=True) if found.access_policy else {"Version": "2008-10-17", "Id": "", "Statement": []}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SqsError("InvalidAttributeValue", "Invalid value for the parameter Policy.")
    return document


def _statements(document: dict[str, Any]) -> list[Any]:
    statements = document.get("Statement")
    return list(statements) if isinstance(statements, list) else [statements] if statements else []


def _has_label(statement: Any, label: str) -> bool:
    return isinstance(statement, dict) and statement.get("Sid") == label


def _one(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _with_statement(exchange: Exchange, found: QueueDescription) -> SetQueuePolicy:
    request = exchange.input
    document = _document(found)
    statements = _statements(document)
    if any(_has_label(statement, request.Label) for statement in statements):
        raise invalid_value(f"Value {request.Label} for parameter Label is invalid. Reason: Already exists.")
    arn: str = exchange.session.callers.arn_of(exchange.attachment.namespace, found.name)  # type: ignore[union-attr]
    statements.append(
        {
            "Sid": request.Label,
            "Effect": "Allow",
            "Principal": {"AWS": _one([f"arn:aws:iam::{account}:root" for account in request.AWSAccountIds])},
            "Action": _one([f"SQS:{action}" for action in request.Actions]),
            "Resource": arn,
        }
    )
    document["Statement"] = statements
    document["Id"] = document.get("Id") or f"{arn}/SQSDefaultPolicy"
    text = _text(document)
    check_policy(text)  # not over the quotas
    return SetQueuePolicy(name=found.name, access_policy=text)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def remove_permission(exchange: Exchange) -> None:
    """Handler of RemovePermission."""
    exchange.open(exchange.input.QueueUrl)
    change_queue(exchange, _without_statement)


def _without_statement(exchange: Exchange, found: QueueDescription) -> SetQueuePolicy:
    label = exchange.input.Label
    document = _document(found)
    statements = _statements(document)
    left = [statement for statement in statements if not _has_label(statement, label)]
    if len(left) == len(statements):
        where = "" if found.policy_version else " on existing policy"
        raise invalid_value(f"Value {label[:100]} for parameter Label is invalid. Reason: can't find label{where}.")
    document["Statement"] = left
    return SetQueuePolicy(name=found.name, access_policy=_text(document) if left else "")  # what was kept before is no worse for having less
