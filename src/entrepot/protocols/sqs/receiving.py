"""ReceiveMessage: one Receive, and the messages written from the packed records as they lie in their entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cython
import msgspec

from entrepot.model.entry import CODEC_SQS
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import without_vhosts
from entrepot.protocols.sqs.actions import Message, ReceiveMessageResult
from entrepot.protocols.sqs.errors import SqsError, invalid_value
from entrepot.protocols.sqs.exchange import JSON_OK, PLAIN_JSON_OK, XML_OK
from entrepot.protocols.sqs.long_answers import Body, LongAnswer, Parts
from entrepot.protocols.sqs.message_attributes import Selection, as_values, select
from entrepot.protocols.sqs.packing import (
    ATTRIBUTES,
    BODY_MD5,
    DEDUPLICATION,
    GROUP,
    MESSAGE_ID,
    SENDER,
    SENT_TIME,
    SOURCE,
    TRACE,
)
from entrepot.protocols.sqs.query_protocol import around_answer, element, encode_answer_json, encode_text
from entrepot.protocols.sqs.sending import SEQUENCE_FIRST, identifier, uuid_text

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

if not cython.compiled:
    from entrepot.broker.calls.lease_calls import Receive, Received, make_receive
    from entrepot.model.octets import get_u32_le, take
    from entrepot.protocols.sqs.handles import write_handle
    from entrepot.protocols.sqs.message_attributes import write_json
    from entrepot.protocols.sqs.packing import body_at, body_of, field_of, number_of
    from entrepot.protocols.sqs.writing import Writer

SHORT_BYTES = 16 << 10  # of messages in an answer, which is written at once whoever else has written in this turn
LONG_BYTES = 256 << 10  # more are written in pieces
STEP_BYTES, STEP_BYTES_XML = 384, 96  # that are written in a step of net/turns.py
MESSAGES_MAX = 10
WAIT_MAX_S = 20
VISIBILITY_MAX_S = 43_200
NAMES_MAX = 100  # of message attributes asked for

# System attributes that a receiver may ask for, a bit each.
SENDER_ID, SENT_TIMESTAMP, RECEIVE_COUNT, FIRST_RECEIVE, SEQUENCE_NUMBER, DEDUPLICATION_ID, GROUP_ID, TRACE_HEADER, SOURCE_ARN = (1 << bit for bit in range(9))
SYSTEM_ATTRIBUTES = {
    "SenderId": SENDER_ID,
    "SentTimestamp": SENT_TIMESTAMP,
    "ApproximateReceiveCount": RECEIVE_COUNT,
    "ApproximateFirstReceiveTimestamp": FIRST_RECEIVE,
    "SequenceNumber": SEQUENCE_NUMBER,
    "MessageDeduplicationId": DEDUPLICATION_ID,
    "MessageGroupId": GROUP_ID,
    "AWSTraceHeader": TRACE_HEADER,
    "DeadLetterQueueSourceArn": SOURCE_ARN,
}
ALL = (1 << 9) - 1

_CODEC = CODEC_SQS
_SHORT, _LONG, _STEP_BYTES, _STEP_BYTES_XML = SHORT_BYTES, LONG_BYTES, STEP_BYTES, STEP_BYTES_XML
_BEHIND = b'"}]}'
_SENDER_ID, _SENT_TIMESTAMP, _RECEIVE_COUNT, _FIRST_RECEIVE, _SEQUENCE_NUMBER = SENDER_ID, SENT_TIMESTAMP, RECEIVE_COUNT, FIRST_RECEIVE, SEQUENCE_NUMBER
_DEDUPLICATION_ID, _GROUP_ID, _TRACE_HEADER, _SOURCE_ARN = DEDUPLICATION_ID, GROUP_ID, TRACE_HEADER, SOURCE_ARN
_ATTRIBUTES, _DEDUPLICATION, _GROUP, _SENDER, _SENT_TIME, _SOURCE, _TRACE = ATTRIBUTES, DEDUPLICATION, GROUP, SENDER, SENT_TIME, SOURCE, TRACE
_MESSAGE_ID, _BODY_MD5, _SEQUENCE_FIRST = MESSAGE_ID, BODY_MD5, SEQUENCE_FIRST


class Wanted:
    """What a receiver asked to be told of each message."""

    __slots__ = ("fifo", "selection", "system")

    def __init__(self, system: int, selection: Selection | None, fifo: bool) -> None:
        self.system = system
        self.selection = selection
        self.fifo = fifo


def receive_message(exchange: Exchange) -> object:
    """Handler of ReceiveMessage."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    count = 1 if request.MaxNumberOfMessages is None else request.MaxNumberOfMessages
    if not 1 <= count <= MESSAGES_MAX:
        raise invalid_value(f"Value {count} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and {MESSAGES_MAX}, if provided.")
    wait_ms = -1
    if request.WaitTimeSeconds is not None:
        if not 0 <= request.WaitTimeSeconds <= WAIT_MAX_S:
            raise invalid_value(
                f"Value {request.WaitTimeSeconds} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= {WAIT_MAX_S}, if provided."
            )
        wait_ms = 1000 * request.WaitTimeSeconds
    visibility_ms = -1 if request.VisibilityTimeout is None else check_visibility(request.VisibilityTimeout)
    fifo = exchange.queue.endswith(".fifo")
    system = 0
    for names in (request.AttributeNames, request.MessageSystemAttributeNames):
        if names is not None:
            system |= system_attributes(names)
    selection = None
    if request.MessageAttributeNames:
        if len(request.MessageAttributeNames) > NAMES_MAX:
            raise invalid_value(f"Value for parameter MessageAttributeNames is invalid. Reason: Must be at most {NAMES_MAX} names.")
        selection = Selection(request.MessageAttributeNames)
    exchange.state = Wanted(system, selection, fifo)
    exchange.refused = refused
    call = make_receive(0, exchange.queue, _CODEC, count, visibility_ms, wait_ms)
    if request.ReceiveRequestAttemptId is not None:
        if not fifo:
            raise invalid_value(
                f"Value {request.ReceiveRequestAttemptId[:128]} for parameter ReceiveRequestAttemptId is invalid. "
                "Reason: The request include parameter that is not valid for this queue type."
            )
        call.attempt_id = identifier(request.ReceiveRequestAttemptId, "ReceiveRequestAttemptId")
    return exchange.submit(call, received)


