"""Complaints: warnings about peers, of which a misbehaving crowd must not make a flood, nor have one drown another.

A warning is logged at once, and the same warning for COMPLAINT_INTERVAL_S not again: then comes the last of those that were left out, with their count.
Two warnings are the same that differ in what is quoted and in words with digits alone. Over KINDS_MAX in that time, all others count as one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from entrepot.model.printable import printable

log = logging.getLogger("entrepot.net")

COMPLAINT_INTERVAL_S = 1.0
KINDS_MAX = 50
TEXT_MAX = 2048  # characters kept of a warning

_KIND_MAX = 500  # characters of a text that are looked at
_QUOTED = re.compile(r"'[^']*'")
_DIGIT = re.compile(r"\d")


class _Kind:
    """Warnings that are the same."""

    __slots__ = ("last_s", "left_out", "newest")

    def __init__(self, now: float) -> None:
        self.last_s = now
        self.left_out = 0
        self.newest = ""


class Complaints:
    """Of one process. `left_out` since start. Times are monotonic seconds."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.left_out = 0
        self._monotonic_s = monotonic_s
        self._kinds: dict[str, _Kind] = {}

    def say(self, text: str) -> None:
        """Log it, now or with those like it."""
        now = self._monotonic_s()
        name = kind_of(text)
        kind = self._kinds.get(name)
        if kind is None and len(self._kinds) >= KINDS_MAX:
            name = ""
            kind = self._kinds.get(name)
        text = printable(text, TEXT_MAX)
        if kind is None:
            self._kinds[name] = _Kind(now)
            log.warning("%s", text)
            return
        kind.left_out += 1
        kind.newest = text
        if now - kind.last_s >= COMPLAINT_INTERVAL_S:
            self._tell(name, kind, now)

    def sweep(self) -> None:
        """Tell of what was left out, and forget what has not been said for a while."""
        now = self._monotonic_s()
        for name, kind in list(self._kinds.items()):
            if now - kind.last_s >= COMPLAINT_INTERVAL_S:
                if kind.left_out:
                    self._tell(name, kind, now)
                else:
                    del self._kinds[name]

    def close(self) -> None:
        """Nothing more will be said: tell of what was left out."""
        now = self._monotonic_s()
        for name, kind in self._kinds.items():
            if kind.left_out:
                self._tell(name, kind, now)
        self._kinds.clear()

    def _tell(self, name: str, kind: _Kind, now: float) -> None:
        count = kind.left_out - 1
        self.left_out += count
        kind.left_out = 0
        kind.last_s = now
        if not count:
            log.warning("%s", kind.newest)
        else:
            log.warning("%s (%d %s left out before it)", kind.newest, count, "like this" if name else "others")


def kind_of(text: str) -> str:
    """What is the same in warnings that are: without what is quoted, and without words that have digits."""
    words = _QUOTED.sub("", text[:_KIND_MAX]).split()
    return " ".join(word for word in words if not _DIGIT.search(word)) or text[:1]
