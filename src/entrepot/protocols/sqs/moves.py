"""StartMessageMoveTask, CancelMessageMoveTask, ListMessageMoveTasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.broker.calls.queue_requests import CancelMove, ListMoves, MoveTask, StartMove
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.sqs import actions
from entrepot.protocols.sqs.errors import SqsError, invalid_value
from entrepot.protocols.sqs.handles import make_task_handle, read_task_handle
from entrepot.protocols.sqs.queues import own_queue, queue_of_arn

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

RATE_MAX = 500  # messages a second
RESULTS_MAX = 10


def _open_arn(exchange: Exchange, arn: str, parameter: str) -> None:
    """The exchange is about the queue of an ARN. Raises SqsError."""
    parts = arn.split(":")
    accounts = exchange.session.callers.accounts
    if len(parts) != 6 or parts[:3] != ["arn", "aws", "sqs"]:
        raise invalid_value(f"You must use this format to specify the {parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>")
    namespace = accounts.maybe_namespace(parts[4], parts[3])
    if namespace is None:
        raise _no_resource(parameter)
    own_queue(exchange, parts[5], namespace)


def _no_resource(parameter: str) -> SqsError:
    return SqsError("ResourceNotFoundException", f"The resource that you specified for the {parameter} parameter doesn't exist.")


def start_message_move_task(exchange: Exchange) -> None:
    """Handler of StartMessageMoveTask."""
    request = exchange.input
    _open_arn(exchange, request.SourceArn, "SourceArn")
    destination = ""
    if request.DestinationArn:
        found = queue_of_arn(exchange, request.DestinationArn, exchange.attachment.namespace)  # type: ignore[union-attr]
        if found is None:
            raise _no_resource("DestinationArn")
        destination = found
    rate = request.MaxNumberOfMessagesPerSecond
    if rate is not None and not 1 <= rate <= RATE_MAX:
        raise invalid_value(f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and {RATE_MAX}.")
    exchange.refused = _start_refused
    exchange.ask(StartMove(source=exchange.queue, destination=destination, per_second_max=rate or 0), _started)


def _start_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    if refused.reason is Reason.NOT_FOUND:
        return _no_resource("SourceArn" if not exchange.input.DestinationArn or exchange.queue in str(refused) else "DestinationArn")
    if refused.reason is Reason.INVALID:
        return invalid_value("Source queue must be configured as a Dead Letter Queue.")
    if refused.reason is Reason.IN_USE:
        return invalid_value("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
    return None


def _started(exchange: Exchange, task: MoveTask) -> None:
    exchange.answer(actions.StartMessageMoveTaskResult(TaskHandle=make_task_handle(task.task_id, exchange.input.SourceArn)))


def cancel_message_move_task(exchange: Exchange) -> None:
    """Handler of CancelMessageMoveTask."""
    said = read_task_handle(exchange.input.TaskHandle)
    if said is None:
        raise invalid_value("Value for parameter TaskHandle is invalid.")
    task_id, arn = said
    _open_arn(exchange, arn, "SourceArn")
    exchange.refused = _cancel_refused
    exchange.ask(CancelMove(task_id=task_id), _cancelled)


def _cancel_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    if refused.reason is Reason.NOT_FOUND:
        return SqsError("ResourceNotFoundException", "Task does not exist.")
    return None


def _cancelled(exchange: Exchange, task: MoveTask) -> None:
    exchange.answer(actions.CancelMessageMoveTaskResult(ApproximateNumberOfMessagesMoved=task.moved))


def list_message_move_tasks(exchange: Exchange) -> None:
    """Handler of ListMessageMoveTasks."""
    request = exchange.input
    limit = 1 if request.MaxResults is None else request.MaxResults
    if not 1 <= limit <= RESULTS_MAX:
        raise invalid_value(f"Value {limit} for parameter MaxResults is invalid. Reason: Must be between 1 and {RESULTS_MAX}.")
    _open_arn(exchange, request.SourceArn, "SourceArn")
    exchange.refused = _list_refused
    exchange.ask(ListMoves(source=exchange.queue, limit=limit), _listed)


def _list_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    return _no_resource("SourceArn") if refused.reason is Reason.NOT_FOUND else None


def _failure_reason(failure: str) -> str | None:
    """What the broker says of a failure, in AWS's words."""
    if not failure:
        return None
    return "AWS.SimpleQueueService.NonExistentQueue" if failure.endswith(" does not exist") else "CouldNotDetermineMessageSource"


def _listed(exchange: Exchange, tasks: list[MoveTask]) -> None:
    callers, namespace = exchange.session.callers, exchange.attachment.namespace  # type: ignore[union-attr]
    results = []
    for task in tasks:
        source = callers.arn_of(namespace, task.source)
        results.append(
            actions.ListMessageMoveTasksResultEntry(
                TaskHandle=make_task_handle(task.task_id, source) if task.status == "RUNNING" else None,
                Status=task.status,
                SourceArn=source,
                DestinationArn=callers.arn_of(namespace, task.destination) if task.destination else None,
                MaxNumberOfMessagesPerSecond=task.per_second_max or None,
                ApproximateNumberOfMessagesMoved=task.moved,
                ApproximateNumberOfMessagesToMove=task.to_move,
                FailureReason=_failure_reason(task.failure),
                StartedTimestamp=task.started_ms,
            )
        )
    exchange.answer(actions.ListMessageMoveTasksResult(Results=results))
