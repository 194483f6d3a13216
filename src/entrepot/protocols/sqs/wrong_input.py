"""Why a request is not what its action takes, in the words of JSON and of SQS: a decoder's own are about its types."""

from __future__ import annotations

import re

import msgspec

from entrepot.model.mismatch import mismatch_text

TEXT_MAX = 300

_HEX = rb"[0-9a-fA-F]"
_HIGH, _LOW = rb"\\u[dD][89abAB]" + _HEX + _HEX, rb"\\u[dD][c-fC-F]" + _HEX + _HEX
_HALF = re.compile(rb"(?<!\\)(?:\\\\)*(" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")|(\xed[\xa0-\xbf][\x80-\xbf])")


def why_wrong(error: Exception, body: bytes = b"") -> str:
    """What is wrong with a request that a decoder has refused with `error`, without a full stop; `body`: its bytes, in which characters are looked at."""
    half = _HALF.search(body)
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
