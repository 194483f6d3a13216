"""Why a request is not what its action takes, in the words of JSON and of SQS: a decoder's own are about its types."""

from __future__ import annotations

import re

import msgspec

from entrepot.model.mismatch import mismatch_text

TEXT_MAX = 300
SEARCHED_BYTES = 1 << 20  # for the first character that may be half of a pair,
LOOKED_AT_BYTES = 16_384  # and from there on for one that is: a look at each takes time

_HEX = rb"[0-9a-fA-F]"
_HIGH, _LOW = rb"\\u[dD][89abAB]" + _HEX + _HEX, rb"\\u[dD][c-fC-F]" + _HEX + _HEX
_HALF = re.compile(rb"(?<!\\)(?:\\\\)*(" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")|(\xed[\xa0-\xbf][\x80-\xbf])")
_BEGINNINGS = (b"\\ud", b"\\uD", b"\xed")  # of what may be half of a pair


def why_wrong(error: Exception, body: bytes = b"") -> str:
    """What is wrong with a request that a decoder has refused with `error`, without a full stop; `body`: its bytes, in which characters are looked at."""
    found_at = [at for beginning in _BEGINNINGS if (at := body.find(beginning, 0, SEARCHED_BYTES)) >= 0]
    half = _HALF.search(body, max(0, min(found_at) - 1), min(found_at) + LOOKED_AT_BYTES) if found_at else None
    if half is not None:
        found = half[1].decode() if half[1] else f"\\u{ord(half[2].decode(errors='surrogatepass')):04x}"
        return f"{found} is half of a surrogate pair without the other half, as of an emoji that was cut in two, and no character"
    text = str(error)
    if isinstance(error, UnicodeError) or text.startswith("Invalid UTF-8"):  # msgspec has its own error for that since 0.23
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return mismatch_text(text)
    if "truncated" in text:
        return "its JSON ends too early"
    return text[:TEXT_MAX].replace("JSON is malformed", "it is not JSON")
