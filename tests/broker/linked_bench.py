"""A broker whose front reaches its owners over a link."""

from broker_bench import Bench

from entrepot.simulation.linked_owners import LinkedOwnerTable


class LinkedBench(Bench):
    sent = 0
    owners = LinkedOwnerTable

    @property
    def table(self):
        return self.broker.owners

    @property
    def remote(self):
        return self.table.reached(self.table.durable)

    @property
    def served(self):
        return self.table.served_owner(self.table.durable)

    def steps(self, count=1):
        for _ in range(count):
            self.loop.step()

    def move(self, shard):
        """It closes, and is open again."""
        done = []
        self.broker.shard_moves.close(shard, lambda: done.append(True))
        self.loop.run_until(lambda: len(done) == 1)
        return lambda: self.come_back(shard, done)

    def come_back(self, shard, done):
        self.broker.shard_moves.open(shard, self.store.epoch, lambda: done.append(True))
        self.loop.run_until(lambda: len(done) == 2)

    def die(self):
        """Each end hears that the other start is dead."""
        self.table.front.dead()
        self.table.served.dead()
