"""SendMessage and SendMessageBatch: checked, packed, one Send, and the answer written from what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import cython
import msgspec

from entrepot.broker.calls.queue_requests import DescribeQueue, QueueDescription
from entrepot.model.entry import CODEC_SQS, HAS_DELIVER_AT
from entrepot.model.errors import Reason
from entrepot.protocols.sqs.actions import SendMessageBatchResult, SendMessageBatchResultEntry, SendMessageResult
from entrepot.protocols.sqs.batches import MESSAGE_MAX_BYTES, NO_DEDUPLICATION, failed_entry, from_record, too_long
from entrepot.protocols.sqs.characters import ALLOWED, is_identifier
from entrepot.protocols.sqs.errors import SqsError, invalid_value, missing
from entrepot.protocols.sqs.message_attributes import pack_attributes, pack_trace, trace_of

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange
    from entrepot.protocols.sqs.session import Shared

if not cython.compiled:
    from entrepot.broker.calls.lease_calls import Send, make_send
    from entrepot.protocols.sqs.batches import check_entries
    from entrepot.protocols.sqs.characters import illegal_at
    from entrepot.protocols.sqs.packing import pack
    from entrepot.protocols.sqs.writing import Writer

ENTRY_VERSION = 1
DELAY_MAX_S = 900
SEQUENCE_FIRST = 10**19  # sequence numbers have 20 digits: this and the offset

_long_md5: Any = partial(hashlib.md5, usedforsecurity=False)
try:
    from _md5 import md5 as _md5  # type: ignore[import-not-found]  # hashlib's own, without OpenSSL: half the time where there is little to hash
except ImportError:  # some builds of Python have none
    _md5 = _long_md5

_CODEC, _VERSION, _HAS_DELIVER_AT = CODEC_SQS, ENTRY_VERSION, HAS_DELIVER_AT
_MESSAGE_MAX = MESSAGE_MAX_BYTES
_SEQUENCE_FIRST = SEQUENCE_FIRST
_LONG = 4096
_ENCODER = msgspec.json.Encoder()


class Packed:
    """One message, checked and packed. b"" and "" where there is none; `delay_ms` -1: the queue's own."""

    __slots__ = ("attributes_md5", "body_md5", "content_id", "deduplication_id", "delay_ms", "entry_id", "group", "message_id", "record", "size", "trace_md5")

    def __init__(self) -> None:
        self.record: bytearray = bytearray()
        self.entry_id = ""
        self.size = 0
        self.message_id = b""
        self.body_md5 = b""
        self.attributes_md5 = b""
        self.trace_md5 = ""
        self.group = b""
        self.deduplication_id = b""
        self.content_id = b""
        self.delay_ms = -1


def send_message(exchange: Exchange) -> object:
    """Handler of SendMessage."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    packed = pack_message(exchange.session.shared, request, exchange.queue.endswith(".fifo"), exchange.caller.sender, exchange.request.trace)  # type: ignore[union-attr]
    if packed.size > _MESSAGE_MAX:
        raise too_long()
    exchange.state = [packed]
    return exchange.submit(make_call(exchange.queue, [packed]), sent)


def pack_message(shared: Shared, message: Any, fifo: bool, sender: bytes, trace_header: bytes) -> Packed:
    """Check and pack one message, but for its size: that of a batch counts as a whole. Raises SqsError."""
    text = message.MessageBody
    if not text:
        raise missing("MessageBody")
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise _bad_character("half of a surrogate pair") from None
    packed = Packed()
    size = len(body)
    if size > _MESSAGE_MAX:
        packed.size = size  # nothing else of it counts
        return packed
    at = illegal_at(body)
    if at >= 0:
        raise _bad_character(f"#x{ord(body[at:].decode()[0]):x}")
    attributes = b""
    trace = b""
    if message.MessageAttributes:
        attributes, counted = pack_attributes(message.MessageAttributes)
        packed.attributes_md5 = attributes[:16]
        size = size + counted
    if message.MessageSystemAttributes:
        trace, packed.trace_md5 = pack_trace(message.MessageSystemAttributes)
    if len(trace) == 0 and len(trace_header) > 0:
        trace = trace_of(trace_header)
    packed.size = size
    if message.DelaySeconds is not None:
        packed.delay_ms = delay_ms(message.DelaySeconds, fifo)
    if message.MessageGroupId is not None:
        packed.group = identifier(message.MessageGroupId, "MessageGroupId")
    elif fifo:
        raise missing("MessageGroupId")
    if message.MessageDeduplicationId is not None:
        if not fifo:
            raise invalid_value(
                f"Value {message.MessageDeduplicationId[:128]} for parameter MessageDeduplicationId is invalid. "
                "Reason: The request include parameter that is not valid for this queue type."
            )
        packed.deduplication_id = identifier(message.MessageDeduplicationId, "MessageDeduplicationId")
    elif fifo:
        packed.content_id = hashlib.sha256(body).hexdigest().encode()  # as SQS: an explicit id that says the same is a duplicate
    packed.body_md5 = _long_md5(body).digest() if len(body) > _LONG else _md5(body).digest()
    packed.message_id = shared.message_id()
    packed.record = pack(
        packed.message_id,
        body,
        packed.body_md5,
        sender,
        packed.group,
        packed.deduplication_id if len(packed.content_id) == 0 else packed.content_id,
        packed.delay_ms,
        -1,
        trace,
        b"",
        attributes,
    )
    return packed


def delay_ms(seconds: int, fifo: bool) -> int:
    """A message's own delay. Raises SqsError."""
    if fifo and seconds != 0:
        raise invalid_value(
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
        )
    if not 0 <= seconds <= DELAY_MAX_S:
        raise invalid_value(f"Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= {DELAY_MAX_S}.")
    return -1 if fifo else 1000 * seconds


