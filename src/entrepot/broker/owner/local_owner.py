"""LocalOwner: the owner of the open shards of one store of this process, called directly.

A Lane of its own holds the live logs behind the ids that it was registered for. Neighbouring runs of one lane join one entry as long as it is
the last of each of its logs, so order within a log is that of the calls. Lanes with a queue that may refuse something go through Admission.
"""

from __future__ import annotations

from entrepot.broker.calls.port import DONE, Publish
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.admission import Admission, Target
from entrepot.broker.owners import Lane, Owner, Run
from entrepot.broker.queue.queue import Queue
from entrepot.broker.topic.partition import Partition
from entrepot.model.entry import HAS_EXPIRY, TRANSIENT, Entry, make_entry
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Log, Store

_DONE = DONE
_HAS_EXPIRY = HAS_EXPIRY
_TRANSIENT = TRANSIENT


class LocalLane(Lane):
    """`simple`: no target refuses anything, or counts what it holds."""

    __slots__ = ("address", "codec", "entry", "logs", "prefix", "queues", "simple", "targets")

    def __init__(self, owner: Owner, address: bytes, targets: list[Target]) -> None:
        self.owner = owner
        self.address = address
        self.targets = targets
        self.logs: list[Log] = [target.log for target in targets]
        self.queues: list[Queue] = [target for target in targets if isinstance(target, Queue)]
        self.simple = not any(queue.rejects_when_full or queue.bytes_max >= 0 for queue in self.queues)
        self.codec = 0
        self.prefix = b""
        self.entry: Entry | None = None  # that may still grow

    def let_go(self) -> None:
        """See Growing."""
        self.entry = None


class LocalOwner(Owner):
    """Over one store; its volatile logs, too, are in shards that never move."""

    __slots__ = ("admission", "growing", "hub", "store")

    def __init__(self, hub: Hub, store: Store) -> None:
        self.hub = hub
        self.store = store
        self.growing = Growing(store)
        self.admission = Admission(hub, store)

    # ---- what fronts ask

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        return LocalLane(self, address, [self.target(log_id) for log_id in log_ids])

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        local = local_lane(lane)
        if not local.simple:
            nacked: list[int] = []
            staged = self.admission.stage(call, local.address, b"", local.targets, call.data, call.count, range(call.count), nacked)
            return self._answer(call, staged, nacked)
        if local.codec != call.codec:
            local.codec = call.codec
            local.prefix = self.hub.codec(call.codec).prefix(local.address)
            local.entry = None
        if call.flags & _HAS_EXPIRY:
            for queue in local.queues:
                queue.note_expiry()
        entry = local.entry
        if entry is None or (entry.flags ^ call.flags) & _TRANSIENT or not self.store.extend(local.logs, entry, call.data, call.count):
            entry = make_entry(call.codec, call.codec_version, call.flags, local.prefix, call.data, call.count)
            self.store.append(local.logs, entry)
            self.growing.note(local)
            local.entry = entry
        else:
            entry.flags |= call.flags
        self.store.urgent()
        if not call.confirm:
            call.outcome = _DONE
            return True
        self.store.group().calls.append(call)
        return False

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        known = [[self.target(log_id) for log_id in log_ids] for log_ids, *_ in runs]  # all of them, before the first is staged
        nacked: list[int] = []
        staged = False
        for targets, (_, hidden, data, count, indices) in zip(known, runs, strict=True):
            staged = self.admission.stage(call, address, hidden, targets, data, count, indices, nacked) or staged
        return self._answer(call, staged, nacked)

    def is_full(self) -> bool:
        """See Owner."""
        return self.store.is_full()

    def is_over(self, log_id: bytes, count: int, body_bytes: int) -> bool:
        """See Owner."""
        target = self.target(log_id)
        return isinstance(target, Queue) and target.is_full(count, body_bytes)

    # ---- for its own process

    def let_go(self) -> None:
        """Keep no entry that may still grow."""
        self.growing.let_go()

    def target(self, log_id: bytes) -> Target:
        """The live queue or partition over a log. Unavailable: it is not open here."""
        log = self.store.log(log_id)
        if log is None or not isinstance(log.owner, Queue | Partition):
            raise Unavailable("what it leads to is on its way to another owner")
        return log.owner

    def _answer(self, call: Publish, staged: bool, nacked: list[int]) -> bool:
        call.nacked = sorted(nacked) or None
        if not staged or not call.confirm:
            call.outcome = _DONE
            return True
        self.store.group().calls.append(call)
        return False


def local_lane(lane: Lane) -> LocalLane:
    """A lane that a LocalOwner has made."""
    assert isinstance(lane, LocalLane)
    return lane
