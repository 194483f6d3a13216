"""Who talks to the broker in a KafkaRun: producers and followers. They outlive their connections, and the broker's lives, and go on where they were."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from entrepot.simulation.kafka_client import END, FIRST, FetchedPart, KafkaClient, Place, ProducedPart, TopicFacts
from entrepot.simulation.kafka_model import Batch, PartitionModel
from entrepot.simulation.kafka_records import pack_batch, unpack_batches
from entrepot.simulation.store_model import Violation

if TYPE_CHECKING:
    from entrepot.simulation.kafka_run import KafkaRun

OUT_OF_RANGE, LEADER_NOT_AVAILABLE, NOT_LEADER, TIMED_OUT, NO_COORDINATOR, OUT_OF_ORDER = 1, 5, 6, 7, 15, 45
NO_SESSION, WRONG_EPOCH = 70, 71
AGAIN = (LEADER_NOT_AVAILABLE, NOT_LEADER, TIMED_OUT)
GROUPS = ("one", "two", "three")
WINDOW = 5  # requests of a producer that are not answered, and batches of an idempotent one for each partition
REST_S = 0.01  # after which nothing of a connection that was dropped still happens
_NO_SESSION = (0, -1)
_NEW_SESSION = (0, 0)


class Actor:
    """One that has a connection, most of the time."""

    def __init__(self, run: KafkaRun) -> None:
        run.serial += 1
        self.run = run
        self.chance = run.chance
        self.name = f"{run.serial:04d}"
        self.connection: KafkaClient | None = None
        self.rests_until = 0.0

    def usable(self) -> KafkaClient | None:
        """The connection, if it may ask; one is made if there is none."""
        if self.connection is None:
            if self.run.loop.time() >= self.rests_until:
                self.connection = KafkaClient(self.ready, self._closed)
                self.run.network.connect("kafka", self.connection)
            return None
        return self.connection if self.connection.ready else None

    def drop(self) -> None:
        """Its connection breaks."""
        if self.connection is not None:
            self.connection.drop()
            self.run.drops += 1
            self.rests_until = self.run.loop.time() + self.rest_s()
            self.gone()

    def gone(self) -> None:
        """There is no connection any more: what was asked has no answer."""
        self.connection = None

    def may_be_closed(self) -> bool:
        """Whether the broker may have had reason to close its connection."""
        return False

    def rest_s(self) -> float:
        """How long it waits before it connects again."""
        return 0.0

    def ready(self) -> None:
        """It has a connection."""
        self.step()

    def step(self) -> None:
        """Go on."""
        raise NotImplementedError

    def _closed(self) -> None:
        if not self.may_be_closed():
            raise Violation(f"the broker closed the connection of {type(self).__name__} {self.name}")
        self.run.closes += 1
        self.gone()

    def expect(self, code: int, *allowed: int) -> bool:
        """Whether it was done; Violation where the code is neither 0 nor one of `allowed`."""
        if code and code not in allowed:
            raise Violation(f"{type(self).__name__} {self.name} was told code {code}")
        self.run.loop.note(self.name, code)
        self.run.codes[code] += 1
        return not code


class _Line:
    """A producer's batches for one partition that are not acknowledged, in order; `flying` are those that are asked for now."""

    def __init__(self, model: PartitionModel) -> None:
        self.model = model
        self.waiting: deque[Batch] = deque()
        self.flying: set[Batch] = set()
        self.next_sequence = 0
        self.next_number = 0
        self.begun = False  # a batch of this epoch is acknowledged

    def begin_epoch(self) -> None:
        """Sequences begin anew; nothing that waits has been sent."""
        self.begun = False
        self.next_sequence = 0
        for batch in self.waiting:
            batch.sequence = self.next_sequence
            self.next_sequence += len(batch.values)

    def next(self, alone: bool) -> Batch | None:
        """The next to be sent, if there is one: everything before it is on its way. `alone`: nothing is.

        It is one of WINDOW from the first that is not acknowledged: as many the broker knows again.
        """
        for batch in self.waiting:
            if batch not in self.flying:
                return batch if batch.number < self.waiting[0].number + WINDOW else None
            if alone:
                return None
        return None


