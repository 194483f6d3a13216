"""Why a request is not what its action takes, in the words of JSON and of SQS: a decoder's own are about its types."""

from __future__ import annotations

import re

import msgspec

TEXT_MAX = 300

_HEX = rb"[0-9a-fA-F]"
_HIGH, _LOW = rb"\\u[dD][89abAB]" + _HEX + _HEX, rb"\\u[dD][c-fC-F]" + _HEX + _HEX
_HALF = re.compile(rb"(?<!\\)(?:\\\\)*(" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")|(\xed[\xa0-\xbf][\x80-\xbf])")
_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$\.?([^`]*)`)?")
_AT = re.compile(r" - at `\$\.?([^`]*)`")
_NAMES = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "an object", "null": "null"}


def why_wrong(error: Exception, body: bytes = b"") -> str:
    """What is wrong with a request that a decoder has refused with `error`, without a full stop; `body`: its JSON, if it is that."""
    half = _HALF.search(body)
    if half is not None:
        found = half[1].decode() if half[1] else f"\\u{ord(half[2].decode(errors='surrogatepass')):04x}"
        return f"{found} is half of a surrogate pair without the other half, as of an emoji that was cut in two, and no character"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        mismatch = _TYPE.match(text)
        if mismatch is not None:
            wanted = " or ".join(_NAMES.get(name, name) for name in mismatch[1].split(" | ") if name != "null")
            got = _NAMES.get(mismatch[2], mismatch[2])
            return f"{(mismatch[3] or 'it')[:TEXT_MAX]} must be {wanted}, and is {got}"
        place = _AT.search(text)
        if place is not None:
            what = "is not base64" if "base64" in text else text[: place.start()]
            return f"{place[1][:TEXT_MAX]} {what}"
    if "truncated" in text:
        return "its JSON ends too early"
    return text[:TEXT_MAX].replace("JSON is malformed", "it is not JSON")
