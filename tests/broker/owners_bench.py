"""A front over several durable owners, each with its share of the shards, in a store and on a disk of its own."""

import itertools

from broker_bench import NS, SMALL, Bench

from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedEntropy
from entrepot.store.local.opening import open_store


class OwnersBench(Bench):
    """`stores` and `disks` by owner: the one numbered n of m has the shards that are n modulo m."""

    def __init__(self, table, count=2, seed=1):
        self.table = table
        self.count = count
        super().__init__(seed)
        for store in self.stores[1:]:
            store.set_owner(self.broker)

    def owners(self, hub, store, volatile):
        others = []
        self.stores, self.disks = [store], [self.disk]
        for _ in range(1, self.count):
            self.disks.append(SimulatedDisk(self.loop))
            entropy = SimulatedEntropy(self.loop)
            self.stores.append(open_store(self.disks[-1], scheduler=self.loop, clock=self.clock, entropy=entropy, fold=self.fold, settings=SMALL))
            others.append(LocalOwner(hub, self.stores[-1]))
        count = self.count

        class Several(self.table):
            def here(self, shard):
                return others[shard % count - 1] if shard % count else self.durable

            def local(self):
                return [*super().local(), *others]

        return Several(hub, store, volatile)

    def names(self, owner, kind="queue"):
        """Names whose shard is an owner's, by its number."""
        return (name for number in itertools.count() if self.broker.shards.shard(kind, NS, name := f"{kind}{number}") % self.count == owner)

    def close(self, shard):
        """It moves away."""
        closed = []
        self.broker.shard_moves.close(shard, lambda: closed.append(True))
        self.loop.run_until(lambda: bool(closed))

    def open(self, shard, epoch=2):
        """It is back."""
        opened = []
        self.broker.shard_moves.open(shard, epoch, lambda: opened.append(True))
        self.loop.run_until(lambda: bool(opened))