def check_visibility(seconds: int) -> int:
    """A visibility timeout in milliseconds. Raises SqsError."""
    if not 0 <= seconds <= VISIBILITY_MAX_S:
        raise invalid_value(f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and {VISIBILITY_MAX_S}, if provided.")
    return 1000 * seconds


def system_attributes(names: list[str]) -> int:
    """The bits of some names. Raises SqsError."""
    bits = 0
    for name in names:
        if name == "All":
            bits = ALL
        elif name in SYSTEM_ATTRIBUTES:
            bits |= SYSTEM_ATTRIBUTES[name]
        else:
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {name[:80]}.")
    return bits


def refused(exchange: Exchange, error: Refused) -> SqsError | None:
    """What a refusal means here."""
    if error.reason is Reason.LIMIT:
        return SqsError("OverLimit", f"The maximum number of in flight messages is reached: {without_vhosts(str(error))}")
    return None


def received(exchange: Exchange, call: Receive) -> object:
    """The Receive is done."""
    messages: list[Received] = call.received
    size = 0
    for item in messages:
        size += get_u32_le(item.data, item.position)
    if size > _SHORT:
        turns = exchange.session.turns
        if turns.left <= 0 or size > _LONG:
            return exchange.answer_long(long_answer(exchange, call))
        turns.spend(size // (_STEP_BYTES if exchange.is_json else _STEP_BYTES_XML))
    if not exchange.is_json:
        wanted: Wanted = exchange.state
        return exchange.answer(ReceiveMessageResult(Messages=[as_structure(exchange, call, item, wanted, body_text(item)) for item in messages]))
    if len(messages) == 0:
        return exchange.answer_json(b"{}")
    return exchange.answer_written(write_messages(exchange, call))


def write_messages(exchange: Exchange, call: Receive) -> Writer:
    """The answer as JSON."""
    writer: Writer = exchange.session.shared.fresh_writer()
    first = True
    messages: list[Received] = call.received
    for item in messages:
        write_message(exchange, writer, call, item, first)
        first = False
        at = body_at(item.data, item.position)
        writer.string(item.data, at, item.position + 4 + get_u32_le(item.data, item.position) - at)
    writer.raw(_BEHIND)
    return writer


def write_message(exchange: Exchange, writer: Writer, call: Receive, item: Received, first: bool) -> int:
    """What stands in the JSON of the answer before one message's body, and behind that of the one before it."""
    wanted: Wanted = exchange.state
    data = item.data
    position = item.position
    writer.raw(b'{"Messages":[{"MessageId":"' if first else b'"},{"MessageId":"')
    writer.uuid(data, position + _MESSAGE_ID)
    writer.raw(b'","ReceiptHandle":"')
    write_handle(writer, call.queue_id, item.offset, call.lease_id)
    writer.raw(b'","MD5OfBody":"')
    writer.hexadecimal(data, position + _BODY_MD5, 16)
    if wanted.system:
        writer.raw(b'","Attributes":{"')
        write_system(exchange, writer, item, wanted)
        writer.raw(b'},"')
    else:
        writer.raw(b'","')
    if wanted.selection is not None:
        packed = field_of(data, position, _ATTRIBUTES)
        if len(packed) > 0:
            chosen, digest = select(packed, wanted.selection)
            if len(chosen) > 0:
                writer.raw(b'MD5OfMessageAttributes":"')
                writer.hexadecimal(digest, 0, 16)
                writer.raw(b'","MessageAttributes":')
                write_json(writer, chosen)
                writer.raw(b',"')
    writer.raw(b'Body":"')
    return 0


def write_system(exchange: Exchange, writer: Writer, item: Received, wanted: Wanted) -> int:
    """System attributes, as what stands in a JSON object behind its first quote."""
    data = item.data
    position = item.position
    system = wanted.system
    first = True
    if system & _SENDER_ID:
        value = field_of(data, position, _SENDER)
        if len(value) > 0:
            first = _text(writer, first, b'SenderId":"', value)
    if system & _SENT_TIMESTAMP:
        first = _number(writer, first, b'SentTimestamp":"', sent_time(item), 1)
    if system & _RECEIVE_COUNT:
        first = _number(writer, first, b'ApproximateReceiveCount":"', item.deliveries, 1)
    if system & _FIRST_RECEIVE:
        first = _number(writer, first, b'ApproximateFirstReceiveTimestamp":"', item.first_received_ms, 1)
    if system & _SEQUENCE_NUMBER and wanted.fifo:
        first = _number(writer, first, b'SequenceNumber":"', _SEQUENCE_FIRST + item.offset, 20)
    if system & _DEDUPLICATION_ID:
        value = field_of(data, position, _DEDUPLICATION)
        if len(value) > 0:
            first = _text(writer, first, b'MessageDeduplicationId":"', value)
    if system & _GROUP_ID:
        value = field_of(data, position, _GROUP)
        if len(value) > 0:
            first = _text(writer, first, b'MessageGroupId":"', value)
    if system & _TRACE_HEADER:
        value = field_of(data, position, _TRACE)
        if len(value) > 0:
            first = _text(writer, first, b'AWSTraceHeader":"', value)
    if system & _SOURCE_ARN:
        value = field_of(data, position, _SOURCE)
        if len(value) > 0:
            first = _text(writer, first, b'DeadLetterQueueSourceArn":"', source_arn(exchange, value))
    if first:
        writer.filled -= 1  # the quote of a first name that did not come
    else:
        writer.raw(b'"')
    return 0


def _text(writer: Writer, first: bool, name: bytes, value: bytes) -> bool:
    if not first:
        writer.raw(b'","')
    writer.raw(name)
    writer.string(value, 0, len(value))
    return False


def _number(writer: Writer, first: bool, name: bytes, value: int, width: int) -> bool:
    if not first:
        writer.raw(b'","')
    writer.raw(name)
    writer.decimal(value, width)
    return False


def sent_time(item: Received) -> int:
    """When the message was sent, milliseconds since 1970."""
    own = number_of(item.data, item.position, _SENT_TIME)
    return item.append_time_ms if own < 0 else own


def source_arn(exchange: Exchange, queue: bytes) -> bytes:
    """The ARN of the queue that a message was dead-lettered from."""
    arn: str = exchange.session.callers.arn_of(exchange.attachment.namespace, queue.decode(errors="replace"))  # type: ignore[union-attr]
    return arn.encode()


def as_structure(exchange: Exchange, call: Receive, item: Received, wanted: Wanted, body: Any) -> Message:
    """One message as the API's structure."""
    data, position = item.data, item.position
    writer: Writer = exchange.session.shared.fresh_writer()
    write_handle(writer, call.queue_id, item.offset, call.lease_id)
    handle = writer.take().decode()
    message = Message(
        MessageId=uuid_text(take(data, position + MESSAGE_ID, 16)),
        ReceiptHandle=handle,
        MD5OfBody=take(data, position + BODY_MD5, 16).hex(),
        Body=body,
    )
    values: list[tuple[int, str, Any]] = [
        (SENDER_ID, "SenderId", field_of(data, position, SENDER)),
        (SENT_TIMESTAMP, "SentTimestamp", sent_time(item)),
        (RECEIVE_COUNT, "ApproximateReceiveCount", item.deliveries),
        (FIRST_RECEIVE, "ApproximateFirstReceiveTimestamp", item.first_received_ms),
        (SEQUENCE_NUMBER, "SequenceNumber", str(SEQUENCE_FIRST + item.offset) if wanted.fifo else b""),
        (DEDUPLICATION_ID, "MessageDeduplicationId", field_of(data, position, DEDUPLICATION)),
        (GROUP_ID, "MessageGroupId", field_of(data, position, GROUP)),
        (TRACE_HEADER, "AWSTraceHeader", field_of(data, position, TRACE)),
        (SOURCE_ARN, "DeadLetterQueueSourceArn", source_arn(exchange, source) if (source := field_of(data, position, SOURCE)) else b""),
    ]
    system = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value) for bit, name, value in values if wanted.system & bit and value != b""
    }
    if system:
        message.Attributes = system
    packed = field_of(data, position, ATTRIBUTES)
    if wanted.selection is not None and packed:
        chosen, digest = select(packed, wanted.selection)
        if chosen:
            message.MessageAttributes = as_values(chosen)
            message.MD5OfMessageAttributes = digest.hex()
    return message


