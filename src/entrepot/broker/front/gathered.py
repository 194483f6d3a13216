"""Gathered: what several owners answer to a question each: told when the last of them has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.model.errors import NotDone


class Gathered:
    """Of `count` answers, one at least. done(the first of the errors, or None, the answers in the order in which they came)."""

    def __init__(self, count: int, done: Callable[[NotDone | None, list[Any]], None]) -> None:
        self._left = count
        self._done = done
        self._error: NotDone | None = None
        self._answers: list[Any] = []

    def put(self, error: NotDone | None, answer: Any) -> None:
        """One owner has answered."""
        if error is None:
            self._answers.append(answer)
        else:
            self._error = self._error or error
        self._left -= 1
        if not self._left:
            self._done(self._error, self._answers)