class Producer(Actor):
    """Sends batches to any partition; `idempotent` ones number theirs, and send each until it is acknowledged."""

    def __init__(self, run: KafkaRun, *, idempotent: bool, acks: int) -> None:
        super().__init__(run)
        self.idempotent = idempotent
        self.acks = acks
        self.lines = {place: _Line(model) for place, model in run.partitions.items()}
        self.producer_id = -1
        self.epoch = -1
        self.asking_id = False
        self.flying_count = 0
        self.unanswered = False  # something was sent with acks=0

    # ---- what it does

    def produce(self, count: int) -> None:
        """Make so many batches, and send what may be sent."""
        for _ in range(count):
            place = self.chance.choice(list(self.lines))
            line = self.lines[place]
            if len(line.waiting) < WINDOW:
                line.waiting.append(self._made(place, line))
        self.step()

    def renew(self) -> None:
        """Begin a new epoch, if nothing is left of this one."""
        client = self.usable()
        if client is not None and self.idempotent and self.producer_id >= 0 and self.is_settled() and not self.asking_id:
            self.asking_id = True
            client.init_producer(self.producer_id, self.epoch, self._numbered)

    def is_settled(self) -> bool:
        """Whether all that it made is acknowledged, or given up."""
        return not any(line.waiting for line in self.lines.values())

    def step(self) -> None:
        """See Actor: send what may be sent."""
        client = self.usable()
        if client is None or self.asking_id:
            return
        if self.idempotent and self.producer_id < 0:
            self.asking_id = True
            client.init_producer(-1, -1, self._numbered)
            return
        while self.flying_count < WINDOW and self.connection is client:
            chosen: dict[Place, Batch] = {}
            for place, line in self.lines.items():
                # A producer that nobody remembers may begin anywhere: where the first of several is refused and the second is not, the first
                # comes too late. So it is by Kafka's own rules; here the first goes alone where calls are refused one by one.
                batch = line.next(alone=self.idempotent and not line.begun and self.run.is_troubled)
                if batch is not None and (not chosen or self.chance.random() < 0.5):
                    chosen[place] = batch
            if not chosen:
                return
            self._send(client, chosen)

    # ---- what it is told

    def _numbered(self, code: int, producer_id: int, epoch: int) -> None:
        self.asking_id = False
        if self.expect(code, NO_COORDINATOR):
            if (producer_id, epoch) in self.run.producer_ids:
                raise Violation(f"producer {producer_id} with epoch {epoch} was given twice")
            self.run.producer_ids.add((producer_id, epoch))
            self.producer_id, self.epoch = producer_id, epoch
            for line in self.lines.values():
                line.begin_epoch()
            self.step()

    def _answered(self, chosen: dict[Place, Batch], known: dict[Place, tuple[int, int]], found: dict[Place, ProducedPart]) -> None:
        self.flying_count -= 1
        if found.keys() != chosen.keys():
            raise Violation(f"a Produce to {sorted(chosen)} was answered with {sorted(found)}")
        for place, part in found.items():
            batch, line = chosen[place], self.lines[place]
            line.flying.discard(batch)
            if self.expect(part.code, *AGAIN, OUT_OF_ORDER):
                line.model.acknowledged(batch, part.base)
                line.model.ends(part.log_start, None, known[place])
                line.waiting.remove(batch)
                line.begun = True
                self.run.acks += 1
                continue
            if part.code == OUT_OF_ORDER and (not self.idempotent or line.waiting[0] is batch):
                raise Violation(f"{place}: {batch}, sequence {batch.sequence} of producer {self.producer_id}, is the next, and was said not to be")
            if part.code in (NOT_LEADER, OUT_OF_ORDER):
                line.model.refused(batch)
            if not self.idempotent and self.chance.random() < 0.5:
                line.waiting.remove(batch)  # given up
        if self.chance.random() < 0.7:
            self.step()

    # ---- the connection

    def gone(self) -> None:
        """See Actor: what was asked may have been done or not, and is sent again; without numbers not always."""
        super().gone()
        self.asking_id = False
        self.flying_count = 0
        self.unanswered = False
        for line in self.lines.values():
            if not self.idempotent:
                line.waiting = deque(batch for batch in line.waiting if batch not in line.flying or self.chance.random() < 0.5)
            line.flying.clear()

    def may_be_closed(self) -> bool:
        """See Actor: with acks=0 there is no other way to say that something was refused."""
        return self.unanswered and self.run.is_troubled

    # ---- below

    def _made(self, place: Place, line: _Line) -> Batch:
        values = []
        for _ in range(self.chance.choice((1, 1, 2, 7))):
            self.run.serial += 1
            values.append(b"%s-%d:%s:%06d" % (place[0].encode(), place[1], self.name.encode(), self.run.serial) + b"." * self.chance.choice((0, 10, 100, 900)))
        batch = Batch(values, self.name if self.idempotent else "", line.next_number, line.next_sequence)
        line.next_number += 1
        line.next_sequence += len(values)
        return batch

    def _send(self, client: KafkaClient, chosen: dict[Place, Batch]) -> None:
        packed = {}
        now_ms = self.run.clock.wall_ms()
        for place, batch in chosen.items():
            line = self.lines[place]
            if batch.possible or batch.bases:
                self.run.retries += 1
            line.model.sending(batch)
            packed[place] = pack_batch(batch.values, now_ms, self.producer_id, self.epoch, batch.sequence if self.idempotent else -1, self.run.header_of)
            if self.acks:
                line.flying.add(batch)
            else:
                line.waiting.remove(batch)
        if self.acks:
            known = {place: self.lines[place].model.known() for place in chosen}
            self.flying_count += 1
            client.produce(packed, self.acks, lambda found: self._answered(chosen, known, found))
        else:
            self.unanswered = True
            client.produce(packed, 0, lambda _: None)


