"""DeleteMessage, ChangeMessageVisibility and their batches: handles become an EndLeases, its statuses become answers.

A handle of a message that is deleted already, or was received again since, is no error for DeleteMessage: there is nothing left to delete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cython
import msgspec

from entrepot.broker.calls.lease_calls import ENDED, FOREIGN, NOT_LEASED, SUPERSEDED, TOO_LONG
from entrepot.broker.calls.queue_requests import DescribeQueue
from entrepot.protocols.sqs.actions import BatchResultEntry, ChangeMessageVisibilityBatchResult, DeleteMessageBatchResult
from entrepot.protocols.sqs.batches import failed_entry
from entrepot.protocols.sqs.errors import SqsError, invalid_value, missing
from entrepot.protocols.sqs.receiving import check_visibility

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

if not cython.compiled:
    from entrepot.broker.calls.lease_calls import EndLeases, make_end_leases
    from entrepot.protocols.sqs.batches import check_entries
    from entrepot.protocols.sqs.handles import Handle, read_handle
    from entrepot.protocols.sqs.writing import Writer

_ENDED, _FOREIGN, _NOT_LEASED, _SUPERSEDED, _TOO_LONG = ENDED, FOREIGN, NOT_LEASED, SUPERSEDED, TOO_LONG
_ENCODER = msgspec.json.Encoder()


class Ending:
    """A batch under way: its entries' ids and handles, what became of them, and which are still to be submitted."""

    __slots__ = ("asked", "deletes", "failed", "handles", "ids", "statuses", "texts", "waiting")

    def __init__(self, deletes: bool) -> None:
        self.deletes = deletes
        self.ids: list[str] = []
        self.handles: list[Handle] = []
        self.texts: list[str] = []  # the handles as they were given
        self.statuses: list[int] = []
        self.failed: list[Any] = []
        self.asked: list[int] = []  # places that the call under way is about
        self.waiting: list[Any] = []  # visibility of each in milliseconds, None where they are deleted


def foreign_handle() -> SqsError:
    """It is a receipt handle of another queue, or what is none where visibility is to be changed."""
    return SqsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")


def bad_handle(handle: str) -> SqsError:
    """It is no receipt handle."""
    return SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle[:200].encode(errors="replace").decode()}" is not a valid receipt handle.')


