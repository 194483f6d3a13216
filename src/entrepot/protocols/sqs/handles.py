"""Receipt handles, task handles and page tokens: what clients hold, opaque to them, checked when it comes back.

receipt handle   60 characters of base64: u8 version (1) | 16 queue id | u64 offset | 16 lease id | u32 CRC-32 of what is before, big-endian
"""

from __future__ import annotations

import base64
import binascii
import uuid
import zlib

import cython
import msgspec

if not cython.compiled:
    from entrepot.model.octets import copy, get_u32_be, get_u64_be, put_u32_be, put_u64_be, take, take_ba
    from entrepot.protocols.sqs.writing import Writer

VERSION = 1
HANDLE_BYTES = 45
HANDLE_CHARACTERS = 60
TOKEN_MAX = 1024  # characters

_VERSION, _BYTES, _CHARACTERS = VERSION, HANDLE_BYTES, HANDLE_CHARACTERS
_crc32, _a2b_base64 = zlib.crc32, binascii.a2b_base64
_packed = bytearray(HANDLE_BYTES)  # of the handle that is being written


class Handle:
    """What a receipt handle says."""

    __slots__ = ("lease_id", "offset", "queue_id")

    def __init__(self, queue_id: bytes, offset: int, lease_id: bytes) -> None:
        self.queue_id = queue_id
        self.offset = offset
        self.lease_id = lease_id


def write_handle(writer: Writer, queue_id: bytes, offset: int, lease_id: bytes) -> int:
    """The characters of a handle."""
    packed = _packed
    packed[0] = _VERSION
    copy(packed, 1, queue_id, 0, 16)
    put_u64_be(packed, 17, offset)
    copy(packed, 25, lease_id, 0, 16)
    put_u32_be(packed, 41, _crc32(take_ba(packed, 0, 41)))
    return writer.base64(take_ba(packed, 0, _BYTES), 0, _BYTES)


def read_handle(text: str) -> Handle | None:
    """What it says; None: it is none of ours."""
    if len(text) != _CHARACTERS or not text.isascii():
        return None
    try:
        packed = _a2b_base64(text)
    except binascii.Error:
        return None
    # Characters that are none of base64 are passed over, and octets missing then.
    if len(packed) != _BYTES or packed[0] != _VERSION or _crc32(take(packed, 0, 41)) != get_u32_be(packed, 41):
        return None
    return Handle(take(packed, 1, 16), get_u64_be(packed, 17), take(packed, 25, 16))


def make_token(kind: str, after: str) -> str:
    """A page token: what the next page begins behind. It is good for the same kind of list only."""
    content = f"{kind}\x00{after}".encode(errors="surrogateescape")
    return base64.urlsafe_b64encode(zlib.crc32(content).to_bytes(4, "big") + content).decode()


def read_token(kind: str, token: str) -> str | None:
    """What the page begins behind; None: it is no token of this kind of list."""
    if len(token) > TOKEN_MAX or not token.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(token)
    except (binascii.Error, ValueError):
        return None
    content = raw[4:]
    if len(raw) < 5 or zlib.crc32(content) != int.from_bytes(raw[:4], "big"):
        return None
    found, _, after = content.decode(errors="surrogateescape").partition("\x00")
    return after if found == kind else None


def make_task_handle(task_id: bytes, source_arn: str) -> str:
    """A task handle, which names the queue too: base64 of JSON, as SQS makes them."""
    return base64.b64encode(msgspec.json.encode({"taskId": str(uuid.UUID(bytes=task_id)), "sourceArn": source_arn})).decode()


def read_task_handle(handle: str) -> tuple[bytes, str] | None:
    """Task id and the source's ARN; None: it is no task handle."""
    if len(handle) > TOKEN_MAX or not handle.isascii():
        return None
    try:
        said = msgspec.json.decode(binascii.a2b_base64(handle, strict_mode=True), type=dict[str, str])
        return uuid.UUID(said["taskId"]).bytes, said["sourceArn"]
    except (ValueError, KeyError, msgspec.DecodeError):
        return None
