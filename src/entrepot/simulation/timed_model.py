"""What a TimedRun knows of one record, by what clients were told."""

from __future__ import annotations

from entrepot.broker.calls.lease_calls import EndLeases


class TimedMessage:
    """One record: where it was sent, and what was told of it since.

    One client at a time holds it, and asks in one stream, which is done in that order (calls/port.py). Answers are told in any order: so it is not
    the deadline that was told last that holds, but the one that was asked for last; and while something is not answered, or its outcome is unknown,
    the lease may be as short as that would make it.
    """

    def __init__(self, body: bytes, queue: str, group: bytes, due_ms: int, number: int) -> None:
        self.body = body
        self.queue = queue
        self.group = group
        self.due_ms = due_ms  # not to be seen before
        self.number = number
        self.confirmed = False
        self.offset = -1
        self.deliveries = 0
        self.lease: tuple[bytes, int, bytes] | None = None  # queue id, offset, lease id: the latest that was told
        self._until_ms = -1  # its deadline, by what is known
        self._changes: list[tuple[EndLeases, int]] = []  # deadlines asked for behind that one, in order, which hold by now, will, or never do
        self.settling = False  # asked for, and not answered, or answered as unknown
        self.perhaps = False  # some settlement was answered as unknown
        self.settled = False
        self.dead = False

    @property
    def held_until_ms(self) -> int:
        """Until when nobody else may get it, whatever became of what is not known."""
        return min([self._until_ms, *(until_ms for _, until_ms in self._changes)])

    def leased(self, lease: tuple[bytes, int, bytes], until_ms: int) -> None:
        """A client was told that it holds it."""
        self.lease = lease
        self._until_ms = until_ms
        self._changes = []

    def changing(self, call: EndLeases, until_ms: int) -> None:
        """Who holds it asks for another deadline, that one or a later one."""
        self._changes.append((call, until_ms))

    def changed(self, call: EndLeases, made: bool) -> None:
        """What was asked for is answered: the deadline is that, or certainly not."""
        for index, (other, until_ms) in enumerate(self._changes):
            if other is call:
                if made:
                    self._until_ms = until_ms
                    del self._changes[: index + 1]
                else:
                    del self._changes[index]
                return
        # Otherwise one that was asked for behind it is known to have been made, or somebody else was given the record.
