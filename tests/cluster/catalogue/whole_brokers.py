"""Whole brokers as in brokers.py, whose owners ask each other over their links, too: what one process has not, it asks of the one that has it."""

from functools import partial

from brokers import Cluster, Process

from entrepot.broker.front.owner_table import OwnerTable
from entrepot.cluster.catalogue.frames import FIRST_KIND, LAST_KIND
from entrepot.cluster.owners.crossing import Crossing
from entrepot.model.errors import Unavailable

HOME, DURABLE = 0, 1


class CrossedTable(OwnerTable):
    """Of one process, which has every `count`th shard. `crossings`: by the name of the other process."""

    def __init__(self, process, hub, store, volatile):
        super().__init__(hub, store, volatile)
        self.process = process
        self.crossings = {}

    def is_here(self, shard):
        return shard % self.process.cluster.count == self.process.number

    def owner_of(self, shard):
        if self.is_here(shard):
            return super().owner_of(shard)
        name = f"w{shard % self.process.cluster.count}"
        if name not in self.crossings:
            raise Unavailable(f"shard {shard} is of '{name}', which is not there now")
        return self.crossings[name].remote[DURABLE]

    def home_of(self, definition):
        if not definition.home or definition.home == self.start_id:
            return super().home_of(definition)
        found = self.home_of_start(definition.home)
        if found is None:
            raise Unavailable(f"queue '{definition.name}' lives in a process that is not there now")
        return found

    def home_of_start(self, start_id):
        for crossing in self.crossings.values():
            other = self.process.cluster.process_of(crossing.link)
            if other is not None and other.broker.start_id == start_id:
                return crossing.remote[HOME]
        return None

    def check_open(self, definition):
        self.by_owner(definition)

    def everyone(self):
        return [*super().everyone(), *(remote for crossing in self.crossings.values() for remote in crossing.remote)]

    def kept_doors(self):
        return [door for crossing in self.crossings.values() for served in crossing.served for door in served.doors.values()]


class Here:
    def __init__(self, broker, number):
        self.number = number
        self.next_consumer_id = broker.next_consumer_id
        self.codec = broker.hub.maybe_codec
        self.scheduler = broker.scheduler

    def row_shard(self, owner):
        return self.number


class WholeProcess(Process):
    """One start after another, with owners that others reach. What is sent to the durable owner of another waits until it is there again, in another start."""

    def _table(self, hub, store, volatile):
        self.owners = CrossedTable(self, hub, store, volatile)
        self.far_owners = {}
        return self.owners

    def linked(self, other):
        before = self.owners.crossings.pop(other.name, None)
        if before is not None:
            before.dead(returns=True)
        link = super().linked(other)
        owners = self.owners
        here = Here(self.broker, self.number)
        owners.crossings[other.name] = Crossing(link, [owners.home, owners.durable], 2, here, lambda: None, None, before, self.catalogue)
        self.broker.shard_moves.forget_found()
        return link

    def frames(self, link, found):
        for data in found:
            if self.links.get(link.name) is not link:
                return
            if FIRST_KIND <= data[0] <= LAST_KIND:
                super().frames(link, [data])
            else:
                self.owners.crossings[link.name].heed([data])


class WholeCluster(Cluster):
    """`count` processes, of which the first decides; every one asks every other one."""

    process = WholeProcess

    def process_of(self, link):
        """Whose start is at the other end of a link; None: it is none any more."""
        return next((one for one in self.processes if one.broker is not None and one.start_id == link.peer), None)

    def wait_open(self):
        """Until all shards are."""
        self.settle()
        self.loop.run_until(partial(self._all_open), 60)

    def _all_open(self):
        return not any(
            process.owners.is_here(shard) and (shard in process.store.closed or shard in process.owners.loading)
            for process in self.processes
            for shard in range(process.broker.shards.count)
        )
