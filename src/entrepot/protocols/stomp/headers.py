r"""Header lines: escapes by version, and the canonical form in which they are stored. Rare paths, interpreted.

| version | escapes | stored (canonical) |
|---|---|---|
| 1.0 | none; blanks around a value do not count | escaped as in 1.2, but for `:` in values |
| 1.1 | `\n` `\c` `\\` | as it came; a raw carriage return is escaped |
| 1.2 | `\n` `\c` `\\` `\r` | as it came |

A canonical block is lines `name:value`, each ended by a line feed, without a carriage return, in UTF-8. The frames CONNECT and CONNECTED have no escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from entrepot.protocols.stomp.errors import StompError

V10, V11, V12 = 10, 11, 12
VERSION_TEXTS = {V10: "1.0", V11: "1.1", V12: "1.2"}
VERSIONS = {text: version for version, text in VERSION_TEXTS.items()}

_PLAIN = {b"n": b"\n", b"c": b":", b"\\": b"\\", b"r": b"\r"}
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_KNOWN = {V11: re.compile(rb"(?:[^\\]|\\[nc\\])*", re.DOTALL), V12: re.compile(rb"(?:[^\\\r]|\\[nc\\r])*", re.DOTALL)}


def negotiated(accept_version: str | None) -> int:
    """The best version that both know, 0 for none; a client that does not say is of 1.0 (1.2, "Protocol Negotiation")."""
    if accept_version is None:
        return V10
    return max((VERSIONS.get(text.strip(), 0) for text in accept_version.split(",")), default=0)


def unescape(raw: bytes) -> bytes:
    """What a canonical name or value says. What is no escape stays as it is."""
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda found: _PLAIN.get(found[1], found[0]), raw)


def escape(plain: bytes, colon: bool = True) -> bytes:
    """A name or value in canonical form."""
    escaped = plain.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return escaped.replace(b":", b"\\c") if colon else escaped


def lines(block: bytes, strips: bool) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of a frame's header lines as they came; `strips`: a carriage return at a line's end belongs to the end. Raises StompError."""
    for line in block.split(b"\n")[:-1]:
        if strips and line.endswith(b"\r"):
            line = line[:-1]
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise malformed(line)
        yield name, value


def canonical(raw: bytes, version: int) -> bytes:
    """A name or value as it came on a connection of that version, in canonical form. Raises StompError: an escape that there is not, or no UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise StompError("malformed header", f"A header is not UTF-8: {shown(raw)}") from None
    if version == V10:
        return escape(raw.strip(b" \t\r"), colon=False)
    if _KNOWN[version].fullmatch(raw) is None:
        raise StompError("malformed header", f"A header has an escape that STOMP {VERSION_TEXTS[version]} does not define: {shown(raw)}")
    return raw.replace(b"\r", b"\\r")


def table(block: bytes, version: int) -> dict[str, str]:
    """A frame's headers as they came; of repeated ones the first holds. `version` 0: nothing is escaped, as in CONNECT. Raises StompError."""
    found: dict[str, str] = {}
    for name, value in lines(block, version != V11):
        if version == 0:
            found.setdefault(canonical_text(name), canonical_text(value))
        else:
            found.setdefault(unescape(canonical(name, version)).decode(), unescape(canonical(value, version)).decode())
    return found


def echoed(receipt: bytes, version: int) -> bytes:
    """A receipt as it came, to be sent back; b"" where it is malformed itself."""
    try:
        canonical(receipt, version or V10)
    except StompError:
        return b""
    return receipt


def canonical_text(raw: bytes) -> str:
    """What is not escaped, as text. Raises StompError."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise StompError("malformed header", f"A header is not UTF-8: {shown(raw)}") from None


def for_version(block: bytes, version: int) -> bytes:
    """A canonical block as it goes out on a connection of that version. What 1.0 cannot say, a line feed, is a blank there."""
    if version == V12 or b"\\" not in block:
        return block
    if version == V11:
        return _ESCAPE.sub(lambda found: b"\r" if found[1] == b"r" else found[0], block)
    return _ESCAPE.sub(lambda found: b" " if found[1] in (b"n", b"r") else _PLAIN.get(found[1], found[0]), block)


def entries(block: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a canonical block, unescaped, in order."""
    found = []
    for line in block.split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        found.append((unescape(name), unescape(value)))
    return found


def line(name: bytes, value: bytes) -> bytes:
    """One line of a canonical block, of what is not escaped."""
    return b"%b:%b\n" % (escape(name), escape(value))


def encode(command: str, headers: list[tuple[str, str]], version: int, body: bytes = b"") -> bytes:
    """A whole frame. `version` 0: nothing is escaped."""
    block = b"".join(line(name.encode(errors="replace"), value.encode(errors="replace")) for name, value in headers)
    said = for_version(block, V10 if version == 0 else version)
    return b"%b\n%b\n%b\0" % (command.encode(), said, body)


def is_text(value: bytes) -> bool:
    """Whether it can be a header's value: UTF-8 without NUL."""
    if b"\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def malformed(line: bytes) -> StompError:
    """What is said of a header line without a name or a colon."""
    return StompError("malformed header", f"A header line has no name or no colon: {shown(line)}")


def shown(raw: bytes) -> str:
    """The beginning of it, as an error's text shows it."""
    return ascii(raw[:80])[2:-1]
