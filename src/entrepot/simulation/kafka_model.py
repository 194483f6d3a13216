"""What must hold of partitions and groups, by what clients sent and were told. What nobody was told may have happened or not.

places      an offset is one record's for ever, whoever reads it or was told of it, over crashes too; what is read has no gap, and was sent
copies      of an idempotent producer each batch is there once, and behind those that were sent before it; of others at most as often as it was sent
            and not certainly refused
ends        the high watermark never goes back, and is behind everything that was acknowledged or read; nor does where a partition begins,
            but for a crash before what was let go of by size was durable; what a client deleted stays so
offsets     a group's committed offset is one that was committed, and not below one that was acknowledged or told
"""

from __future__ import annotations

from bisect import bisect_left, insort

from entrepot.simulation.kafka_client import Place
from entrepot.simulation.kafka_records import FetchedBatch
from entrepot.simulation.store_model import Violation


class Batch:
    """One that a producer made. `chain` names an idempotent producer, whose `number`th of the partition it is; "": it is not idempotent."""

    __slots__ = ("bases", "chain", "number", "possible", "sequence", "values")

    def __init__(self, values: list[bytes], chain: str, number: int, sequence: int) -> None:
        self.values = values
        self.chain = chain
        self.number = number
        self.sequence = sequence
        self.possible = 0  # how often it was sent and not certainly refused
        self.bases: list[int] = []  # where it is, as far as is known

    def __repr__(self) -> str:
        return f"{self.values[0][:32]!r}({len(self.values)})"


class PartitionModel:
    """One partition."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.sent: dict[bytes, Batch] = {}  # by the first value
        self.log: dict[int, Batch] = {}  # by base offset: read, or told
        self.bases: list[int] = []  # of these, ascending
        self.chains: dict[str, list[tuple[int, int]]] = {}  # an idempotent producer's (number, base), ascending
        self.end = 0  # the greatest high watermark that is known
        self.start = 0  # where it began, in this life
        self.deleting = 0  # up to where somebody wanted it deleted,
        self.deleted = 0  # and up to where it durably was, in all lives
        self.is_sized = False  # the broker lets go of what is too much

    # ---- producers

    def sending(self, batch: Batch) -> None:
        """It is sent, or sent again."""
        batch.possible += 1
        self.sent[batch.values[0]] = batch

    def refused(self, batch: Batch) -> None:
        """One that was sent has certainly not been appended."""
        batch.possible -= 1
        if len(batch.bases) > batch.possible:
            raise Violation(f"{self.place}: {batch} is at {batch.bases}, and was said not to be appended")

    def acknowledged(self, batch: Batch, base: int) -> None:
        """A producer was told that it is there."""
        self._is_at(batch, base)
        self.end = max(self.end, base + len(batch.values))

    # ---- readers

    def read(self, found: FetchedBatch, high_watermark: int) -> None:
        """A consumer was given it."""
        base, values = found
        batch = self.sent.get(values[0])
        if batch is None or batch.values != values:
            raise Violation(f"{self.place} has at {base} {values[0][:32]!r} and {len(values) - 1} more, which nobody sent so")
        if base + len(values) > high_watermark:
            raise Violation(f"{self.place}: {batch} was read at {base}, over the high watermark {high_watermark}")
        self._is_at(batch, base)

    def ends(self, start: int | None, end: int | None, asked: tuple[int, int]) -> None:
        """Somebody was told where it begins and ends; `asked` was known() when they asked."""
        least_start, least_end = asked
        if start is not None:
            if start < least_start:
                raise Violation(f"{self.place} begins at {start}, began at {least_start} before")
            if start > self.deleting and not self.is_sized:
                raise Violation(f"{self.place} begins at {start}, was deleted up to {self.deleting}")
            self.start = max(self.start, start)
        if end is not None:
            if end < least_end:
                raise Violation(f"{self.place} ends at {end}, ended at {least_end} before")
            self.end = max(self.end, end)
        if start is not None and end is not None and start > end:
            raise Violation(f"{self.place} begins at {start} and ends at {end}")

    def known(self) -> tuple[int, int]:
        """Where it begins and ends, at least."""
        return self.start, self.end

    def crashed(self) -> None:
        """What was let go of, and not yet durably so, is back."""
        self.start = self.deleted

    # ---- at the end

    def conclude(self, start: int, end: int, found: list[int]) -> None:
        """All of it was read: batches began at `found`. Everything that is known to have been there is there, and nobody's batch is missing between others.

        What went by size meanwhile, and was told to have, need not be.
        """
        start = max(start, self.start)
        if self.end > end:
            raise Violation(f"{self.place} ends at {end}, ended at {self.end} before")
        there = set(found)
        for base, batch in self.log.items():
            if base + len(batch.values) > start and base not in there:
                raise Violation(f"{self.place}: {batch} was at {base}, and is gone")
        for chain, batches in self.chains.items():
            numbers = [number for number, _ in batches]
            if start == 0 and numbers != list(range(len(numbers))):
                raise Violation(f"{self.place}: of producer {chain} there are batches {numbers}")

    # ---- below

    def _is_at(self, batch: Batch, base: int) -> None:
        other = self.log.get(base)
        if other is batch:
            return
        if other is not None:
            raise Violation(f"{self.place}: at {base} is {batch}, and was {other}")
        at = bisect_left(self.bases, base)
        if at and self.bases[at - 1] + len(self.log[self.bases[at - 1]].values) > base:
            raise Violation(f"{self.place}: {batch} at {base} is within {self.log[self.bases[at - 1]]} at {self.bases[at - 1]}")
        if at < len(self.bases) and base + len(batch.values) > self.bases[at]:
            raise Violation(f"{self.place}: {batch} at {base} reaches into {self.log[self.bases[at]]} at {self.bases[at]}")
        self.bases.insert(at, base)
        self.log[base] = batch
        batch.bases.append(base)
        most = min(1, batch.possible) if batch.chain else batch.possible
        if len(batch.bases) > most:
            raise Violation(f"{self.place}: {batch} of producer {batch.chain or 'none'} is at {batch.bases}, and may be there {most} times")
        if batch.chain:
            chain = self.chains.setdefault(batch.chain, [])
            insort(chain, (batch.number, base))
            at = bisect_left(chain, (batch.number, base))
            if (at and chain[at - 1][1] > base) or (at + 1 < len(chain) and chain[at + 1][1] < base):
                raise Violation(f"{self.place}: {batch}, {batch.number} of producer {batch.chain}, is at {base}, among {chain[max(0, at - 1) : at + 2]}")


class CommitModel:
    """What one group has committed of one partition: ever greater offsets."""

    def __init__(self, group: str, place: Place) -> None:
        self.group = group
        self.place = place
        self.sent: set[int] = {-1}
        self.greatest = -1
        self.least = -1  # the greatest that was acknowledged, or told

    def sending(self, offset: int) -> None:
        """It is committed."""
        self.sent.add(offset)
        self.greatest = max(self.greatest, offset)

    def acknowledged(self, offset: int) -> None:
        """A commit was acknowledged."""
        self.least = max(self.least, offset)

    def told(self, offset: int, least: int) -> None:
        """Somebody was told what is committed; `least` as it was when they asked."""
        if offset not in self.sent or offset < least:
            raise Violation(f"group {self.group} has offset {offset} of {self.place}, committed were {sorted(self.sent)[-5:]}, at least {least} is known")
        self.least = max(self.least, offset)
