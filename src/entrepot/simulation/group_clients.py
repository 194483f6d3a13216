"""Clients of consumer groups, simplified: ClassicClient (eager, or cooperative and sticky) and ConsumerClient (KIP-848).

They process what they own from where the group has committed, commit now and then, and do what their protocol asks of them before they give
anything up. A client is a process: it can be paused (nothing of it runs, and it does not know) and it can die.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import group_requests as ask
from entrepot.broker.groups.assignors import Subscriber, assign_range, assign_uniform
from entrepot.model.errors import Reason, Refused

if TYPE_CHECKING:
    from entrepot.simulation.group_run import Connection, GroupRun

Place = tuple[str, int]  # topic, partition

GROUP = "simulated"
SESSION_MS = 6_000
HEARTBEAT_S = 1.5
WORK_S = 1.0
RETRY_S = 0.3
TRIES_MAX = 40  # of a static member to come in while another has its instance id
BATCH = 15  # records of a partition processed in one go

# of the newer protocol: topics, and the expression that means them, if they are not named
_SUBSCRIPTIONS: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("one", "two"), None),
    (("one", "two"), None),
    (("one", "two"), "(one|t[a-z]+)"),
    (("one",), None),
)

_LOST = (Reason.UNKNOWN_MEMBER, Reason.STALE_MEMBER, Reason.FENCED_MEMBER)


class Client:
    """One process. `owned`: place -> position, None until it is known."""

    reads: tuple[str, ...] = ("one", "two")  # topics

    def __init__(self, run: GroupRun, name: str, instance_id: str | None) -> None:
        self.run = run
        self.name = name
        self.instance_id = instance_id
        self.dead = False
        self.paused = False
        self.member_id = ""
        self.generation = -1  # or member epoch
        self.owned: dict[Place, int | None] = {}
        self._backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.connection: Connection = run.connect(self)
        self.later(WORK_S, self._work)
        self.later(0, self.start)

    def start(self) -> None:
        """Join."""
        raise NotImplementedError

    def leave(self) -> None:
        """Give everything up, and go."""
        raise NotImplementedError

    # ---- a process

    def later(self, delay_s: float, do: Callable[..., None], *arguments: Any) -> None:
        """Do something later, if it lives then, and when it is not paused."""
        self.run.loop.call_later(delay_s, self.now, do, *arguments)

    def now(self, do: Callable[..., None], *arguments: Any) -> None:
        """Do it as soon as the process runs."""
        if self.dead:
            return
        if self.paused:
            self._backlog.append((do, arguments))
        else:
            do(*arguments)

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for do, arguments in backlog:
            self.now(do, *arguments)

    def die(self) -> None:
        """Without a word."""
        self.dead = True
        self.connection.reset()

    # ---- its work

    def _work(self) -> None:
        for place, position in self.owned.items():
            if position is not None:
                self.owned[place] = self.run.process(place, position, BATCH)
        if self.run.chance.random() < 0.5:
            self.commit(lambda: None)
        self.later(WORK_S, self._work)

    def commit(self, done: Callable[[], None]) -> None:
        """Commit where it is; done() when that is answered, whatever the answer."""
        offsets = {place: ask.CommittedOffset(position) for place, position in self.owned.items() if position is not None}
        if not offsets or self.generation < 0:
            done()
            return
        self.connection.send(ask.CommitOffsets(GROUP, self.generation, self.member_id, self.instance_id, offsets), lambda *_: done())

    def take(self, places: set[Place]) -> None:
        """Own these, and no others."""
        self.owned = {place: self.owned.get(place) for place in sorted(places)}
        self.run.check_owners()
        self._find_positions()

    def _find_positions(self) -> None:
        unknown = [place for place, position in self.owned.items() if position is None]
        if unknown:
            self.connection.send(ask.FetchOffsets(GROUP, unknown), self._found)

    def _found(self, result: dict[Place, ask.CommittedOffset] | None, refused: Refused | None) -> None:
        if result is None:
            self.later(RETRY_S, self._find_positions)
            return
        for place, committed in result.items():
            if place in self.owned and self.owned[place] is None:
                self.owned[place] = max(0, committed.offset)

    def lose(self) -> None:
        """What it owned is others' already."""
        self.owned = {}