def body_text(item: Received) -> str:
    """The body of a message."""
    return body_of(item.data, item.position).decode(errors="replace")


# ---- answers that take turns


def long_answer(exchange: Exchange, call: Receive) -> LongAnswer:
    """The answer, in the form that was asked for."""
    if exchange.is_json:
        return LongAnswer(exchange, _as_json(exchange, call), JSON_OK, False)
    if exchange.request.wants_json:
        return LongAnswer(exchange, _as_plain_json(exchange, call), PLAIN_JSON_OK, False)
    return LongAnswer(exchange, _as_xml(exchange, call), XML_OK, True)


def _as_json(exchange: Exchange, call: Receive) -> Parts:
    first = True
    for item in call.received:
        writer = exchange.session.shared.fresh_writer()
        write_message(exchange, writer, call, item, first)
        first = False
        yield [writer.take(), _body(item)]
    yield [_BEHIND]


def _as_plain_json(exchange: Exchange, call: Receive) -> Parts:
    """JSON has no control characters: one stands for each body until it is known what is around them."""
    place = msgspec.Raw(b'"\0"')
    result = ReceiveMessageResult(Messages=[as_structure(exchange, call, item, exchange.state, place) for item in call.received])
    around = encode_answer_json(exchange.action, result, exchange.request_id.decode()).split(b"\0")  # type: ignore[arg-type]
    yield [around[0]]
    for item, behind in zip(call.received, around[1:], strict=True):
        yield [_body(item), behind]


def _as_xml(exchange: Exchange, call: Receive) -> Parts:
    """What is sent has no half of a surrogate pair but those that stand for octets: one stands for the body."""
    place = "\ud800"
    front, end = around_answer(exchange.action, exchange.request_id.decode())  # type: ignore[arg-type]
    yield [encode_text(front)]
    for item in call.received:
        before, behind = element("Message", as_structure(exchange, call, item, exchange.state, place)).split(place)
        yield [encode_text(before), _body(item), encode_text(behind)]
    yield [encode_text(end)]


def _body(item: Received) -> Body:
    at = body_at(item.data, item.position)
    return Body(item.data, at, item.position + 4 + get_u32_le(item.data, item.position) - at)
