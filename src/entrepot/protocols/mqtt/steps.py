"""Steps: what a packet does that asks the broker, as a generator; and several of them side by side.

It yields a request of the port and is given its result, or thrown the NotDone that it ended with; or a list of requests, which are asked together, and is
given a list of their results, of which each may be a NotDone; or None, to go on in a later turn.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from entrepot.model.errors import NotDone

Steps = Generator[Any, Any, None]


def side_by_side(generators: Sequence[Generator[Any, Any, Any]]) -> Generator[Any, Any, list[Any]]:
    """What each returns, or the NotDone that it raised. What they ask goes out together, one request of each at a time; they yield nothing but requests."""
    results: list[Any] = [None] * len(generators)
    answers: dict[int, Any] = dict.fromkeys(range(len(generators)))
    while answers:
        asked: dict[int, Any] = {}
        for index, answer in answers.items():
            try:
                asked[index] = generators[index].throw(answer) if isinstance(answer, NotDone) else generators[index].send(answer)
            except StopIteration as stop:
                results[index] = stop.value
            except NotDone as error:
                error.__traceback__ = None
                results[index] = error
        if not asked:
            break
        answered = yield list(asked.values())
        answers = dict(zip(asked, answered, strict=True))
    return results
