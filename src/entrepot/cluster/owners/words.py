"""What is said seldom between a front and an owner: two octets, the kind and which owner, and a MessagePack array, which nothing follows.

The fields of each kind are those of a class here, in order. Texts that may be no UTF-8 go as octets (`octets_of`).
Decoding raises CorruptData for whatever is not exactly that: another type, a number out of its bounds, an element more or less.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from entrepot.broker.calls.lease_calls import RECEIVE_MAX, PolicyChanged
from entrepot.broker.topic.stream_start import FIRST, LAST, NEXT, TIME
from entrepot.cluster.owners import kinds
from entrepot.model.addresses import ADDRESS_MAX_BYTES
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.store.interface import LOG_ID_SIZE

# mypy reads these as they are, msgspec with their bounds
U8: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 8)]
U16: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 16)]
U32: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 32)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=-1, lt=1 << 62)]
U64: TypeAlias = Annotated[int, Meta(ge=0)]  # MessagePack has no greater ones
C_INT_MAX = (1 << 31) - 1
CInt: TypeAlias = Annotated[int, Meta(ge=0, le=C_INT_MAX)]
Some: TypeAlias = Annotated[int, Meta(ge=1, lt=1 << 32)]
Address: TypeAlias = Annotated[bytes, Meta(max_length=ADDRESS_MAX_BYTES)]
Key: TypeAlias = Annotated[bytes, Meta(max_length=ADDRESS_MAX_BYTES)]
MOMENT_MAX = (1 << 62) - 1  # milliseconds
Place: TypeAlias = Annotated[int, Meta(ge=-1, le=(1 << 63) - 1)]
LogId: TypeAlias = Annotated[bytes, Meta(min_length=LOG_ID_SIZE, max_length=LOG_ID_SIZE)]
RunOfNumbers: TypeAlias = tuple[U16, Annotated[int, Meta(ge=1, le=1 << 16)]]
OFFSET, NOWHERE = "offset", ""
Of = TypeVar("Of")


class _Words(Struct, array_like=True, forbid_unknown_fields=True):
    """One kind's fields. `kind` is set below."""


class Why(_Words):
    """A NotDone. `what`: its class; a reason that is not known here (of a later version) is one of what is not supported."""

    what: str
    text: bytes
    reason: str = ""
    version: CInt = 0
    policy: bytes = b""
    owner: bytes = b""


class WordsOfRun(_Words):
    """See owners.Run."""

    log_ids: list[LogId]
    hidden: bytes
    data: bytes
    count: Some
    indices: list[U32]


class WordsOfStage(_Words):
    """Of one publish of a transaction: on a lane, or (None) by runs."""

    lane: U32 | None
    address: Address
    runs: list[WordsOfRun]
    codec: U8
    codec_version: U8
    flags: U16
    data: bytes
    count: Some
    body_bytes: Number


class WordsOfConsumer(_Words):
    """Its number, and what its owner goes by. `is_getter`: it is sent nothing by itself. `is_alone`: the limit of its stream is not its."""

    door: U32
    number: Number
    stream: CInt
    pool_limit: Number
    limit: Number
    auto_settle: bool
    exclusive: bool
    priority: Annotated[int, Meta(ge=-C_INT_MAX - 1, le=C_INT_MAX)]
    is_getter: bool
    is_alone: bool
    lent: bool
    counts: bool


class WordsOfDelivery(_Words):
    """See port.Delivery."""

    codec: U8
    codec_version: U8
    data: bytes
    position: Number
    count: U32
    offset: Number
    deliveries: U32
    counted: bool
    redelivered: bool
    append_time_ms: Number


class WordsOfReceived(_Words):
    """See lease_calls.Received; `entry` is which of those of the answer it lies in."""

    entry: U8
    base: Number
    position: Number
    offset: Number
    deliveries: U32
    first_received_ms: Number
    append_time_ms: Number


class WordsOfStart(_Words):
    """See Start of topic/stream_start.py: FIRST, LAST, NEXT, TIME, OFFSET or NOWHERE. No union of types: msgspec crashes on that with numbers in bounds."""

    what: Annotated[str, Meta(max_length=8)]
    value: U64


# ---- of a front


class LaneIs(_Words):
    """A lane is registered: of an address, or of one queue with timed leases."""

    number: U32
    address: Address
    log_ids: list[LogId]
    is_timed: bool


class LanesEnd(_Words):
    """They are not named again."""

    numbers: list[U32]


class DoorIs(_Words):
    """A connection is registered. Deliveries are packed by the codec of that tag."""

    number: U32
    codec: U8


class DoorEnd(_Words):
    """It is not named again, and nothing of it is left."""

    number: U32


class Consume(_Words):
    """See Owner.consume(); ANSWER: nothing, or where it begins in each partition, -1 where that is not known yet."""

    call: Number
    consumer: WordsOfConsumer
    log_ids: Annotated[list[LogId], Meta(min_length=1)]
    start: WordsOfStart


