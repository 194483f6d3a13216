"""Calls on partitions of topics: Append and Read, for protocols whose clients name partitions and offsets themselves (Kafka).

Both hold many parts, one a partition, so that a request of a thousand partitions is one call. A part names its topic in the
attachment's namespace and is answered by itself: `error` is None, or a Refused or Unavailable.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.calls.port import Call
from entrepot.model.errors import EntrepotError, Reason, Refused

if not cython.compiled:
    from entrepot.broker.calls.port import pend


class AppendPart:
    """One batch for one partition, and its answer.

    `data` is one whole entry as its codec packs it, still without what the codec's stamp() sets; the caller gives it up. The
    caller has validated it: `count` records, `max_time_ms` the greatest timestamp, `flags` model.entry's. A producer that numbers its batches gives
    `producer_id`, `producer_epoch` and `first_sequence`, else -1 each.

    Answers: `base_offset` (of the first record; where a batch is sent again, that of the first time), `append_time_ms` (-1 unless the topic's
    timestamps are those of the append) and `first_offset` (of the log). Errors: NOT_FOUND (no such topic or partition),
    NOT_PERMITTED, LIMIT (the disk is full), TOO_LARGE (over the topic's max.message.bytes), INVALID (a timestamp that the topic does not allow),
    OUT_OF_SEQUENCE, STALE_PRODUCER (an epoch that is over), UNKNOWN_PRODUCER.
    """

    __slots__ = (
        "append_time_ms",
        "base_offset",
        "count",
        "data",
        "error",
        "first_offset",
        "first_sequence",
        "flags",
        "max_time_ms",
        "partition",
        "producer_epoch",
        "producer_id",
        "tag",
        "topic",
    )

    topic: str
    partition: int
    data: bytes
    flags: int
    count: int
    max_time_ms: int
    producer_id: int
    producer_epoch: int
    first_sequence: int
    tag: Any  # the caller's own; the broker does not look at it
    base_offset: int
    append_time_ms: int
    first_offset: int
    error: EntrepotError | None


def make_append_part(topic: str, partition: int, data: bytes, flags: int, count: int, max_time_ms: int) -> AppendPart:
    """A part of a producer without numbers."""
    part = AppendPart.__new__(AppendPart)
    part.topic = topic
    part.partition = partition
    part.data = data
    part.flags = flags
    part.count = count
    part.max_time_ms = max_time_ms
    part.producer_id = -1
    part.producer_epoch = -1
    part.first_sequence = -1
    part.tag = None
    part.base_offset = -1
    part.append_time_ms = -1
    part.first_offset = -1
    part.error = None
    return part


class Append(Call):
    """Append every part that can be; the call is DONE when all that was taken is durable, whatever the parts' errors.

    `confirm` False: nobody waits (acks=0); it completes at once. UNKNOWN: the store has ended. Parts of one partition keep their order, within a call and
    over the calls of one attachment.

    Answers: `rewritten_bytes`, how much was unpacked and compressed anew for topics that want it otherwise; known as soon as it was submitted.
    """

    __slots__ = ("codec", "codec_version", "confirm", "parts", "rewritten_bytes")

    codec: int
    codec_version: int
    confirm: bool
    parts: list[AppendPart]
    rewritten_bytes: int


def make_append(stream: int, codec: int, codec_version: int, parts: list[AppendPart], confirm: bool) -> Append:
    """An Append."""
    call = Append.__new__(Append)
    pend(call, stream)
    call.codec = codec
    call.codec_version = codec_version
    call.parts = parts
    call.confirm = confirm
    call.rewritten_bytes = 0
    return call


def wrong_epoch(known: int, epoch: int) -> Refused | None:
    """Why who takes the owner's epoch to be `known` must look again who owns the partition; None: it is right, or not said (-1)."""
    if known == epoch or known < 0:
        return None
    if known < epoch:
        return Refused(Reason.ENDED_EPOCH, f"the partition's owner has epoch {epoch}; {known} is over")
    return Refused(Reason.UNKNOWN_EPOCH, f"the partition's owner has epoch {epoch}; it does not know {known}")


class ReadPart:
    """One partition that is read, and what the last Read brought. It lives as long as its owner reads the partition (a Kafka fetch
    session), and keeps the broker's place in the log between reads in `place`, which is the broker's alone.

    Set by the owner: `topic`, `partition`, `offset` (where to read on), `max_bytes`; with `topic_id` (16 bytes) the part is of the topic with that id,
    whatever `topic` says, and NOT_FOUND when there is none; `leader_epoch` (-1: not said) is the owner's epoch that the reader knows. Answers of each Read:
    `data` whole entries in order, the first holds `offset` or is the first behind it, each as the codec of the call packs it (translated, if it was
    written by another); `size` their bytes; `durable_end` (Kafka: high watermark), `stable_end` (last stable offset), `first_offset`;
    `aborted` (producer id, first offset) of aborted transactions among the data, None unless committed records alone are asked for;
    `error`: NOT_FOUND, NOT_PERMITTED, ENDED_EPOCH, UNKNOWN_EPOCH, or OUT_OF_RANGE (`offset` is below the first or above the durable end).
    `skipped`: entries so far that no
    translation of exists (opaque ones of another protocol).
    """

    __slots__ = (
        "aborted",
        "data",
        "durable_end",
        "error",
        "first_offset",
        "leader_epoch",
        "max_bytes",
        "offset",
        "partition",
        "place",
        "size",
        "skipped",
        "stable_end",
        "tag",
        "topic",
        "topic_id",
    )

    topic: str
    topic_id: bytes  # b"": by name
    partition: int
    offset: int
    max_bytes: int
    leader_epoch: int
    tag: Any  # the caller's own
    place: Any  # the broker's own
    data: list[bytes]
    size: int
    durable_end: int
    stable_end: int
    first_offset: int
    aborted: list[tuple[int, int]] | None
    skipped: int
    error: EntrepotError | None


def make_read_part(topic: str, partition: int, offset: int, max_bytes: int) -> ReadPart:
    """A part that nothing was read for yet."""
    part = ReadPart.__new__(ReadPart)
    part.topic = topic
    part.topic_id = b""
    part.partition = partition
    part.offset = offset
    part.max_bytes = max_bytes
    part.leader_epoch = -1
    part.tag = None
    part.place = None
    part.data = []
    part.size = 0
    part.durable_end = -1
    part.stable_end = -1
    part.first_offset = -1
    part.aborted = None
    part.skipped = 0
    part.error = None
    return part


class Read(Call):
    """Read on in every part: DONE as soon as `min_bytes` are there in all, a part has an error, or `max_wait_ms` have passed.

    At most `max_bytes` in all and each part's own in each, but always a first entry whole. Parts take turns: the next Read of the same list
    begins with the part behind the last one that was cut short. What is not in memory is fetched without holding up others.
    `committed`: stop at the stable end and report aborted transactions. One Read at a time on a list of parts. An attachment's end
    ends its reads without an answer; close_parts() releases the places of parts no longer read.
    """

    __slots__ = ("codec", "committed", "max_bytes", "max_wait_ms", "min_bytes", "parts", "state")

    codec: int
    parts: list[ReadPart]
    min_bytes: int
    max_bytes: int
    max_wait_ms: int
    committed: bool
    state: Any  # the broker's own


def make_read(stream: int, codec: int, parts: list[ReadPart], min_bytes: int, max_bytes: int, max_wait_ms: int, committed: bool) -> Read:
    """A Read."""
    call = Read.__new__(Read)
    pend(call, stream)
    call.codec = codec
    call.parts = parts
    call.min_bytes = min_bytes
    call.max_bytes = max_bytes
    call.max_wait_ms = max_wait_ms
    call.committed = committed
    call.state = None
    return call


def forget_answer(part: ReadPart) -> None:
    """What the last Read brought of a part is not its answer any more."""
    if part.size:
        part.data = []
        part.size = 0
    part.aborted = None
    part.error = None


class CloseParts(Call):
    """Release the places of parts that are read no more; a Read of them that waits ends without an answer. Has no answer."""

    __slots__ = ("parts",)

    parts: list[ReadPart]


def make_close_parts(stream: int, parts: list[ReadPart]) -> CloseParts:
    """A CloseParts."""
    call = CloseParts.__new__(CloseParts)
    pend(call, stream)
    call.parts = parts
    return call
