"""How a link begins: each end says who it is and what it has of the other, then proves that it knows the key both share (docs/formats/link.md).

    octets 0..7   b"EPLINK\\r\\n"
    u16be, u16be  the lowest and the highest version that is spoken
    u32be         size of what follows
    msgpack       [cluster, name, start, peer start, received, nonce]: all that can be told without the key

A start is 16 octets: a u64be that grows from one start of the process to the next, and 8 octets of chance. The lesser of two, octet by octet, is the earlier.

and when both have said so, from each end 32 octets: HMAC-SHA-256 of the key over the end's role, the greeting of who has connected, and that of who
was connected to. The nonces make each proof good for this connection alone, the role for this end alone.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import msgspec

from entrepot.model.errors import CorruptData

MAGIC = b"EPLINK\r\n"
VERSION_MIN = 1
VERSION_MAX = 1
HEAD_SIZE = 16
BODY_MAX = 1024
START_SIZE = 16
KEY_MIN_BYTES = 32
NONCE_SIZE = 32
PROOF_SIZE = 32
NAME_MAX_BYTES = 255  # of a process, and of a cluster, in UTF-8

_ROLES = (b"connected to", b"has connected")


class Greeting(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=False):
    """`peer_start`: the start at the other end that this one has a link with, b"" for none; `received`: data frames that it has had of that."""

    cluster: str
    name: str
    start: bytes
    peer_start: bytes
    received: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """A greeting that has come: as it came, what it says, and the version that both ends speak."""

    raw: bytes
    said: Greeting
    version: int


def encode(greeting: Greeting) -> bytes:
    """All of it."""
    body = msgspec.msgpack.encode(greeting)
    return b"".join((MAGIC, VERSION_MIN.to_bytes(2, "big"), VERSION_MAX.to_bytes(2, "big"), len(body).to_bytes(4, "big"), body))


def body_size(head: bytes) -> int:
    """How much follows the first HEAD_SIZE octets. Raises CorruptData: it is no greeting, or of no version that is spoken here."""
    if head[:8] != MAGIC:
        raise CorruptData(f"{head[:8]!r} begins no link")
    size = int.from_bytes(head[12:16], "big")
    if size > BODY_MAX:
        raise CorruptData(f"a greeting of {size} bytes; the limit is {BODY_MAX}")
    _version(head)
    return size


def decode(raw: bytes) -> Heard:
    """Of a whole greeting. Raises CorruptData."""
    try:
        said = msgspec.msgpack.decode(raw[HEAD_SIZE:], type=Greeting)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptData(f"a greeting that does not decode: {error}") from None
    sizes = (len(said.start), len(said.nonce))
    if sizes != (START_SIZE, NONCE_SIZE) or len(said.peer_start) not in (0, START_SIZE) or said.received < 0 or not are_names(said.cluster, said.name):
        raise CorruptData("a greeting whose fields have other sizes")
    return Heard(raw, said, _version(raw))


def proof(key: bytes, dialled: bool, dialler: bytes, acceptor: bytes) -> bytes:
    """That an end knows the key; `dialled`: it is the one that has connected. The greetings are as they were sent."""
    return hmac.digest(key, b"\x00".join((_ROLES[dialled], len(dialler).to_bytes(4, "big") + dialler + acceptor)), "sha256")


def are_names(*names: str) -> bool:
    """Whether a process, or a cluster, may be called each of them."""
    return all(1 <= len(name.encode()) <= NAME_MAX_BYTES for name in names)


def _version(head: bytes) -> int:
    lowest, highest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    found = min(highest, VERSION_MAX)
    if found < max(lowest, VERSION_MIN):
        raise CorruptData(f"it speaks versions {lowest} to {highest} of the link; this end {VERSION_MIN} to {VERSION_MAX}")
    return found
