"""What all connections of one run count together, and what they may still do."""

from __future__ import annotations


class Tally:
    """Counters shared by the connections of one run. Times are CLOCK_MONOTONIC nanoseconds."""

    def __init__(self, *, budget: int, lag_max: int, copies: int) -> None:
        self.budget = budget  # messages still to publish; negative: without limit
        self.lag_max = lag_max  # messages on their way to consumers, at most; 0: without limit
        self.copies = copies  # deliveries for each message published
        self.publishing = True
        self.published = 0
        self.confirmed = 0
        self.refused = 0
        self.returned = 0
        self.unexpected_confirms = 0
        self.delivered = 0
        self.redelivered = 0
        self.damaged = 0
        self.reordered = 0
        self.wrong_tags = 0
        self.blocked = 0
        self.last_confirm_ns = 0
        self.last_delivery_ns = 0
        self.answered = 0
        self.failures: list[str] = []

    def may_publish(self, wanted: int) -> int:
        """How many of `wanted` messages may be published now."""
        if not self.publishing:
            return 0
        if self.budget >= 0 and wanted > self.budget:
            wanted = self.budget
        if self.lag_max > 0:
            room = self.lag_max - (self.published - self.delivered // self.copies)
            if wanted > room:
                wanted = room
        return max(wanted, 0)
