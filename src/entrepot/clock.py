"""Time: the only module that reads a clock. Everything else is handed a Clock, so that a simulator can run the whole broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Where time comes from."""

    def monotonic_s(self) -> float:
        """Seconds that never step back, from an arbitrary origin, on the event loop's own scale."""

    def elapsed_s(self) -> float:
        """Seconds that never step back, from an arbitrary origin, those in which the machine was suspended included where that can be known."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may step either way."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC, which asyncio's and uvloop's loops count by too."""
        return time.monotonic()

    def __init__(self) -> None:
        self.elapsed_s: Callable[[], float] = time.monotonic if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME)  # no frame: it is asked often

    def wall_ms(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns() // 1_000_000