class ClassicClient(Client):
    """Of groups whose members agree among themselves."""

    def __init__(self, run: GroupRun, name: str, instance_id: str | None, *, is_cooperative: bool) -> None:
        self.is_cooperative = is_cooperative
        self._round = 0  # of joining: answers to earlier ones do not count
        self._joining = False
        super().__init__(run, name, instance_id)

    def start(self) -> None:
        """See Client."""
        self.later(HEARTBEAT_S, self._heartbeat)
        self._rejoin()

    def leave(self) -> None:
        """See Client."""
        self._round += 1
        self._joining = True
        self.commit(self._go)

    def _go(self) -> None:
        self.lose()
        self.connection.send(ask.LeaveGroup(GROUP, [(self.member_id, self.instance_id, None)]), lambda *_: self.die())

    # ---- joining

    def _rejoin(self) -> None:
        """Join again: an eager member gives up everything first, a cooperative one says what it has."""
        if self._joining:
            return
        self._joining = True
        if self.is_cooperative:
            self._join()
        else:
            self.commit(self._give_up_and_join)

    def _give_up_and_join(self) -> None:
        self.owned = {}
        self._join()

    def _join(self) -> None:
        self._round += 1
        protocol = "cooperative-sticky" if self.is_cooperative else "range"
        request = ask.JoinGroup(
            GROUP,
            self.member_id,
            self.instance_id,
            self.name,
            "simulated",
            SESSION_MS,
            self.run.rebalance_timeout_ms,
            "consumer",
            [(protocol, self._metadata())],
            require_known_member_id=True,
            can_skip_assignment=True,
        )
        self.connection.send(request, self._joined, self._round)

    def _metadata(self) -> bytes:
        topics = sorted(self.run.topics.facts)
        head = struct.pack(">hi", 1, len(topics)) + b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
        return head + b"\0" + json.dumps({"generation": self.generation, "owned": sorted(self.owned)}).encode()

    def _joined(self, result: Any, refused: Refused | None, number: int) -> None:
        if number != self._round:
            return
        if refused is not None and refused.reason is Reason.MEMBER_ID_REQUIRED:
            self.member_id = result
            self._join()
        elif refused is not None or result is None:
            self._failed(refused)
        else:
            self.generation, self.member_id = result.generation, result.member_id
            leads = result.leader == self.member_id and not result.skip_assignment
            given = self._assign(result.members) if leads else {}
            # A leader that came back did not see which partitions the assignment is of: it looks once more.
            self.led_counts = self.run.topics.counts() if leads else {} if result.skip_assignment else None
            request = ask.SyncGroup(GROUP, self.generation, self.member_id, self.instance_id, result.protocol_type, result.protocol, given)
            self.connection.send(request, self._synced, self._round)

    led_counts: dict[str, int] | None = None

    def _synced(self, result: tuple[str, str, bytes] | None, refused: Refused | None, number: int) -> None:
        if number != self._round:
            return
        if result is None:
            self._failed(refused)
            return
        self._joining = False
        given = {(topic, partition) for topic, partition in json.loads(result[2] or b"[]")}
        if self.is_cooperative and not given.issuperset(self.owned):
            self._joining = True
            self.commit(lambda: self._keep_and_rejoin(given))
        else:
            self.take(given)

    def _keep_and_rejoin(self, given: set[Place]) -> None:
        self.take(given)  # first give up, then tell the others so
        self._join()

    def _failed(self, refused: Refused | None) -> None:
        """Of joining, synchronizing or the heartbeat: begin again."""
        if refused is not None and refused.reason is Reason.FENCED_INSTANCE:
            self.lose()
            self.die()
            return
        if refused is not None and refused.reason in _LOST:
            self.lose()
            self.generation = -1
            if refused.reason is Reason.UNKNOWN_MEMBER:
                self.member_id = ""
        self._joining = False
        self._round += 1
        self.later(RETRY_S, self._rejoin)

    # ---- staying

    def _heartbeat(self) -> None:
        if not self._joining and self.generation >= 0:
            if self.led_counts is not None and self.led_counts != self.run.topics.counts():
                self._rejoin()
            else:
                request = ask.Heartbeat(GROUP, self.generation, self.member_id, self.instance_id)
                self.connection.send(request, self._heard, self._round)
        self.later(HEARTBEAT_S, self._heartbeat)

    def _heard(self, result: None, refused: Refused | None, number: int) -> None:
        if number != self._round or refused is None or self._joining:
            return
        if refused.reason is Reason.REBALANCING:
            self._rejoin()
        else:
            self._failed(refused)

    # ---- leading

    def _assign(self, members: list[tuple[str, str | None, bytes]]) -> dict[str, bytes]:
        counts = {facts.id: facts.partition_count for facts in self.run.topics.facts.values()}
        names = {facts.id: name for name, facts in self.run.topics.facts.items()}
        ids = {name: topic for topic, name in names.items()}
        claims: dict[Place, tuple[int, str]] = {}  # of the latest generation
        for member_id, _, metadata in members:
            said = json.loads(metadata[metadata.index(b"\0{") + 1 :])
            for topic, partition in said["owned"]:
                claims[topic, partition] = max(claims.get((topic, partition), (-2, "")), (said["generation"], member_id))
        subscribers = []
        for member_id, instance_id, _ in members:
            had: dict[bytes, set[int]] = {}
            for (topic, partition), (_, owner) in claims.items():
                if owner == member_id:
                    had.setdefault(ids[topic], set()).add(partition)
            subscribers.append(Subscriber(member_id, instance_id or member_id, frozenset(counts), had))
        targets = (assign_uniform if self.is_cooperative else assign_range)(subscribers, counts)
        given = {}
        for member_id, target in targets.items():
            places = [(names[topic], partition) for topic, partitions in target.items() for partition in partitions]
            if self.is_cooperative:
                places = [place for place in places if place not in claims or claims[place][1] == member_id]
            given[member_id] = json.dumps(sorted(places)).encode()
        return given