def status_error(status: int, deletes: bool, handle: str) -> SqsError | None:
    """What one status means; None: it is done."""
    if status == _ENDED or (deletes and status == _SUPERSEDED):
        return None
    if status == _FOREIGN:
        return foreign_handle()
    if deletes:
        return invalid_value(f"Value {handle[:200]} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
    if status == _NOT_LEASED:
        return SqsError("MessageNotInflight", "The message referred to isn't in flight.")
    if status == _TOO_LONG:
        return invalid_value(
            "Value for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]."
        )
    return invalid_value(
        f"Value {handle[:200]} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
    )


def _bad_handle(exchange: Exchange, found: object) -> object:
    """The queue is there, so it is the handle that is wrong."""
    deletes = exchange.action.name == "DeleteMessage"  # type: ignore[union-attr]
    raise bad_handle(exchange.input.ReceiptHandle) if deletes else foreign_handle()


def delete_message(exchange: Exchange) -> object:
    """Handler of DeleteMessage."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    handle = read_handle(request.ReceiptHandle)
    if handle is None:
        return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _bad_handle)
    return exchange.submit(make_end_leases(0, exchange.queue, handle.queue_id, [handle.offset], [handle.lease_id], None), deleted)


def deleted(exchange: Exchange, call: EndLeases) -> object:
    """One message's lease is ended."""
    if call.statuses[0] != _ENDED:
        error = status_error(call.statuses[0], True, exchange.input.ReceiptHandle)
        if error is not None:
            raise error
    return exchange.answer(None)


def change_message_visibility(exchange: Exchange) -> object:
    """Handler of ChangeMessageVisibility."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    visibility_ms = check_visibility(request.VisibilityTimeout)
    handle = read_handle(request.ReceiptHandle)
    if handle is None:
        return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _bad_handle)
    return exchange.submit(make_end_leases(0, exchange.queue, handle.queue_id, [handle.offset], [handle.lease_id], [visibility_ms]), changed)


def changed(exchange: Exchange, call: EndLeases) -> object:
    """One message's lease has its new deadline."""
    error = status_error(call.statuses[0], False, exchange.input.ReceiptHandle)
    if error is not None:
        raise error
    return exchange.answer(None)


def delete_message_batch(exchange: Exchange) -> object:
    """Handler of DeleteMessageBatch."""
    request = exchange.input
    check_entries(request.Entries, "DeleteMessageBatchRequestEntry")
    exchange.open(request.QueueUrl)
    ending = Ending(True)
    for entry in request.Entries:
        _add(ending, entry, None)
    return _next(exchange, ending)


def change_message_visibility_batch(exchange: Exchange) -> object:
    """Handler of ChangeMessageVisibilityBatch."""
    request = exchange.input
    check_entries(request.Entries, "ChangeMessageVisibilityBatchRequestEntry")
    exchange.open(request.QueueUrl)
    ending = Ending(False)
    for entry in request.Entries:
        if entry.VisibilityTimeout is None:
            raise missing("VisibilityTimeout")
        try:
            visibility_ms = check_visibility(entry.VisibilityTimeout)
        except SqsError as error:
            ending.failed.append(failed_entry(entry.Id, error))
            continue
        _add(ending, entry, visibility_ms)
    return _next(exchange, ending)


def _add(ending: Ending, entry: Any, visibility_ms: int | None) -> int:
    text = entry.ReceiptHandle
    if text is None:
        raise missing("ReceiptHandle")
    handle = read_handle(text)
    if handle is None:
        ending.failed.append(failed_entry(entry.Id, bad_handle(text)))
        return 0
    ending.ids.append(entry.Id)
    ending.handles.append(handle)
    ending.texts.append(text)
    ending.statuses.append(-1)
    ending.waiting.append(visibility_ms)
    return 0


def _next(exchange: Exchange, ending: Ending) -> object:
    """Submit what is still to be submitted: the handles that say the same queue id, or answer."""
    offsets: list[int] = []
    leases: list[bytes] = []
    times: list[int] = []
    ending.asked = []
    queue_id = b""
    for index in range(len(ending.handles)):
        if ending.statuses[index] >= 0:
            continue
        handle = ending.handles[index]
        if len(queue_id) == 0:
            queue_id = handle.queue_id
        elif queue_id != handle.queue_id:
            continue
        ending.asked.append(index)
        offsets.append(handle.offset)
        leases.append(handle.lease_id)
        times.append(ending.waiting[index])
    exchange.state = ending
    if len(offsets) == 0:
        if len(ending.handles) == 0:  # the broker was not asked: whether the queue is there, and the caller may, comes first
            return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _all_failed)
        return _answer(exchange, ending)
    return exchange.submit(make_end_leases(0, exchange.queue, queue_id, offsets, leases, None if ending.deletes else times), batch_ended)


def _all_failed(exchange: Exchange, found: object) -> object:
    return _answer(exchange, exchange.state)


def batch_ended(exchange: Exchange, call: EndLeases) -> object:
    """The leases of some handles are ended."""
    ending: Ending = exchange.state
    statuses: list[int] = call.statuses
    for index in range(len(ending.asked)):
        ending.statuses[ending.asked[index]] = statuses[index]
    return _next(exchange, ending)


def _answer(exchange: Exchange, ending: Ending) -> object:
    done: list[str] = []
    for index in range(len(ending.ids)):
        status = ending.statuses[index]
        if status != _ENDED:
            error = status_error(status, ending.deletes, ending.texts[index])
            if error is not None:
                ending.failed.append(failed_entry(ending.ids[index], error))
                continue
        done.append(ending.ids[index])
    if not exchange.is_json:
        successful = [BatchResultEntry(Id=entry_id) for entry_id in done]
        failed = ending.failed or None
        if ending.deletes:
            return exchange.answer(DeleteMessageBatchResult(Successful=successful, Failed=failed))
        return exchange.answer(ChangeMessageVisibilityBatchResult(Successful=successful, Failed=failed))
    writer: Writer = exchange.session.shared.fresh_writer()
    writer.raw(b'{"Successful":[')
    first = True
    for entry_id in done:
        writer.raw(b'{"Id":"' if first else b'"},{"Id":"')
        first = False
        writer.raw(entry_id.encode())
    writer.raw(b"]" if first else b'"}]')
    if len(ending.failed) > 0:
        writer.raw(b',"Failed":')
        writer.raw(_ENCODER.encode(ending.failed))
    writer.raw(b"}")
    return exchange.answer_written(writer)
