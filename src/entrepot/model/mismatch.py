"""A decoder's complaint that a value is of another type than expected, in the words of JSON and TOML: its own are about Python's."""

from __future__ import annotations

import re

PLACE_MAX = 300  # characters of where it is

_MISMATCH = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")
_NAMES = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "an object", "null": "null"}


def mismatch_text(text: str) -> str:
    """`MessageBody must be a string, and is a whole number`, of msgspec's text of a ValidationError."""
    found = _PLACE.search(text)
    place = found[1][:PLACE_MAX] if found is not None and found[1] else "it"
    what = text if found is None else text[: found.start()]
    mismatch = _MISMATCH.fullmatch(what)
    if mismatch is not None:
        wanted = " or ".join(_NAMES.get(name, name) for name in mismatch[1].split(" | ") if name != "null")
        return f"{place} must be {wanted}, and is {_NAMES.get(mismatch[2], mismatch[2])}"
    return f"{place} is not base64" if "base64" in what else f"{place}: {what}"
