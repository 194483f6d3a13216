"""Append and Read against a model: lists of batches, and what Kafka says of sequences. Crashes, cold reads and trimming included."""

from hypothesis import given, settings
from hypothesis import strategies as st
from partition_bench import ROOMY, Batch, Bench

from both_modes import examples
from entrepot.broker.calls.partition_calls import make_close_parts, make_read_part
from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import TrimPartition
from entrepot.model.errors import Reason
from entrepot.store.local.settings import StoreSettings

PARTITIONS = 2
TINY = StoreSettings(journal_file_size=64 << 10, journal_unsorted_max=64 << 20, cache_size=1 << 10, linger_ms=1)

partition = st.integers(0, PARTITIONS - 1)
send = st.tuples(st.just("send"), partition, st.integers(1, 4), st.sampled_from((0, 0, 0, 3000)))
# how far off the next sequence is, records, and whether of a new epoch, or an old one
numbered = st.tuples(st.just("numbered"), partition, st.integers(-12, 2), st.integers(1, 3), st.sampled_from((0, 0, 0, 0, 0, 1, -1)))
read = st.tuples(st.just("read"), partition, st.integers(1, 4000), st.integers(-3, 3))
trim = st.tuples(st.just("trim"), partition, st.integers(0, 5))
pause = st.tuples(st.just("pause"), st.sampled_from((0.0001, 0.01, 0.5)))
restart = st.tuples(st.just("restart"))
power = st.tuples(st.just("power"))
steps = st.lists(st.one_of(send, send, numbered, numbered, numbered, read, read, trim, pause, restart, power), max_size=60)


class Producer:
    """What the model knows of one producer in one partition."""

    def __init__(self):
        self.epoch = -1
        self.batches = []  # (first sequence, count, base) of this epoch
        self.taken = []  # (epoch, first sequence, count, base) of all

    def take(self, epoch, first, count, base):
        self.taken.append((epoch, first, count, base))
        if epoch > self.epoch:
            self.epoch, self.batches = epoch, []
        self.batches.append((first, count, base))

    def lose(self, end):
        """What lies at `end` or behind it is lost."""
        taken = [batch for batch in self.taken if batch[-1] < end]
        self.__init__()
        for batch in taken:
            self.take(*batch)

    @property
    def following(self):
        return sum(self.batches[-1][:2]) if self.batches else 0

    def judge(self, epoch, first, count):
        """(reason of the refusal or None, base where it is known)."""
        if epoch < self.epoch:
            return Reason.STALE_PRODUCER, -1
        if epoch > self.epoch:
            return (None if first == 0 or self.epoch == -1 else Reason.OUT_OF_SEQUENCE), -1
        for known_first, known_count, base in self.batches[-5:]:
            if (known_first, known_count) == (first, count):
                return None, base
        return (None if first == self.following else Reason.OUT_OF_SEQUENCE), -1


