"""How groups are kept: keys and values of the state kinds `g:` and `o:` (docs/formats/groups.md).

    g: u8 size, namespace, u8 size, group, "n"             the highest generation given out
    g: ... "c"                                             a group whose members agree among themselves, as of its last complete generation
    g: ... "e"                                             a group whose coordinator assigns: its epochs
    g: ... "m" member id                                   one of its members
    g: ... "u"                                             the user who made the group
    o: u8 size, namespace, u8 size, group, topic, u32be partition     a committed offset

Values of `g:` are MessagePack `[version, minimum reader version, fields]`, those of `o:` packed. All are replaced whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from entrepot.broker.calls.group_requests import CommittedOffset
from entrepot.broker.groups.desk import GroupStore
from entrepot.broker.state import GROUP_PREFIX, SET, prefix_end
from entrepot.model.errors import CorruptData

VERSION = 1
READER_MIN = 1

GENERATION = b"n"
CLASSIC = b"c"
EPOCHS = b"e"
MEMBER = b"m"
MAKER = b"u"

_SCAN_COUNT = 1024
OFFSET_VERSION = 2  # of `o:`; 1 had no topic id
_OFFSET = struct.Struct("<BBqiq")  # version, minimum reader version, offset, leader epoch, time of the commit in ms; then, since 2, the topic's id
_TOPIC_ID_SIZE = 16
_PARTITION_SIZE = 4


class KeptGeneration(msgspec.Struct, array_like=True):
    """The highest generation that any member was given."""

    generation: int


class KeptClassicMember(msgspec.Struct, array_like=True):
    """A member of a classic group."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes
    is_behind: bool = False


class KeptClassicGroup(msgspec.Struct, array_like=True):
    """A complete generation; no members: the group is empty since `since_ms`."""

    generation: int
    protocol_type: str
    protocol: str
    leader: str | None
    since_ms: int
    members: list[KeptClassicMember]


class KeptMaker(msgspec.Struct, array_like=True):
    """The user who made a group, by name."""

    user: str


class KeptEpochs(msgspec.Struct, array_like=True):
    """Of a group whose coordinator assigns; `since_ms`: when its last member went, 0 while it has any."""

    epoch: int
    assignment_epoch: int
    since_ms: int


class KeptMember(msgspec.Struct, array_like=True):
    """A member of a group whose coordinator assigns. Partitions are by topic id."""

    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    principal: str
    rebalance_timeout_ms: int
    subscribed_names: list[str]
    subscribed_regex: str | None
    assignor: str | None
    epoch: int
    previous_epoch: int
    state: int
    assigned: dict[bytes, list[int]]
    revoking: dict[bytes, list[int]]


Kept = TypeVar("Kept", bound=msgspec.Struct)

_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw])


def encode(value: msgspec.Struct) -> bytes:
    """A value of `g:` as the delta that sets it."""
    return SET + _ENCODER.encode((VERSION, READER_MIN, value))


def decode(key: bytes, value: bytes, kind: type[Kept]) -> Kept:
    """The value of a `g:` key. Raises CorruptData where it is none, or of a version that this one cannot read."""
    try:
        _, reader_min, fields = _ENVELOPE.decode(value)
        if reader_min <= VERSION:
            return msgspec.msgpack.decode(fields, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptData(f"group state {key!r} does not decode: {error}") from None
    raise CorruptData(f"group state {key!r} needs a reader of version {reader_min}; this one is {VERSION}")


def encode_offset(committed: CommittedOffset, topic_id: bytes) -> bytes:
    """A value of `o:` as the delta that sets it."""
    assert len(topic_id) == _TOPIC_ID_SIZE, topic_id
    fixed = _OFFSET.pack(OFFSET_VERSION, OFFSET_VERSION, committed.offset, committed.leader_epoch, committed.time_ms)
    return SET + fixed + topic_id + committed.metadata.encode()


def decode_offset(key: bytes, value: bytes) -> tuple[CommittedOffset, bytes]:
    """The value of an `o:` key, and its topic's id; b"" in a value of version 1. Raises CorruptData."""
    if len(value) < _OFFSET.size:
        raise CorruptData(f"committed offset {key!r} has {len(value)} bytes: too few")
    version, reader_min, offset, epoch, time_ms = _OFFSET.unpack_from(value)
    if reader_min > OFFSET_VERSION:
        raise CorruptData(f"committed offset {key!r} needs a reader of version {reader_min}; this one is {OFFSET_VERSION}")
    end = _OFFSET.size + (0 if version == 1 else _TOPIC_ID_SIZE)
    if len(value) < end:
        raise CorruptData(f"committed offset {key!r} has {len(value)} bytes: too few")
    try:
        return CommittedOffset(offset, epoch, value[end:].decode(), time_ms), value[_OFFSET.size : end]
    except UnicodeDecodeError as error:
        raise CorruptData(f"committed offset {key!r} has metadata that is not UTF-8: {error}") from None


def group_key(prefix: bytes, namespace: str, group: str) -> bytes:
    """What every key of a group begins with."""
    space, name = namespace.encode(), group.encode()
    return b"%b%c%b%c%b" % (prefix, len(space), space, len(name), name)


def split_key(key: bytes) -> tuple[str, str, bytes]:
    """Namespace, group and the rest of a key. Raises CorruptData."""
    at = len(GROUP_PREFIX)
    try:
        end = at + 1 + key[at]
        name_end = end + 1 + key[end]
        return key[at + 1 : end].decode(), key[end + 1 : name_end].decode(), key[name_end:]
    except (IndexError, UnicodeDecodeError):
        raise CorruptData(f"group state has a key {key!r}, which names no group") from None


def offset_key(prefix: bytes, topic: str, partition: int) -> bytes:
    """The key of a committed offset; `prefix` is group_key(OFFSET_PREFIX, ...)."""
    return prefix + topic.encode() + partition.to_bytes(_PARTITION_SIZE, "big")


def split_offset(rest: bytes) -> tuple[str, int]:
    """Topic and partition, of what split_key() leaves of an offset's key."""
    end = len(rest) - _PARTITION_SIZE
    return rest[:end].decode(), int.from_bytes(rest[end:], "big")


def scan(store: GroupStore, shards: Iterable[int], prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of one kind, shard by shard."""
    end = prefix_end(prefix)
    for shard in shards:
        first = prefix
        while True:
            found = store.scan(shard, first, end, _SCAN_COUNT)
            yield from found
            if len(found) < _SCAN_COUNT:
                break
            first = found[len(found) - 1][0] + b"\x00"


def partitions_kept(owned: dict[bytes, set[int]]) -> dict[bytes, list[int]]:
    """Partitions by topic id, as they are kept."""
    return {topic: sorted(partitions) for topic, partitions in owned.items() if partitions}
