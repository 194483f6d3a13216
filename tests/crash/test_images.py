"""Crash images of a real process: what it wrote and synced is recorded, replayed up to many points, and at each the power goes.

Every image keeps any subset of the sectors and names that were not synced, must open, and must hold what clients had been told by then.
"""

from __future__ import annotations

import copy
import os
import pickle
import random
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recorded_disk
from crash_bodies import Violation, who
from crash_ledger import QueueLedger, Sent, Source
from crash_peers import FENCE, Consumer, Publisher, connect, drive

from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state_kinds import default_folds
from entrepot.model.batch import VALUE
from entrepot.protocols.amqp091.translation import to_batch
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.interface import LOG_ID_SIZE, Log
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.testing.broker import Broker

IMAGES = int(os.environ.get("ENTREPOT_IMAGES", "15"))
IMAGES_LONG = int(os.environ.get("ENTREPOT_IMAGES", "500"))
CONFIRMS = 6_000
SETTINGS = {"journal.file_size_bytes": 1 << 20, "journal.unsorted_bytes": 1 << 24, "cache.size_bytes": 1 << 20, "journal.files_ready": 1}
PUBLISHERS = {"kept": (1,), "copy": (2,), "other-copy": (2,), "worked": (3,)}


class Told:
    """What clients knew when the record had a certain size: (size, confirmed counts, how many were settled for good)."""

    def __init__(self, record: Path, sent: Sent, worked: QueueLedger) -> None:
        self._record = record
        self._sent = sent
        self._worked = worked
        self._latest = -1
        self.sizes: list[int] = [-1]
        self.facts: list[tuple[dict[Source, int], dict[Source, int]]] = [({}, {})]

    def note(self) -> None:
        """Once more. Its size is taken after a client was told: what it was told is behind what was recorded by then."""
        confirmed = dict(self._sent.confirmed)
        if sum(confirmed.values()) != self._latest:
            self._latest = sum(confirmed.values())
            gone = {source: self._worked.settled_count(source) for source in confirmed}
            self.sizes.append(max(self.sizes[-1], self._record.stat().st_size))  # a later life cuts off what a kill left half written
            self.facts.append((confirmed, gone))

    def by(self, size: int) -> tuple[dict[Source, int], dict[Source, int]]:
        """What had been told when the record was that long."""
        return self.facts[bisect_right(self.sizes, size) - 1]


def record_a_run(directory: Path) -> tuple[Path, Sent, Told]:
    """A broker under load, twice; in between it is killed."""
    record = directory / "record"
    sent = Sent()
    worked = QueueLedger("worked", sent, PUBLISHERS["worked"])
    told = Told(record, sent, worked)
    with Broker(
        directory / "data",
        settings=SETTINGS,
        command=(sys.executable, recorded_disk.__file__, str(record)),
        environment={"PYTHONPATH": os.pathsep.join(sys.path)},
        workers=1,  # the record is of one disk
    ) as broker:
        session = connect(broker.amqp_url)
        for name in (*PUBLISHERS, FENCE):
            session.declare_queue(name, durable=True)
        session.declare_exchange("both", "fanout", durable=True)
        session.bind("copy", "both", "")
        session.bind("other-copy", "both", "")
        session.close()
        for life in (1, 2):
            url = broker.amqp_url
            publishers = [
                Publisher(connect(url), sent, number, life, exchange, key, window)
                for number, exchange, key, window in ((1, "", "kept", 3), (2, "both", "", 40), (3, "", "worked", 100))
            ]
            peers = [*publishers, Consumer(connect(url), worked, run=20)]

            def enough(confirms: int = CONFIRMS * life) -> bool:
                told.note()
                return sent.confirmed_count >= confirms

            drive(peers, enough)
            broker.kill()
            drive(peers, lambda: False, may_end=True)
            for peer in peers:
                peer.socket.close()
            told.note()
            broker.start()
    return record, sent, told


class Replay:
    """The record, step by step on a simulated disk."""

    def __init__(self, record: bytes) -> None:
        self.disk = SimulatedDisk(SimulatedLoop(0))
        self.position = 0
        self._record = record
        self._files: dict[int, Any] = {}
        self._ends: dict[int, Any] = {}

    def up_to(self, position: int) -> None:
        """All that was recorded before `position`."""
        from io import BytesIO

        stream = BytesIO(self._record)
        stream.seek(self.position)
        while stream.tell() < position:
            self._step(pickle.load(stream))
        self.position = stream.tell()

    def _step(self, words: tuple[Any, ...]) -> None:
        kind, *rest = words
        if kind == "open":
            number, name, created = rest
            created = created or name not in self.disk.names()  # a kill may come after it was made, and before that was noted
            self._files[number] = self.disk.open(name, create=created)
        elif kind == "write":
            number, at, data = rest
            self._files[number].pwrite(at, [data])
        elif kind == "truncate":
            self._files[rest[0]].truncate(rest[1])
        elif kind == "begin":
            self._ends[rest[0]] = self._files[rest[1]].begin_sync()
        elif kind == "end":
            self._ends.pop(rest[0])()
        elif kind == "directory":
            self.disk.sync_directory()
        else:
            getattr(self.disk, kind)(*rest)

    def image(self, seed: int) -> tuple[SimulatedDisk, SimulatedLoop]:
        """A copy of the disk as it may be when the power goes now."""
        loop = SimulatedLoop(seed)
        disk = copy.deepcopy(self.disk, {id(self.disk._loop): loop})
        disk.crash()
        return disk, loop