class Model:
    """A broker, and what must be in it. Everything that was sent is waited for before a restart."""

    def __init__(self, tight):
        self.bench = Bench(settings=TINY if tight else ROOMY)
        self.client = self.bench.connect()
        self.client.topic("t", PARTITIONS)
        self.logs = [[] for _ in range(PARTITIONS)]  # (base, count, text)
        self.ends = [0] * PARTITIONS
        self.firsts = [0] * PARTITIONS
        self.producers = [Producer() for _ in range(PARTITIONS)]
        self.serial = 0
        self.sent = []  # (call, expected refusal, expected base)
        self.parts = {}
        self.reads = []

    def _append(self, number, count, padding, producer, expected):
        self.serial += 1
        text = b"%d:" % self.serial + b"." * padding
        part = self.client.part(text, count, partition=number, producer=producer)
        reason, base = expected
        if reason is None and base < 0:
            base = self.ends[number]
            self.logs[number].append((base, count, text))
            self.ends[number] += count
        self.sent.append((self.client.send(part), reason, base))
        return base

    def send(self, number, count, padding):
        self._append(number, count, padding, None, (None, -1))

    def numbered(self, number, shift, count, newer):
        producer = self.producers[number]
        epoch = max(0, producer.epoch) + newer
        first = 0 if epoch > producer.epoch else max(0, producer.following + shift)
        if shift < 0 and epoch == producer.epoch and len(producer.batches) >= -shift:
            first, count, _ = producer.batches[shift]  # one that was sent before
        if epoch < 0:
            return
        reason, known = producer.judge(epoch, first, count)
        base = self._append(number, count, 0, (9, epoch, first), (reason, known))
        if reason is None and known < 0:
            producer.take(epoch, first, count, base)

    def read(self, number, max_bytes, jump):
        """Go on reading, or jump by some records first."""
        self.settle()
        part = self.parts.get(number)
        if part is None:
            part = self.parts[number] = make_read_part("t", number, self.firsts[number], 0)
        part.max_bytes = max_bytes
        part.offset = max(0, part.offset + (jump if abs(jump) > 1 else 0))
        call = self.client.wait(self.client.ask_read([part], max_bytes=max_bytes, wait_ms=20))
        assert call.outcome == DONE
        if not self.firsts[number] <= part.offset <= self.ends[number]:
            assert part.error.reason is Reason.OUT_OF_RANGE
            part.offset = self.firsts[number]
            return
        assert part.error is None
        assert (part.first_offset, part.durable_end, part.stable_end) == (self.firsts[number], self.ends[number], self.ends[number])
        following = [batch for batch in self.logs[number] if batch[0] + batch[1] > part.offset]
        got = [Batch(data) for data in part.data]
        assert [(batch.base, batch.count, batch.text) for batch in got] == following[: len(got)]
        assert bool(got) == bool(following)
        assert len(got) <= 1 or part.size <= max_bytes
        if got:
            part.offset = got[-1].end

    def trim(self, number, further):
        self.settle()
        offset = min(self.firsts[number] + further, self.ends[number])
        self.client.ask(TrimPartition("t", number, offset))
        self.firsts[number] = max(offset, self.firsts[number])

    def pause(self, seconds):
        self.bench.run(seconds)

    def settle(self):
        """Every answer is as expected."""
        for call, reason, base in self.sent:
            self.client.wait(call)
            part = call.parts[0]
            assert (part.error and part.error.reason) is reason
            if reason is None:
                assert part.base_offset == base
        self.sent = []

    def restart(self):
        self.settle()
        self.client.door.submit(make_close_parts(1, list(self.parts.values())))
        self.bench = self.bench.reopen()
        self.client = self.bench.connect()

    def power(self):
        """It goes: what was answered is there, what was not may be."""
        answered = [0] * PARTITIONS
        for call, reason, base in self.sent:
            part = call.parts[0]
            if call.outcome == DONE and reason is None:
                answered[part.partition] = max(answered[part.partition], base + part.count)
        self.sent = []
        self.parts = {}
        self.bench.loop.forget_all()
        self.bench.disk.crash()
        self.bench = Bench(bench=self.bench, settings=self.bench.settings)
        self.client = self.bench.connect()
        for number, log in enumerate(self.bench.topic().logs):
            end = log.durable_offset
            assert answered[number] <= end <= self.ends[number]
            assert end in {0, *(base + count for base, count, _ in self.logs[number])}
            self.logs[number] = [batch for batch in self.logs[number] if batch[0] < end]
            self.ends[number] = end
            self.producers[number].lose(end)

    def finish(self):
        self.settle()
        for number in range(PARTITIONS):
            alive = [batch for batch in self.logs[number] if batch[0] + batch[1] > self.firsts[number]]
            assert self.client.drain(self.firsts[number], partition=number) == alive


@settings(max_examples=examples(25), deadline=None)
@given(tight=st.booleans(), actions=steps)
def test_agrees_with_the_model(tight, actions):
    model = Model(tight)
    for name, *words in actions:
        getattr(model, name)(*words)
    model.finish()
