"""Patterns of policies, in which * is any text and ? one character, matched in few steps.

A pattern is cut at its stars. The first piece must begin the text and the last one end it; those between are looked for one after the other, each as
early as it can be, which finds a match if there is one. Nothing is tried twice, so the steps are at most the text's length times the question marks'.
"""

from __future__ import annotations


class Exhausted(Exception):
    """The steps are used up: there is no answer."""


class Steps:
    """What one evaluation may still cost; a step is a comparison of short texts, well under a microsecond."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Raises Exhausted."""
        self.left -= count
        if self.left < 0:
            raise Exhausted


class _Piece:
    """Between two stars: `runs` are (where, text) of what is between its question marks."""

    __slots__ = ("runs", "size")

    def __init__(self, text: str) -> None:
        self.size = len(text)
        self.runs: list[tuple[int, str]] = []
        at = 0
        for run in text.split("?"):
            if run:
                self.runs.append((at, run))
            at += len(run) + 1

    def stands_at(self, text: str, at: int, steps: Steps) -> bool:
        for offset, run in self.runs:
            steps.take(1)
            if not text.startswith(run, at + offset):
                return False
        return True

    def find(self, text: str, at: int, end: int, steps: Steps) -> int:
        """The first place in text[at:end], or -1."""
        if not self.runs:
            return at if self.size <= end - at else -1
        offset, run = self.runs[0]
        while True:
            steps.take(1)
            place = text.find(run, at + offset, end)
            if place < 0 or place - offset + self.size > end:
                return -1
            at = place - offset
            if len(self.runs) == 1 or self.stands_at(text, at, steps):
                return at
            at += 1


class Pattern:
    """One pattern, ready to be matched against whole texts."""

    __slots__ = ("_first", "_last", "_least", "_middle")

    def __init__(self, pattern: str) -> None:
        first, *others = pattern.split("*")
        self._first = _Piece(first)
        self._last = _Piece(others[-1]) if others else None  # None: no star
        self._middle = [_Piece(part) for part in others[:-1] if part]
        self._least = sum(map(len, others), len(first))

    def matches(self, text: str, steps: Steps) -> bool:
        """Whether all of `text` is like the pattern. Raises Exhausted."""
        steps.take(1)
        size = len(text)
        if size < self._least or not self._first.stands_at(text, 0, steps):
            return False
        last = self._last
        if last is None:
            return size == self._least
        end = size - last.size
        if not last.stands_at(text, end, steps):
            return False
        at = self._first.size
        for piece in self._middle:
            at = piece.find(text, at, end, steps)
            if at < 0:
                return False
            at += piece.size
        return True