class TakeBack(_Words):
    """See Owner.take_back(); ANSWER: how many."""

    call: Number
    consumer: Number


class Limit(_Words):
    """See Owner.limit()."""

    consumer: Number
    together: Number


class Cancel(_Words):
    """See Owner.cancel()."""

    consumer: Number


class End(_Words):
    """See Owner.end()."""

    consumer: Number


class Get(_Words):
    """See Owner.get(); GOT. `getter`: as it is when it asks for the first time."""

    call: Number
    getter: WordsOfConsumer
    log_id: LogId


class Purge(_Words):
    """See Owner.purge(); ANSWER: how many."""

    call: Number
    log_id: LogId


class Count(_Words):
    """See Owner.count(); ANSWER: ready records and consumers."""

    call: Number
    log_ids: Annotated[list[LogId], Meta(min_length=1)]


class Together(_Words):
    """See Owner.together(); ANSWER: nothing."""

    call: Number
    stages: list[WordsOfStage]
    settlements: list[tuple[Number, Number, U32, U8]]
    loads: list[tuple[bytes, Number, Number]]  # see Load


class WordsOfOnward(_Words):
    """See questions.Onward."""

    places: list[tuple[LogId, str, Place]]
    address: Address
    hidden: bytes
    codec: U8
    codec_version: U8
    flags: U16
    data: bytes
    count: Some


class WordsOfNote(_Words):
    """See questions.Note; `by_stage`: as many as there are stages."""

    log_id: LogId
    generation: Number
    released: bool
    by_stage: list[list[RunOfNumbers]]
    adds: list[RunOfNumbers]
    removes: list[RunOfNumbers]
    onward: list[WordsOfOnward]


class Noted(_Words):
    """See Owner.together(), with a note; ANSWER: numbers that are not remembered."""

    call: Number
    stages: list[WordsOfStage]
    settlements: list[tuple[Number, Number, U32, U8]]
    note: WordsOfNote


class Ask(_Words):
    """See Owner.ask(): a question by its name, and its fields; ANSWER: as the question says."""

    call: Number
    question: str
    fields: msgspec.Raw


class Send(_Words):
    """See lease_calls.Send; SENT."""

    call: Number
    lane: U32
    codec: U8
    codec_version: U8
    flags: U16
    data: bytes
    count: U32
    sizes: list[Number]
    message_ids: list[bytes]
    delays_ms: list[Milliseconds] | None
    groups: list[bytes] | None
    deduplication_ids: list[bytes] | None
    content_ids: list[bytes] | None
    policy_version: CInt


class Receive(_Words):
    """See lease_calls.Receive; RECEIVED."""

    call: Number
    lane: U32
    door: U32
    codec: U8
    count: Annotated[int, Meta(ge=1, le=RECEIVE_MAX)]
    visibility_ms: Milliseconds
    wait_ms: Milliseconds
    attempt_id: bytes
    policy_version: CInt


class EndLeases(_Words):
    """See lease_calls.EndLeases; LEASES_ENDED."""

    call: Number
    lane: U32
    queue_id: bytes
    offsets: list[U64]  # of handles that anybody may make up
    lease_ids: list[bytes]
    visibility_ms: list[Annotated[int, Meta(ge=0, le=MOMENT_MAX)]] | None
    policy_version: CInt


class Withdraw(_Words):
    """See port.Withdraw: of a RECEIVE, unless it is answered."""

    call: Number


class WithdrawAll(_Words):
    """See Owner.withdraw_all()."""

    lane: U32
    door: U32


class Claim(_Words):
    """What a consumer or getter had at the start before: `reads`, unless it was cancelled; `was_given` something; its credit, if it is lent that; of a
    queue the ranges [first, end) that it holds; of partitions where it goes on in each (-1: nothing came of it), and how much it was sent and has not settled.
    """

    consumer: WordsOfConsumer
    log_ids: Annotated[list[LogId], Meta(min_length=1)]
    reads: bool
    was_given: bool
    credit: U32
    ranges: list[tuple[Number, Number]]
    positions: list[Place] | None
    leased: U32
    start: WordsOfStart


class Claimed(_Words):
    """There are no more claims than these. `last`: the greatest number that a consumer had at the starts before."""

    count: Number
    last: Number


# ---- of an owner


class Answer(_Words):
    """Why not, or None, and what the call says; its type is known to who asked."""

    call: Number
    error: Why | None
    answer: msgspec.Raw


class Got(_Words):
    """Of a GET: one record or None, and how many are left."""

    call: Number
    error: Why | None
    delivery: WordsOfDelivery | None
    left: Number


class Sent(_Words):
    """Of a SEND."""

    call: Number
    error: Why | None
    offsets: list[Number]
    stored_ids: list[bytes]
    errors: list[Why | None] | None


class Received(_Words):
    """Of a RECEIVE."""

    call: Number
    error: Why | None
    entries: list[bytes]
    received: list[WordsOfReceived]
    lease_id: bytes
    queue_id: bytes


class LeasesEnded(_Words):
    """Of an END_LEASES."""

    call: Number
    error: Why | None
    statuses: list[U8]