def bodies(log: Log, loop: SimulatedLoop) -> Iterator[bytes]:
    """Every message that is not discarded."""
    reader = log.reader()
    gone = {offset for first, end in log.holes() for offset in range(first, end)}
    offset = log.first_offset
    while offset < log.durable_offset:
        stored = reader.at(offset)
        if stored is None:
            done: list[bool] = []
            reader.fetch(offset, lambda done=done: done.append(True))  # type: ignore[misc]
            loop.run_until(lambda done=done: bool(done))  # type: ignore[misc]
            stored = reader.at(offset)
            if stored is None:
                break
        data = stored.entry.data
        assert data is not None
        for index, found in enumerate(to_batch(data).records()):
            if stored.base + index >= offset and stored.base + index not in gone:
                yield found.octets(VALUE) or b""
        offset = stored.base + stored.entry.span
    reader.close()


class _Owner:
    def committed(self, group: object) -> None:
        pass

    def store_failed(self, error: BaseException) -> None:
        raise error


def check(disk: SimulatedDisk, loop: SimulatedLoop, sent: Sent, confirmed: dict[Source, int], gone: dict[Source, int]) -> int:
    """Open the image, and hold what is in it against what was known; how many messages it has."""
    folds = default_folds()
    clock, entropy = SimulatedClock(loop), SimulatedEntropy(loop)
    settings = StoreSettings(journal_file_size=1 << 20, cache_size=1 << 20, journal_ready_files=1, reserve_size=0)
    store = open_store(disk, scheduler=loop, clock=clock, entropy=entropy, fold=folds.fold, settings=settings)  # type: ignore[arg-type]
    store.set_owner(_Owner())
    decisions = Decisions.over(CatalogueStream(store), lambda: entropy.octets(LOG_ID_SIZE))
    found: dict[str, dict[Source, list[int]]] = {}
    for definition in decisions.catalogue.queues():
        log = store.log(definition.log_id)
        assert log is not None, f"queue {definition.name} has no log"
        if definition.name in PUBLISHERS:
            there = found.setdefault(definition.name, {})
            for body in bodies(log, loop):
                publisher, life, number = who(body)
                there.setdefault((publisher, life), []).append(number)
    for name, publishers in PUBLISHERS.items():
        for source in sent.sent:
            if source[0] in publishers:
                numbers = found.get(name, {}).get(source, [])
                first = numbers[0] if numbers else 0
                if numbers != list(range(first, first + len(numbers))):
                    raise Violation(f"{name}: the messages of {source} are not in order or have gaps: {numbers}")
                if first + len(numbers) > sent.sent[source]:
                    raise Violation(f"{name}: {source} has {first + len(numbers)} messages, {sent.sent[source]} were sent")
                if name != "worked":
                    if first or len(numbers) < confirmed.get(source, 0):
                        raise Violation(f"{name}: {source} has [{first}, {first + len(numbers)}); {confirmed.get(source, 0)} were confirmed")
                elif numbers and (first < gone.get(source, 0) or first + len(numbers) < confirmed.get(source, 0)):
                    raise Violation(
                        f"{name}: {source} has [{first}, {first + len(numbers)}); {gone.get(source)} are settled for good, {confirmed.get(source)} confirmed"
                    )
    if found.get("copy") != found.get("other-copy"):
        raise Violation("a publish reached one of its two queues only")
    loop.forget_all()
    return sum(len(numbers) for there in found.values() for numbers in there.values())


def crash_images(directory: Path, count: int, seed: int) -> None:
    """A recorded run, and so many images of it."""
    path, sent, told = record_a_run(directory)
    record = path.read_bytes()
    chance = random.Random(seed)
    replay = Replay(record)
    most = 0
    for number, point in enumerate(sorted(chance.randrange(len(record)) for _ in range(count))):
        replay.up_to(point)
        image = replay.image(seed * 1_000_003 + number)
        try:
            most = max(most, check(*image, sent, *told.by(replay.position)))
        except Exception as error:
            raise Violation(f"image {number} of seed {seed}, the record cut at {replay.position} of {len(record)}: {error}") from error
    assert most > CONFIRMS / 2, "the images are nearly empty: the run shows nothing"


def test_a_record_may_end_anywhere(tmp_path: Path) -> None:
    """The kernel cuts a write short for SIGKILL: wherever it did, what is appended by the next life is found behind what is whole."""
    path = tmp_path / "record"
    steps: list[tuple[object, ...]] = [("open", 1, "a", True), ("write", 1, 0, b"first" * 100), ("write", 1, 500, os.urandom(500)), ("remove", "a")]
    parts = [pickle.dumps(step) for step in steps]
    last = len(b"".join(parts[:2]))
    for cut in range(last, last + len(parts[2]) + 1):
        path.write_bytes(b"".join(parts[:3])[:cut])
        disk = recorded_disk.RecordedDisk(str(tmp_path / "data"), SimulatedLoop(0), str(path))
        disk.note(*steps[3])
        disk.close()
        whole = 3 if cut == last + len(parts[2]) else 2
        assert path.read_bytes() == b"".join([*parts[:whole], parts[3]])


def test_images_of_recorded_writes(tmp_path: Path) -> None:
    crash_images(tmp_path, IMAGES, 1)


@pytest.mark.long
def test_many_images_of_recorded_writes(tmp_path: Path) -> None:
    crash_images(tmp_path, IMAGES_LONG, 2)
