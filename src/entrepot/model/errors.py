"""The one small tree of errors, used by every layer; each protocol maps it to its own codes.

A class is here only because some caller acts differently on it.
"""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why something understood was denied; protocols have a code for each."""

    NOT_FOUND = "not found"
    NOT_PERMITTED = "not permitted"
    EXISTS_DIFFERENT = "exists with other attributes"
    IN_USE = "in use"
    NOT_EMPTY = "not empty"
    LOCKED = "exclusive to another connection"
    INVALID = "invalid argument"
    LIMIT = "limit reached"
    NOT_SUPPORTED = "not supported"
    FULL = "target is full"
    UNAUTHENTICATED = "not authenticated"


class EntrepotError(Exception):
    """The root of the tree."""


class ProtocolError(EntrepotError):
    """The peer broke the wire format or its rules; the connection or channel ends with the protocol's own code."""


class Refused(EntrepotError):
    """Understood and denied. `reason` says why, the text with which value, and what would be allowed."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Unavailable(EntrepotError):
    """Certainly not applied: try again."""


class OutcomeUnknown(EntrepotError):
    """Perhaps applied: never reported as success or as failure."""


class Fenced(EntrepotError):
    """No longer the owner: stop at once."""


class CorruptData(EntrepotError):
    """Stored bytes are damaged: stop, and keep the evidence. The text names file and position."""
