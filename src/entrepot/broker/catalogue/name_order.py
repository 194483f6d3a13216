"""NameOrder: names that are kept in order as they come and go, so that nobody sorts or copies all of them to list a few."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

RUN_MAX = 1000  # names of a run: as many are moved to make room for one


class NameOrder:
    """Runs of names, each in order and behind the one before it, none empty."""

    __slots__ = ("_lasts", "_runs")

    def __init__(self) -> None:
        self._runs: list[list[str]] = []
        self._lasts: list[str] = []  # of each run

    def add(self, name: str) -> None:
        """One more, which is not in it."""
        if not self._runs:
            self._runs.append([name])
            self._lasts.append(name)
            return
        at = min(bisect_left(self._lasts, name), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, name)
        if len(run) > RUN_MAX:
            half = len(run) // 2
            self._runs.insert(at + 1, run[half:])
            self._lasts.insert(at + 1, run[-1])
            del run[half:]
        self._lasts[at] = run[-1]

    def remove(self, name: str) -> None:
        """It is there no more."""
        at = bisect_left(self._lasts, name)
        run = self._runs[at]
        del run[bisect_left(run, name)]
        if run:
            self._lasts[at] = run[-1]
        else:
            del self._runs[at]
            del self._lasts[at]

    def behind(self, prefix: str, after: str) -> Iterator[str]:
        """Those that begin with `prefix` and come behind `after`, in order; not to be used once names have come or gone."""
        for at in range(max(bisect_left(self._lasts, prefix), bisect_right(self._lasts, after)), len(self._runs)):
            run = self._runs[at]
            for place in range(max(bisect_left(run, prefix), bisect_right(run, after)), len(run)):
                if not run[place].startswith(prefix):
                    return
                yield run[place]
