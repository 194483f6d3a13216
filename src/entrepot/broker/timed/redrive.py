"""What leaves a queue with timed leases by an intent, as it goes, and what arrives in one from a source that is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entrepot.broker.logs.cursor import Cursor
from entrepot.broker.outbox.handover import Handover, Target
from entrepot.broker.outbox.intents import Intent, Packed
from entrepot.broker.timed.timed_state import TimedState
from entrepot.broker.timed.transfer import adopt, arriving, leaving

ANEW = "anew"  # an intent's reason where its target orders groups


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A queue as its definition describes it, wherever it is open."""

    target: Target
    ordered: bool
    dead_letter_queue: str | None


class RedriveSender:
    """The outbox's Sender to dead-letter queues."""

    def pack(self, queue: Any, cursor: Cursor, first: int, count: int, intent: Intent) -> Packed:
        """See Sender."""
        return packed([leaving(queue.timed, cursor, first + n, queue.name, intent.reason == ANEW) for n in range(count)])

    def ended(self, queue: Any, intent: Intent, taken: bool) -> None:
        """See Sender. Without its target a record is in its place again."""
        timed = queue.timed
        if not taken:
            timed.returned(intent.first, intent.count)
        if timed.grants.dead_letters is not None:
            timed.hub.mark_dirty(timed.grants.dead_letters)  # there is room for more


def packed(records: list[tuple[int, bytes]]) -> Packed:
    """Records from leaving(), together."""
    flags = 0
    for one, _ in records:
        flags |= one
    return Packed(b"", b"", flags, b"".join(record for _, record in records), len(records))


def take_handed_over(timed: TimedState, handover: Handover) -> None:
    """Stage what comes from elsewhere, with what is known of how often it was received."""
    base = arriving(timed, handover.tag, handover.version, handover.flags, handover.data, handover.count)
    for index, (first_received_ms, deliveries) in enumerate(handover.carried):
        if deliveries:
            adopt(timed, base + index, first_received_ms, deliveries)
    timed.kept.stage()
