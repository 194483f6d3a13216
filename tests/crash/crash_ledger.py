"""What was sent and confirmed, what each queue delivered, and the check of one against the other.

A message is ok (confirmed: it must arrive), or unknown (sent, no answer before the crash: it may arrive). A channel's messages are
taken in order, so of each life of a publisher exactly a prefix arrives, at least as long as what was confirmed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from crash_bodies import Violation, who

Source = tuple[int, int]  # publisher, life

SEEN, SETTLED, GONE = 1, 2, 3  # delivered; settled by us, commit not known; settled, known to be durable


class Sent:
    """What publishers have sent: counts by (publisher, life)."""

    def __init__(self) -> None:
        self.sent: dict[Source, int] = {}
        self.confirmed: dict[Source, int] = {}  # one more than the greatest confirmed number

    @property
    def confirmed_count(self) -> int:
        """Of all publishers."""
        return sum(self.confirmed.values())


class QueueLedger:
    """What one queue delivered. `ordered`: by one consumer, so that messages come for the first time in the order they were published."""

    def __init__(self, name: str, sent: Sent, publishers: Iterable[int], *, ordered: bool = True) -> None:
        self.name = name
        self.publishers = frozenset(publishers)
        self.ordered = ordered
        self.redelivered = 0
        self._sent = sent
        self._states: dict[Source, bytearray] = {}
        self._latest: dict[int, int] = {}

    def delivered(self, body: bytes, redelivered: bool) -> tuple[int, int, int]:
        """Take note of a delivery; the message's name."""
        message = who(body)
        publisher, life, number = message
        source = (publisher, life)
        if publisher not in self.publishers or number >= self._sent.sent.get(source, 0):
            raise Violation(f"{self.name}: message {message} was never sent there")
        states = self._states.get(source)
        if states is None:
            states = self._new_life(publisher, life)
        state = states[number] if number < len(states) else 0
        if state == GONE:
            raise Violation(f"{self.name}: message {message} was settled for good and came again")
        if state and not redelivered:
            raise Violation(f"{self.name}: message {message} came twice and is not marked as redelivered")
        if state == 0:
            if self.ordered and number != len(states):
                raise Violation(f"{self.name}: message {message} came when number {len(states)} was due")
            if number >= len(states):
                states.extend(bytes(number + 1 - len(states)))
        self.redelivered += redelivered
        states[number] = SEEN
        return message

    def settled(self, messages: Iterable[tuple[int, int, int]], state: int) -> None:
        """They were settled; `state` says whether that is known to be durable."""
        for publisher, life, number in messages:
            states = self._states[publisher, life]
            if states[number] != SEEN or state == SETTLED:
                states[number] = state

    def count(self, source: Source) -> int:
        """How many of that life arrived."""
        return len(self._states.get(source, b""))

    def settled_count(self, source: Source) -> int:
        """How many of that life are settled for good."""
        return self._states.get(source, b"").count(GONE)

    def complete(self) -> bool:
        """Whether everything that was confirmed has arrived."""
        return not any(self._missing(source) for source in self._sent.confirmed)

    def check_complete(self) -> None:
        """Raises Violation if something that was confirmed has not arrived."""
        for source in self._sent.confirmed:
            self._check(source)
            if 0 in self._states.get(source, b""):
                raise Violation(f"{self.name}: {source} number {self._states[source].index(0)} is missing among those that arrived")

    def check_settled(self) -> None:
        """Everything came again that had to, and was settled. Raises Violation if something was delivered, not settled, and did not come again."""
        for source, states in self._states.items():
            if lost := states.count(SEEN):
                raise Violation(f"{self.name}: {lost} messages of {source} were delivered and not settled, and did not come again")
            states[:] = bytes([GONE]) * len(states)

    def _missing(self, source: Source) -> bool:
        return source[0] in self.publishers and self.count(source) < self._sent.confirmed[source]

    def _check(self, source: Source) -> None:
        if self._missing(source):
            raise Violation(f"{self.name}: of publisher, life {source} {self._sent.confirmed[source]} were confirmed, and only {self.count(source)} arrived")

    def _new_life(self, publisher: int, life: int) -> bytearray:
        latest = self._latest.get(publisher, -1)
        if self.ordered:
            if life < latest:
                raise Violation(f"{self.name}: life {life} of publisher {publisher} came after life {latest}")
            for source in self._sent.confirmed:
                if source[0] == publisher and source[1] < life:
                    self._check(source)
        self._latest[publisher] = max(life, latest)
        states = self._states[publisher, life] = bytearray()
        return states


class StreamLedger(QueueLedger):
    """A stream: every reader finds the same messages at the same offsets, without gaps."""

    def __init__(self, name: str, sent: Sent, publishers: Iterable[int]) -> None:
        super().__init__(name, sent, publishers)
        self.messages = array("Q")
        self.next_offset = 0

    def read(self, offset: int, body: bytes) -> None:
        """A reader found that there."""
        if offset != self.next_offset:
            raise Violation(f"{self.name}: offset {offset} came when {self.next_offset} was due")
        publisher, life, number = who(body)
        name = publisher << 48 | life << 32 | number
        if offset < len(self.messages):
            if self.messages[offset] != name:
                raise Violation(f"{self.name}: offset {offset} holds {(publisher, life, number)}, and once held number {self.messages[offset]:#x}")
        else:
            self.delivered(body, False)
            self.messages.append(name)
        self.next_offset += 1
