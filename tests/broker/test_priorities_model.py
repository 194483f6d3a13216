"""Random work on a queue with priorities, against the model of a queue (test_queue_model.py): the highest first, and within a level all is as there."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from test_queue_model import QueueMachine

from both_modes import examples

TOP = 3
LEVEL = 1_000_000  # numbers of a level: sorted, they are in the order in which they are to come


def level_of(number):
    return TOP - number // LEVEL


class PriorityMachine(QueueMachine):
    arguments = (("x_max_priority", TOP),)

    @rule(runs=st.lists(st.lists(st.sampled_from([None, 0, 1, 2, 3, 9]), min_size=1, max_size=6), min_size=1, max_size=4))
    def publish(self, runs):
        for priorities in runs:
            numbers = [(TOP - min(priority or 0, TOP)) * LEVEL + self.next + place for place, priority in enumerate(priorities)]
            self.publisher.publish(*[b"%d" % number for number in numbers], priorities=priorities)
            self.ready += [(number, False) for number in numbers]
            self.ready.sort()
            self.next += len(numbers)
        self.flow()

    @precondition(lambda self: self.durable)
    @rule()
    def crash(self):
        self.bench.disk.crash()
        self.begin_again(self.bench.start_again())

    @precondition(lambda self: self.durable)
    @rule()
    def close_and_open(self):
        """Its shard closes, and opens again: consumers go on, and hold what they held."""
        moves = self.bench.broker.shard_moves
        shard = self.bench.queue().log.shard
        done = []
        moves.close(shard, lambda: done.append(True))
        self.bench.loop.run_until(lambda: len(done) == 1, 60)
        moves.open(shard, 2, lambda: done.append(True))
        self.bench.loop.run_until(lambda: len(done) == 2, 60)
        self.flow()

    def check_dead(self, numbers):
        """In order within a level."""
        assert sorted(numbers, key=level_of) == sorted(self.dead, key=level_of)


class VolatilePriorityMachine(PriorityMachine):
    durable = False


TestPriorities = PriorityMachine.TestCase
TestPriorities.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
TestVolatilePriorities = VolatilePriorityMachine.TestCase
TestVolatilePriorities.settings = settings(max_examples=examples(20), stateful_step_count=30, deadline=None)