class Gone(_Words):
    """A consumer's queue or topic was deleted."""

    consumer: Number


class LaneGone(_Words):
    """A lane of a queue with timed leases does not stand for it any more."""

    number: U32


KINDS: dict[type[_Words], int] = {
    LaneIs: kinds.LANE,
    LanesEnd: kinds.LANES_END,
    DoorIs: kinds.DOOR,
    DoorEnd: kinds.DOOR_END,
    Consume: kinds.CONSUME,
    TakeBack: kinds.TAKE_BACK,
    Limit: kinds.LIMIT,
    Cancel: kinds.CANCEL,
    End: kinds.END,
    Get: kinds.GET,
    Purge: kinds.PURGE,
    Count: kinds.COUNT,
    Together: kinds.TOGETHER,
    Noted: kinds.NOTED,
    Ask: kinds.ASK,
    Send: kinds.SEND,
    Receive: kinds.RECEIVE,
    EndLeases: kinds.END_LEASES,
    Withdraw: kinds.WITHDRAW,
    WithdrawAll: kinds.WITHDRAW_ALL,
    Claim: kinds.CLAIM,
    Claimed: kinds.CLAIMED,
    Answer: kinds.ANSWER,
    Got: kinds.GOT,
    Sent: kinds.SENT,
    Received: kinds.RECEIVED,
    LeasesEnded: kinds.LEASES_ENDED,
    Gone: kinds.GONE,
    LaneGone: kinds.LANE_GONE,
}
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {kind: msgspec.msgpack.Decoder(words) for words, kind in KINDS.items()}
_ENCODER = msgspec.msgpack.Encoder()
_ERRORS = (Unavailable, OutcomeUnknown)


def encode(owner: int, words: _Words) -> bytes:
    """A whole frame."""
    return bytes((KINDS[type(words)], owner)) + _ENCODER.encode(words)


def packed(words: Why) -> bytes:
    """Without kind and owner, as part of another frame."""
    return _ENCODER.encode(words)


def decode(frame: bytes) -> Any:
    """What a frame of one of these kinds says. Raises CorruptData."""
    decoder = _DECODERS.get(frame[0])
    if decoder is None:
        raise CorruptData(f"a frame of kind {frame[0]}, which is none")
    try:
        return decoder.decode(memoryview(frame)[2:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptData(f"a frame of kind {frame[0]} that does not decode: {error}") from None


def plain(values: Any) -> msgspec.Raw:
    """Plain values whose type the other end knows. Raises TypeError for anything live."""
    return msgspec.Raw(_ENCODER.encode(values))


def read(raw: msgspec.Raw, decoder: msgspec.msgpack.Decoder[Of]) -> Of:
    """What plain() was given. Raises CorruptData."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptData(f"an answer that is of another type: {error}") from None


def words_of_start(start: Any) -> WordsOfStart:
    """Of a Start, or None."""
    if start is None:
        return WordsOfStart(NOWHERE, 0)
    if isinstance(start, str):
        return WordsOfStart(start, 0)
    if isinstance(start, int):
        return WordsOfStart(OFFSET, start)
    return WordsOfStart(TIME, min(start[1], MOMENT_MAX))


def start_of(said: WordsOfStart) -> Any:
    """The same back. Raises CorruptData."""
    if said.what == OFFSET:
        return said.value
    if said.what == TIME and said.value <= MOMENT_MAX:
        return TIME, said.value
    if said.what not in (NOWHERE, FIRST, LAST, NEXT) or said.value:
        raise CorruptData(f"a start that is none: '{said.what}', {said.value}")
    return None if said.what == NOWHERE else said.what


def octets_of(text: str) -> bytes:
    """A text that may be no UTF-8."""
    return text.encode(errors="surrogatepass")


def text_of(octets: bytes) -> str:
    """The same back. Raises CorruptData."""
    try:
        return octets.decode(errors="surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptData(f"a text that does not decode: {error}") from None


def why(error: NotDone | None) -> Why | None:
    """An error in words."""
    if error is None:
        return None
    text = octets_of(str(error))
    if isinstance(error, PolicyChanged):
        return Why("PolicyChanged", text, "", error.version, octets_of(error.policy), octets_of(error.owner))
    if isinstance(error, Refused):
        return Why("Refused", text, error.reason.name)
    return Why(next(one for one in _ERRORS if isinstance(error, one)).__name__, text)


def error_of(words: Why | None) -> NotDone | None:
    """The error that words stand for. Raises CorruptData."""
    if words is None:
        return None
    text = text_of(words.text)
    if words.what == "PolicyChanged":
        return PolicyChanged(text, words.version, text_of(words.policy), text_of(words.owner))
    if words.what == "Refused":
        return Refused(Reason.__members__.get(words.reason, Reason.NOT_SUPPORTED), text)
    for one in _ERRORS:
        if words.what == one.__name__:
            return one(text)
    raise CorruptData(f"an error of a kind '{words.what[:40]}' that is none")
