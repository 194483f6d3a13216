"""Who may take which record: filters, and order within groups. Each scan keeps a position of its own over one Subscription.

Both look ahead past what they may not take, but not further than `lookahead` offsets behind the first ready one (architecture §5).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from entrepot.broker.subscription.leases import Subscription

LOOKAHEAD = 120_000  # offsets, as SQS
SCAN_STEP = 512  # offsets asked about at once

_END = 0xFFFFFFFFFFFFFFFF


class SelectorScan:
    """What one selector (a filter shared by its consumers) may take.

    `matches(first, count)` answers for each offset, for `count` or fewer that lie in memory together (none: not now). Everything ready
    below `position` was looked at and does not match.
    """

    def __init__(self, subscription: Subscription, matches: Callable[[int, int], Sequence[bool]], lookahead: int = LOOKAHEAD) -> None:
        self._subscription = subscription
        self._matches = matches
        self._lookahead = lookahead
        self.position = subscription.floor

    def take(self, consumer_id: int, limit: int, below: int) -> int:
        """As Subscription.take(), of what matches."""
        sub = self._subscription
        below = min(below, _bound(sub, self._lookahead))
        while limit:
            offset = sub.next_ready(self.position)
            if offset >= below:
                return 0
            answers = self._matches(offset, min(below, sub.ready_until(offset), offset + SCAN_STEP) - offset)
            if not answers:
                return 0
            index = next((index for index, answer in enumerate(answers) if answer), len(answers))
            self.position = offset + index
            if index == len(answers):
                continue
            stop = next((other for other in range(index, len(answers)) if not answers[other]), len(answers))
            taken = sub.take_range(consumer_id, self.position, min(stop - index, limit))
            self.position += taken
            return taken
        return 0

    def returned(self, first: int) -> None:
        """Offsets from `first` on are ready again: every scan of the subscription is told."""
        self.position = min(self.position, first)


class GroupScan:
    """Order within groups: of each group, nothing is taken while an earlier record of it is leased or was passed over.

    `groups(first, count)` gives each offset's group (None: in no group, never blocked), for `count` or fewer. `sticky`: a consumer may
    take more of a group that it alone holds (key shared), else only within one call of take_batch() (SQS).
    """

    def __init__(self, subscription: Subscription, groups: Callable[[int, int], Sequence[Hashable]], *, sticky: bool, lookahead: int = LOOKAHEAD) -> None:
        self._subscription = subscription
        self._groups = groups
        self._sticky = sticky
        self._lookahead = lookahead
        self.position = subscription.floor
        self._holders: dict[Hashable, tuple[int, int]] = {}  # group -> (consumer id, how many it leases)
        self._passed: dict[Hashable, int] = {}  # group -> the first of it that was passed over
        self._group_of: dict[int, Hashable] = {}  # what is leased, and in a group

    def __len__(self) -> int:
        """How many groups are blocked."""
        return len(self._holders)

    def take_batch(self, consumer_id: int, limit: int, below: int) -> list[tuple[int, int]]:
        """Lease up to `limit` to the consumer; the ranges (first, count), ascending."""
        sub = self._subscription
        below = min(below, _bound(sub, self._lookahead))
        taken: list[tuple[int, int]] = []
        mine: set[Hashable] = set()
        while limit > 0:
            offset = sub.next_ready(self.position)
            if offset >= below:
                break
            groups = self._groups(offset, min(below, sub.ready_until(offset), offset + SCAN_STEP) - offset)
            if not groups:
                break
            for group in groups:
                if limit == 0:
                    break
                if group is not None and not self._free(group, consumer_id, mine):
                    self._passed.setdefault(group, offset)
                elif sub.take_range(consumer_id, offset, 1):
                    limit -= 1
                    if group is not None:
                        mine.add(group)
                        self._group_of[offset] = group
                        self._holders[group] = (consumer_id, self._holders.get(group, (0, 0))[1] + 1)
                    if taken and sum(taken[-1]) == offset:
                        taken[-1] = (taken[-1][0], taken[-1][1] + 1)
                    else:
                        taken.append((offset, 1))
                offset += 1
                self.position = offset
        return taken

    def _free(self, group: Hashable, consumer_id: int, mine: set[Hashable]) -> bool:
        if group in self._passed:
            return False
        return group in mine or group not in self._holders or (self._sticky and self._holders[group][0] == consumer_id)

    def ended(self, first: int, count: int, *, returned: bool) -> None:
        """Leases of [first, +count) ended: settled, or `returned`. Their groups may go on."""
        for offset in range(first, first + count):
            group = self._group_of.pop(offset, None)
            if returned:
                self.position = min(self.position, offset)
                if group is not None:
                    self._passed[group] = min(self._passed.get(group, _END), offset)
            if group is None:
                continue
            consumer_id, held = self._holders[group]
            if held > 1:
                self._holders[group] = (consumer_id, held - 1)
            else:
                del self._holders[group]
            if group in self._passed and (held == 1 or self._sticky):
                # The scan goes back to what was passed over; it will be passed over again if the group is still blocked for its reader.
                self.position = min(self.position, self._passed.pop(group))


def _bound(subscription: Subscription, lookahead: int) -> int:
    first = subscription.next_ready(subscription.floor)
    return first if first == _END else first + lookahead
