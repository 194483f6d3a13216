"""Permission patterns: regular expressions of the names that a user may do something with, matched with whole names.

Names come from whoever is logged in, so an expression is of the kind that takes time linear in the name, whatever it says (name_pattern.py).
"""

from __future__ import annotations

from entrepot.broker.users.name_pattern import NamePattern
from entrepot.model.errors import Reason, Refused

NOTHING = ""
"""The pattern that permits nothing, as in RabbitMQ."""
SYNTAX = "literals, ., classes, \\d \\w \\s, groups, |, * + ? {m,n}, ^ $, and (?i) at the start"


def compiled(pattern: str) -> NamePattern | None:
    """What matches names; None for NOTHING. Raises Refused (INVALID) for what is no expression, or not supported."""
    if pattern == NOTHING:
        return None
    try:
        return NamePattern(pattern, any_is_all=True)
    except Refused as refused:
        raise Refused(Reason.INVALID, f"{pattern!r} is not a regular expression that is supported ({refused}): {SYNTAX}") from None


def is_half_anchored(pattern: str) -> bool:
    """Whether it says where a name begins and not how it goes on, or the other way: it means whole names, and others were likely meant."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    goes_on = pattern.endswith((".*", ".+"))
    comes_from = pattern.startswith((".*", ".+"))
    return (begins and not ends and not goes_on) or (ends and not begins and not comes_from)


def half_anchored_text(pattern: str) -> str:
    """What to say of a pattern of which that is so."""
    meant = f"{pattern}.*" if pattern.startswith("^") else f".*{pattern}"
    return f"the regular expression {pattern!r} is matched with whole names, and permits fewer than it may seem to; for all that it is found in: {meant!r}"
