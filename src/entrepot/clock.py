"""Time: the only module that reads a clock. Everything else is handed a Clock, so that a simulator can run the whole broker."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic_s(self) -> float:
        """Seconds that never step back, from an arbitrary origin, on the event loop's own scale."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may step either way."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC, which asyncio's and uvloop's loops count by too."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns() // 1_000_000
