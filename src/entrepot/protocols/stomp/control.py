"""Frames that are rare: their command, and the headers that the decoder itself goes by. Interpreted."""

from __future__ import annotations

from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.headers import V10, V11

FIRST = ("CONNECT", "STOMP")
COMMANDS = frozenset({"SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT", *FIRST})


def command_of(command: bytes, version: int) -> str:
    """A command that may come on a connection of that version (0: nothing was said yet). Raises StompError."""
    name = command.decode("latin-1")
    if name not in COMMANDS:
        raise StompError("unknown command", f"No command of STOMP: {headers.shown(command)}")
    if name == "NACK" and version == V10:
        raise StompError("unknown command", "STOMP 1.0 has no NACK.")
    if (name in FIRST) == (version != 0):
        raise StompError("unexpected frame", f"{name} is not expected {'again' if name in FIRST else 'before CONNECT'}.")
    return name


def checked(block: bytes, lines_max: int) -> bytes:
    """Header lines without what is left of the empty line behind them. Raises StompError where there are too many."""
    if block.endswith(b"\r"):
        block = block[:-1]
    if block.count(b"\n") > lines_max:
        raise StompError("too many headers", f"A frame has more than {lines_max} headers.")
    return block


def receipt_in(block: bytes, version: int, size_max: int) -> bytes:
    """The header receipt as it came, for an ERROR about the frame; b"": there is none. Raises StompError."""
    for name, value in headers.lines(block, version != V11):
        if name == b"receipt":
            if len(value) > size_max:
                raise StompError("header too long", f"An id has more than {size_max} octets.")
            return value.strip(b" \t") if version == V10 else value
    return b""


def length_in(said: dict[str, str]) -> int:
    """The content-length, 0 where there is none. Raises StompError."""
    text = said.get("content-length", "0").strip()
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise StompError("malformed header", "A content-length is no number.")
    return int(text)
