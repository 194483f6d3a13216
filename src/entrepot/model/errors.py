"""The one small tree of errors, used by every layer; each protocol maps it to its own codes.

A class is here only because some caller acts differently on it.
"""

from __future__ import annotations

import enum
from typing import Self


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
    TOO_LARGE = "too large"
    OUT_OF_RANGE = "offset out of range"
    UNKNOWN_KEY = "no such setting"
    INVALID_VALUE = "not a value of the setting"
    ENDED_EPOCH = "epoch of the partition's owner is over"
    UNKNOWN_EPOCH = "epoch of the partition's owner that this one does not know"
    # of producers that number what they send
    OUT_OF_SEQUENCE = "not the next batch of its producer"
    STALE_PRODUCER = "epoch of the producer is over"
    UNKNOWN_PRODUCER = "nothing is known of the producer"
    # of groups
    UNKNOWN_MEMBER = "not a member of the group"
    STALE_MEMBER = "generation of the member is over"
    STALE_EPOCH = "not the epoch that the member has"  # of what it commits or fetches: it need not join again
    FENCED_MEMBER = "epoch of the member is over: join again"
    REBALANCING = "the group is rebalancing"
    MEMBER_ID_REQUIRED = "come back with the given member id"
    FENCED_INSTANCE = "another member has this instance id"
    UNRELEASED_INSTANCE = "the member with this instance id has not left"
    INCONSISTENT_GROUP = "the group works otherwise"
    UNSUPPORTED_ASSIGNOR = "no such assignor"
    INVALID_SESSION_TIMEOUT = "session timeout out of bounds"
    INVALID_PATTERN = "not a regular expression that is supported"
    INVALID_GROUP = "not a name for a group"
    # of sessions that outlive their connection
    TAKEN_OVER = "somebody else has opened the session since"


class EntrepotError(Exception):
    """The root of the tree."""


class ProtocolError(EntrepotError):
    """The peer broke the wire format or its rules; the connection or channel ends with the protocol's own code."""


class NotDone(EntrepotError):
    """Why a call of the port was not carried out, or may not have been: one of the three below, each of which is an outcome (broker/calls/port.py)."""

    def again(self) -> Self:
        """The same, to be raised: an error that is raised where it is kept keeps in turn whoever was at work then."""
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__)
        return copy


class Refused(NotDone):
    """Understood and denied. `reason` says why, the text with which value, and what would be allowed."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Unavailable(NotDone):
    """Certainly not applied: try again."""


class OutcomeUnknown(NotDone):
    """Perhaps applied: never reported as success or as failure."""


class Fenced(EntrepotError):
    """No longer the owner: stop at once."""


class CorruptData(EntrepotError):
    """Stored bytes are damaged: stop, and keep the evidence. The text names file and position."""