class Follower(Actor):
    """Reads all partitions of one topic from where its group was, or the beginning; it commits where it is, and has itself told what is committed.

    `only_reads`: it does neither. Each of these answers waits for the disk, and while one is awaited nothing is fetched, but perhaps the next of them
    asked for: on a slow disk it would come to its end by chance.
    """

    def __init__(self, run: KafkaRun, topic: str, group: str | None, *, only_reads: bool = False) -> None:
        super().__init__(run)
        self.only_reads = only_reads
        self.topic = topic
        self.group = group
        self.places = [place for place in run.partitions if place[0] == topic]
        self.by_id = self.chance.random() < 0.5
        self.with_session = self.chance.random() < 0.6
        self.committed = self.chance.random() < 0.3  # reads what is committed of transactions, of which there are none
        self.positions: dict[Place, int] = {}
        self.found: dict[Place, list[int]] = {place: [] for place in self.places}  # bases of what it has read
        # of the connection
        self.id = b""
        self.has_coordinator = False
        self.knows_committed = False
        self.session = _NO_SESSION
        self.named: dict[Place, int] = {}  # what the session fetches, and from where

    def rest_s(self) -> float:
        """See Actor: commits of the connection before must not come after those of the next."""
        return REST_S

    def gone(self) -> None:
        """See Actor."""
        super().gone()
        self.has_coordinator = False
        self.session = _NO_SESSION
        self.named = {}
        if self.chance.random() < 0.3:
            self.id = b""
        if self.group is not None and self.chance.random() < 0.3:
            self.positions = {}
            self.knows_committed = False

    # ---- what it does

    def step(self) -> None:
        """See Actor: ask for what it does not know; then fetch, commit, or look what is committed."""
        client = self.usable()
        if client is None or client.waiting_count > 1:
            return
        if not self.is_placed():
            if not client.waiting_count:
                self._prepare(client)
            return
        what = 1.0 if self.only_reads else self.chance.random()
        if self.group is not None and what < 0.3:
            self._commit(client)
        elif what < 0.4:
            self._ask_committed(client, self.group or self.chance.choice(self.run.groups))
        elif not client.waiting_count:
            self.fetch(client)

    def is_placed(self) -> bool:
        """Whether it knows where to read."""
        return bool(self.id) and (self.group is None or self.has_coordinator) and len(self.positions) == len(self.places)

    def _prepare(self, client: KafkaClient) -> None:
        if not self.id:
            client.metadata([self.topic], self._described)
        elif self.group is not None and not self.has_coordinator:
            client.find_coordinator(self.group, self._coordinated)
        elif self.group is not None and not self.knows_committed:
            self._ask_committed(client, self.group)
        else:
            missing = [place for place in self.places if place not in self.positions]
            known = self._known()
            client.list_offsets(missing, FIRST, lambda found: self._begins(known, found))

    def _described(self, found: dict[str, TopicFacts]) -> None:
        facts = found[self.topic]
        if self.expect(facts.code, LEADER_NOT_AVAILABLE, TIMED_OUT):
            if facts.partitions != [number for _, number in self.places]:
                raise Violation(f"topic {self.topic} has partitions {facts.partitions}, and was made with {len(self.places)}")
            self.id = facts.id
            self.step()

    def _coordinated(self, code: int) -> None:
        self.has_coordinator = self.expect(code)
        self.step()

    def _begins(self, known: dict[Place, tuple[int, int]], found: dict[Place, tuple[int, int]]) -> None:
        for place, (code, offset) in found.items():
            if self.expect(code, *AGAIN):
                self.run.partitions[place].ends(offset, None, known[place])
                self.positions[place] = offset
        self.step()

    def _known(self) -> dict[Place, tuple[int, int]]:
        return {place: self.run.partitions[place].known() for place in self.places}

    # ---- fetching

    def fetch(self, client: KafkaClient) -> None:
        """Read on."""
        chance = self.chance
        offsets = dict(self.positions)
        forgotten: list[Place] = []
        if self.session[0]:
            if chance.random() < 0.1:
                self.session = (self.session[0], -1)  # ends it
            else:
                offsets = {place: offset for place, offset in offsets.items() if self.named.get(place) != offset}
                if chance.random() < 0.1:
                    forgotten = [chance.choice(self.places)]
                    offsets.pop(forgotten[0], None)
        elif self.with_session:
            self.session = _NEW_SESSION
        if not self.session[0]:
            self.named = {}
        self.named.update(offsets)
        for place in forgotten:
            self.named.pop(place, None)
        known = self._known()
        client.fetch(
            offsets,
            lambda code, session, found: self._fetched(known, code, session, found),
            ids={self.topic: self.id} if self.by_id else None,
            forgotten=forgotten,
            session=self.session,
            max_wait_ms=chance.choice((0, 3, 30)),
            max_bytes=chance.choice((1, 1000, 1 << 20)),
            committed=self.committed,
        )

    def _fetched(self, known: dict[Place, tuple[int, int]], code: int, session: int, found: dict[Place, FetchedPart]) -> None:
        if not self.expect(code, NO_SESSION, WRONG_EPOCH):
            raise Violation(f"fetch session {self.session} of follower {self.name} is lost: code {code}")
        epoch = self.session[1]
        self.session = _NO_SESSION if epoch < 0 or not session else (session, epoch + 1)
        self.run.session_fetches += epoch > 0
        for place, part in found.items():
            if self.expect(part.code, NOT_LEADER, TIMED_OUT, OUT_OF_RANGE):
                model = self.run.partitions[place]
                model.ends(part.log_start, part.high_watermark, known[place])
                self._read(place, model, part)
            elif part.code == OUT_OF_RANGE:
                self._look_again(place)

    def _read(self, place: Place, model: PartitionModel, part: FetchedPart) -> None:
        position = self.positions[place]
        for batch in unpack_batches(part.data):
            end = batch.base + len(batch.values)
            if not batch.base <= position < end:
                raise Violation(f"{place} was read from {position}: what came is from {batch.base} to {end}")
            model.read(batch, part.high_watermark)
            self.found[place].append(batch.base)
            self.run.reads += 1
            self.run.loop.note(place, batch.base, len(batch.values))
            position = end
        self.positions[place] = position

    def _look_again(self, place: Place) -> None:
        """Its offset is gone, it is said: then the partition begins behind it."""
        before = self.positions.pop(place)
        known = self._known()

        def begins(found: dict[Place, tuple[int, int]]) -> None:
            code, offset = found[place]
            if not code and offset <= before:
                raise Violation(f"{place}: offset {before} is said not to be there; it begins at {offset}")
            self._begins(known, found)

        self.run.resets += 1
        if self.connection is not None and self.connection.ready:
            self.connection.list_offsets([place], FIRST, begins)

    def delete(self) -> bool:
        """Have some of what it has read deleted; False: it cannot ask now."""
        client = self.connection
        if client is None or not client.ready or client.waiting_count or not self.positions:
            return False
        place = self.chance.choice(list(self.positions))
        model = self.run.partitions[place]
        before = self.chance.randint(0, self.positions[place])
        model.deleting = max(model.deleting, before)
        known = model.known()

        def deleted(code: int, low: int) -> None:
            if self.expect(code, *AGAIN):
                model.ends(low, None, known)
                model.deleted = max(model.deleted, before)
                self.run.deletions += 1

        client.delete_records(place, before, deleted)
        return True

    def find_ends(self, told: dict[Place, int]) -> None:
        """Put into `told` where the partitions end."""
        client = self.usable()
        if client is None:
            return
        known = self._known()

        def ends(found: dict[Place, tuple[int, int]]) -> None:
            for place, (code, offset) in found.items():
                if self.expect(code, *AGAIN):
                    self.run.partitions[place].ends(None, offset, known[place])
                    told[place] = offset

        client.list_offsets(self.places, END, ends)

    # ---- committing

    def _commit(self, client: KafkaClient) -> None:
        assert self.group is not None
        offsets = {}
        for place, position in self.positions.items():
            model = self.run.commits[self.group, place]
            if position > model.greatest:
                offsets[place] = self.chance.randint(model.greatest + 1, position)
                model.sending(offsets[place])
        if offsets:
            client.commit(self.group, offsets, lambda codes: self._was_committed(offsets, codes))

    def _was_committed(self, offsets: dict[Place, int], codes: dict[Place, int]) -> None:
        assert self.group is not None
        for place, code in codes.items():
            if self.expect(code, NO_COORDINATOR):
                self.run.commits[self.group, place].acknowledged(offsets[place])
                self.run.committed_count += 1

    def _ask_committed(self, client: KafkaClient, group: str) -> None:
        least = {place: self.run.commits[group, place].least for place in self.places}

        def told(code: int, found: dict[Place, tuple[int, int]]) -> None:
            if not self.expect(code, NO_COORDINATOR):
                return
            for place in self.places:
                part_code, offset = found[place]
                if self.expect(part_code):
                    self.run.commits[group, place].told(offset, least[place])
                    if group == self.group and not self.knows_committed and offset >= 0:
                        self.positions[place] = offset
            self.run.lookups += 1
            if group == self.group and not self.knows_committed:
                self.knows_committed = True
                self.step()

        client.committed(group, self.places, told)