def identifier(text: str, name: str) -> bytes:
    """A group or deduplication id. Raises SqsError."""
    if not is_identifier(text):
        raise invalid_value(
            f"Value {text[:140]} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return text.encode()


def _bad_character(which: str) -> SqsError:
    return SqsError("InvalidMessageContents", f"Invalid binary character '{which}' was found in the message body, the set of allowed characters is {ALLOWED}")


def make_call(queue: str, messages: list[Packed]) -> Send:
    """The Send of some messages."""
    sizes: list[int] = []
    ids: list[bytes] = []
    records: list[bytearray] = []
    delayed = False
    grouped = False
    deduplicated = False
    hashed = False
    for packed in messages:
        sizes.append(packed.size)
        ids.append(packed.message_id)
        records.append(packed.record)
        delayed = delayed or packed.delay_ms >= 0
        grouped = grouped or len(packed.group) > 0
        deduplicated = deduplicated or len(packed.deduplication_id) > 0
        hashed = hashed or len(packed.content_id) > 0
    count = len(records)
    data = bytes(records[0]) if count == 1 else b"".join(records)
    call = make_send(0, queue, _CODEC, _VERSION, _HAS_DELIVER_AT if delayed else 0, data, count, sizes, ids)
    if delayed:
        call.delays_ms = [packed.delay_ms for packed in messages]
    if grouped:
        call.groups = [packed.group for packed in messages]
    if deduplicated or hashed:
        call.deduplication_ids = [packed.deduplication_id for packed in messages]
    if hashed:
        call.content_ids = [packed.content_id for packed in messages]
    return call


def sent(exchange: Exchange, call: Send) -> object:
    """The Send of one message is done."""
    errors = call.errors
    if errors is not None and errors[0] is not None:
        if errors[0].reason is Reason.TOO_LARGE:
            return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _too_long)
        raise from_record(errors[0], MESSAGE_MAX_BYTES)
    packed: Packed = exchange.state[0]
    fifo = exchange.queue.endswith(".fifo")
    if not exchange.is_json:
        return exchange.answer(
            SendMessageResult(
                MD5OfMessageBody=packed.body_md5.hex(),
                MD5OfMessageAttributes=packed.attributes_md5.hex() or None,
                MD5OfMessageSystemAttributes=packed.trace_md5 or None,
                MessageId=uuid_text(call.stored_ids[0]),
                SequenceNumber=str(SEQUENCE_FIRST + call.offsets[0]) if fifo else None,
            )
        )
    writer: Writer = exchange.session.shared.fresh_writer()
    writer.raw(b"{")
    write_sent(writer, packed, call.stored_ids[0], call.offsets[0], fifo)
    return exchange.answer_written(writer)


def _too_long(exchange: Exchange, found: QueueDescription) -> object:
    raise too_long(found.policy.record_max_bytes)


def write_sent(writer: Writer, packed: Packed, message_id: bytes, offset: int, fifo: bool) -> int:
    """What became of one message, as the rest of a JSON object."""
    writer.raw(b'"MessageId":"')
    writer.uuid(message_id, 0)
    writer.raw(b'","MD5OfMessageBody":"')
    writer.hexadecimal(packed.body_md5, 0, 16)
    if len(packed.attributes_md5) > 0:
        writer.raw(b'","MD5OfMessageAttributes":"')
        writer.hexadecimal(packed.attributes_md5, 0, 16)
    if len(packed.trace_md5) > 0:
        writer.raw(b'","MD5OfMessageSystemAttributes":"')
        writer.raw(packed.trace_md5.encode())
    if fifo:
        writer.raw(b'","SequenceNumber":"')
        writer.decimal(_SEQUENCE_FIRST + offset, 20)
    return writer.raw(b'"}')