class ConsumerClient(Client):
    """Of groups whose coordinator assigns. It has one heartbeat under way at most."""

    def __init__(self, run: GroupRun, name: str, instance_id: str | None) -> None:
        self._sent = 0  # heartbeats: answers to earlier ones do not count
        self._says: set[Place] | None = None  # what it said it owns; None: say everything
        self._waits = False
        self._leaving = False
        self._tries_left = TRIES_MAX
        # It reads everything, by name or by expression, or some of it.
        self.reads, self._pattern = run.chance.choice(_SUBSCRIPTIONS)
        super().__init__(run, name, instance_id)
        self.member_id = name

    def start(self) -> None:
        """See Client."""
        self.generation = 0
        self._beat()

    def leave(self) -> None:
        """See Client."""
        self._leaving = True
        self._sent += 1
        self.commit(self._go)

    def _go(self) -> None:
        self.lose()
        epoch = -1 if self.instance_id is None or self.run.chance.random() < 0.5 else -2
        request = ask.ConsumerHeartbeat(GROUP, self.member_id, epoch, self.instance_id, None, -1, self.name, "simulated", None, None, None, None)
        self.connection.send(request, lambda *_: self.die())

    def _beat(self) -> None:
        """Say what is new; everything after a failure."""
        if self._leaving:
            return
        self._sent += 1
        whole = self._says is None or self.generation == 0
        owned: dict[bytes, list[int]] | None = None
        if whole or self._says != set(self.owned):
            owned = {}
            for topic, partition in self.owned:
                owned.setdefault(self.run.topics.facts[topic].id, []).append(partition)
        self._says = set(self.owned)
        request = ask.ConsumerHeartbeat(
            GROUP,
            self.member_id,
            self.generation,
            self.instance_id,
            None,
            self.run.rebalance_timeout_ms if whole else -1,
            self.name,
            "simulated",
            list(self.reads) if whole and self._pattern is None else None,
            self._pattern if whole else None,
            None,
            owned,
        )
        self.connection.send(request, self._heard, self._sent)

    def _heard(self, result: ask.ConsumerHeartbeatResult | None, refused: Refused | None, number: int) -> None:
        if number != self._sent:
            return
        if result is None:
            self._failed(refused)
            return
        self.generation = result.member_epoch
        if result.assignment is not None:
            names = {facts.id: name for name, facts in self.run.topics.facts.items()}
            given = {(names[topic], partition) for topic, partitions in result.assignment.items() for partition in partitions}
            if not given.issuperset(self.owned):
                self.commit(lambda: self._give_up(given, number))
                return
            self.take(given)
        self.later(0.01 if self._says != set(self.owned) else result.heartbeat_interval_ms / 1000, self._next, number)

    def _give_up(self, given: set[Place], number: int) -> None:
        if number == self._sent:
            self.take(given)
            self._beat()

    def _next(self, number: int) -> None:
        if number == self._sent:
            self._beat()

    def _failed(self, refused: Refused | None) -> None:
        self._says = None
        if refused is not None and refused.reason is Reason.UNRELEASED_INSTANCE:
            self._tries_left -= 1  # the one before it may be gone without a word; or it is there, and this one is too many
        if (refused is not None and refused.reason is Reason.FENCED_INSTANCE) or self._tries_left == 0:
            self.lose()
            self.die()
            return
        if refused is not None and refused.reason in _LOST:
            self.lose()
            self.generation = 0
        self.later(RETRY_S, self._next, self._sent)
