"""Last values over three whole brokers that crash, and whose links break: of each address the last that was confirmed is kept, or one that came after it."""

import random

import pytest
from test_shared_across import Connected, ValuesCluster

from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.retained_requests import RETAINED_QUEUE

KEYS = [f"k.{number}" for number in range(6)]


class Run:
    """Of each key the values that were published, in order, with their calls; each by one connection at a time."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.cluster = ValuesCluster(3, seed)
        self.cluster.wait_open()
        self.connections = [Connected(process) for process in self.cluster.processes]
        self.said = {key: [] for key in KEYS}
        self.count = 0

    def run(self, steps):
        for _ in range(steps):
            self.chance.choice([self.publish, self.publish, self.publish, self.publish, self.look, self.wait, self.break_off, self.restart])()
        self.end()

    def publish(self):
        for _ in range(self.chance.randrange(1, 5)):
            index = self.chance.randrange(len(KEYS))
            self.count += 1
            payload = b"" if self.chance.random() < 0.2 else b"%d" % self.count
            self.said[KEYS[index]].append((self.connections[index % 3].retaining(KEYS[index], payload), payload))

    def wait(self):
        self.cluster.run(self.chance.choice([0.01, 0.1, 1.0]))

    def break_off(self):
        self.chance.choice(list(self.cluster.wires.values())).break_off()
        self.wait()
        self.cluster.settle()

    def restart(self):
        number = self.chance.randrange(3)
        self.cluster.restart(number)
        self.connections[number] = Connected(self.cluster.processes[number])
        self.cluster.wait_open()

    def look(self):
        """What was heard before it is asked for, or something later, is what is there."""
        self.cluster.wait_open()
        possible = {key: self._possible(key) for key in KEYS}
        found = dict(self.chance.choice(self.connections).copied("k.#"))
        for key in KEYS:
            assert found.get(key, b"") in {*possible[key], *(payload for _, payload in self.said[key])}
            assert found.get(key, b"") in possible[key] or self.said[key]
            if len(possible[key]) == 1:
                assert found.get(key, b"") == possible[key][0], key

    def _possible(self, key):
        """What may be there now, if nothing more comes: the last that was confirmed, and what was said after it."""
        last = -1
        for index, (call, _) in enumerate(self.said[key]):
            if call.outcome == DONE and not call.request.publish.nacked:
                last = index
        return [payload for _, payload in self.said[key][last:]] if last >= 0 else [b"", *(payload for _, payload in self.said[key])]

    def end(self):
        self.cluster.settle()
        self.cluster.wait_open()
        self.cluster.run(40.0)
        for key, said in self.said.items():
            assert all(call.outcome != PENDING for call, _ in said if call.attachment.broker in [process.broker for process in self.cluster.processes]), key
        found = dict(self.connections[0].copied("k.#"))
        for key in KEYS:
            assert found.get(key, b"") in self._possible(key)
        kept = [process.space.queues[RETAINED_QUEUE].runtime for process in self.cluster.processes if RETAINED_QUEUE in process.space.queues]
        alive = [queue.heads for queue in kept if hasattr(queue, "heads")]
        assert sum(values.count for values in alive) == len(found)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_confirmed_is_kept(seed):
    Run(seed).run(40)


@pytest.mark.long
def test_three_hundred_runs():
    for seed in range(100, 300):
        Run(seed).run(60)