def uuid_text(raw: bytes) -> str:
    """16 bytes as 36 characters."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def send_message_batch(exchange: Exchange) -> object:
    """Handler of SendMessageBatch."""
    request = exchange.input
    entries: list[Any] = request.Entries
    check_entries(entries, "SendMessageBatchRequestEntry")
    exchange.open(request.QueueUrl)
    if exchange.queue.endswith(".fifo"):
        for entry in entries:
            if entry.MessageDeduplicationId is None:  # SQS refuses the whole batch where the queue does not deduplicate by content
                return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _described)
    return _send_batch(exchange, entries)


def _described(exchange: Exchange, found: QueueDescription) -> object:
    if not found.policy.deduplicate_content and all(entry.MessageGroupId is not None for entry in exchange.input.Entries):
        raise invalid_value(NO_DEDUPLICATION)
    return _send_batch(exchange, exchange.input.Entries)


def _send_batch(exchange: Exchange, entries: list[Any]) -> object:
    fifo = exchange.queue.endswith(".fifo")
    shared: Shared = exchange.session.shared
    sender: bytes = exchange.caller.sender  # type: ignore[union-attr]
    trace_header: bytes = exchange.request.trace
    good: list[Packed] = []
    failed: list[Any] = []
    total = 0
    for entry in entries:
        try:
            packed = pack_message(shared, entry, fifo, sender, trace_header)
        except SqsError as error:
            if error.code.shape == "MissingRequiredParameterException":
                if entry.MessageBody:
                    raise invalid_value(error.text) from None  # as SQS says it of a batch for a FIFO queue
                raise
            failed.append(failed_entry(entry.Id, error))
            continue
        packed.entry_id = entry.Id
        total += packed.size
        good.append(packed)
    if total > _MESSAGE_MAX:
        raise SqsError("BatchRequestTooLong", f"Batch requests cannot be longer than {MESSAGE_MAX_BYTES} bytes. You have sent {total} bytes.")
    exchange.state = (good, failed)
    if len(good) == 0:
        return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _all_failed)  # whether it is there, and the caller may, comes first
    return exchange.submit(make_call(exchange.queue, good), batch_sent)


def _all_failed(exchange: Exchange, found: QueueDescription) -> object:
    return exchange.answer(SendMessageBatchResult(Successful=[], Failed=exchange.state[1]))


def batch_sent(exchange: Exchange, call: Send) -> object:
    """The Send of a batch is done."""
    good: list[Packed] = exchange.state[0]
    failed: list[Any] = exchange.state[1]
    fifo = exchange.queue.endswith(".fifo")
    errors = call.errors
    if errors is not None:
        return _some_refused(exchange, call, errors)
    if not exchange.is_json:
        return _answer_batch(exchange, call, good, failed, fifo)
    writer: Writer = exchange.session.shared.fresh_writer()
    writer.raw(b'{"Successful":[')
    first = True
    ids: list[bytes] = call.stored_ids
    offsets: list[int] = call.offsets
    for index in range(len(good)):
        packed = good[index]
        writer.raw(b'{"Id":"' if first else b',{"Id":"')
        first = False
        writer.raw(packed.entry_id.encode())
        writer.raw(b'",')
        write_sent(writer, packed, ids[index], offsets[index], fifo)
    writer.raw(b"]")
    if len(failed) > 0:
        writer.raw(b',"Failed":')
        writer.raw(_ENCODER.encode(failed))
    writer.raw(b"}")
    return exchange.answer_written(writer)


def _some_refused(exchange: Exchange, call: Send, errors: list[Any]) -> object:
    """Refused messages join the failed entries; a batch that all lacks deduplication ids fails whole, as SQS has it."""
    for error in errors:
        if error is not None and error.reason is Reason.TOO_LARGE:
            exchange.state = (*exchange.state, call)
            return exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _with_limit)
    return _answer_refused(exchange, call, MESSAGE_MAX_BYTES)


def _with_limit(exchange: Exchange, found: QueueDescription) -> object:
    return _answer_refused(exchange, exchange.state[2], found.policy.record_max_bytes)


def _answer_refused(exchange: Exchange, call: Send, record_max_bytes: int) -> object:
    good, failed = exchange.state[0], exchange.state[1]
    errors = [None if error is None else from_record(error, record_max_bytes) for error in call.errors or ()]
    if not failed and all(error is not None and call.errors[index].reason is Reason.INVALID for index, error in enumerate(errors)):  # type: ignore[index, union-attr]
        raise errors[0]  # type: ignore[misc]
    taken = [index for index, error in enumerate(errors) if error is None]
    failed += [failed_entry(good[index].entry_id, error) for index, error in enumerate(errors) if error is not None]
    return _answer_batch(exchange, call, [good[index] for index in taken], failed, exchange.queue.endswith(".fifo"), taken)


def _answer_batch(exchange: Exchange, call: Send, good: list[Packed], failed: list[Any], fifo: bool, places: Sequence[int] | None = None) -> object:
    """The answer as structures. `places`: where in the call the good ones are."""
    done = []
    for place, packed in enumerate(good):
        index = place if places is None else places[place]
        done.append(
            SendMessageBatchResultEntry(
                Id=packed.entry_id,
                MessageId=uuid_text(call.stored_ids[index]),
                MD5OfMessageBody=packed.body_md5.hex(),
                MD5OfMessageAttributes=packed.attributes_md5.hex() or None,
                MD5OfMessageSystemAttributes=packed.trace_md5 or None,
                SequenceNumber=str(SEQUENCE_FIRST + call.offsets[index]) if fifo else None,
            )
        )
    return exchange.answer(SendMessageBatchResult(Successful=done, Failed=failed or None))
