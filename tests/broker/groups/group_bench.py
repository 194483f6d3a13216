"""Groups on a simulated loop: members that ask and see their answers."""

import struct

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.port import DONE, REFUSED, Attachment, Sink, make_ask
from entrepot.broker.catalogue.quotas import Quotas
from entrepot.broker.catalogue.shards import Shards
from entrepot.broker.groups.coordinator import GroupCoordinator
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.groups.topics import TopicFacts
from entrepot.broker.state_kinds import default_folds
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.simulation.state_store import StateStore

NAMESPACE = "public/default"


class Permissions:
    """Everything is permitted but what is named here, whoever asks."""

    def __init__(self):
        self.denied = set()
        self.version = 0

    def authorize(self, principal, action, namespace, kind, name):
        if not self.may(principal, action, namespace, name):
            raise Refused(Reason.NOT_PERMITTED, f"{kind.value} '{name}' is refused")

    def may(self, principal, action, namespace, name):
        return name not in self.denied


class MadeTopics:
    def __init__(self):
        self.facts = {}
        self.made = 0
        self.changes = 0

    def grow(self, name, partitions):
        self.facts[name] = TopicFacts(self.facts[name].id, partitions)
        self.changes += 1

    def delete(self, name):
        del self.facts[name]
        self.changes += 1

    def find(self, namespace, name):
        return self.facts.get(name)

    def names(self, namespace):
        return frozenset(self.facts)

    def version(self, namespace):
        return self.changes

    def note(self, shard):
        pass

    def changed(self, namespace):
        self.changes += 1

    def make(self, name, partitions):
        self.made += 1
        self.changes += 1
        self.facts[name] = TopicFacts(self.made.to_bytes(16, "big"), partitions)
        return self.facts[name].id


class Door(Attachment):
    """Made by GroupBench.ask(); remembers answers in order."""


class Answers(Sink):
    def __init__(self):
        self.calls = []

    def completed(self, call):
        self.calls.append(call)


class GroupBench:
    def __init__(self, limits=None, **settings):
        self.limits = limits
        self.loop = SimulatedLoop(1)
        self.store = StateStore(self.loop, default_folds().fold, lambda: 0.001)
        self.settings = GroupSettings(**{"session_timeout_min_ms": 1, "initial_rebalance_delay_ms": 0, **settings})
        self.permissions = Permissions()
        self.topics = MadeTopics()
        self.start()

    def start(self):
        self.quotas = Quotas(self.limits)
        desk = Desk(self.loop, SimulatedClock(self.loop), SimulatedEntropy(self.loop), self.store, Shards(4), self.settings, self.quotas)
        self.coordinator = GroupCoordinator(desk, self.topics, self.permissions)
        self.coordinator.load()
        self.door = Door()
        self.door.closed = False
        self.door.spent = 0
        self.door.namespace = NAMESPACE
        self.door.principal = Principal("anybody")
        self.door.sink = Answers()

    def restart(self):
        """The process is killed, and started again."""
        self.door.closed = True
        self.loop.forget_all()
        self.store.crash()
        self.start()

    def run(self, seconds=0.01):
        self.loop.run_for(seconds)

    def ask(self, request):
        """The call, answered or not."""
        call = make_ask(1, request)
        call.attachment = self.door
        try:
            self.coordinator.perform(call)
        except Refused as refused:
            call.outcome, call.error = REFUSED, refused
        return call

    def get(self, request):
        """The answer, which must come at once."""
        call = self.ask(request)
        self.run()
        assert call.outcome == DONE, (call.outcome, call.error)
        return call.result

    def reason(self, request):
        """Why it is refused."""
        call = self.ask(request)
        self.run()
        return reason(call)

    # ---- classic members

    def join(self, member="", group="g", protocols=(("range", b"m"),), instance=None, session_ms=10_000, rebalance_ms=60_000, kind="consumer", **more):
        return self.ask(r.JoinGroup(group, member, instance, "client", "host", session_ms, rebalance_ms, kind, list(protocols), **more))

    def sync(self, joined, assignments=None, group="g", member=None, instance=None, generation=None):
        generation = joined.generation if generation is None else generation
        return self.ask(r.SyncGroup(group, generation, member or joined.member_id, instance, joined.protocol_type, joined.protocol, assignments or {}))

    def form(self, count, group="g", instances=None, **more):
        """A stable group of new members: their join results, the leader's first."""
        calls = [self.join(group=group, instance=instances[number] if instances else None, **more) for number in range(count)]
        self.run()
        results = [answer(call) for call in calls]
        return self.agree(results, group, instances)

    def agree(self, results, group="g", instances=None):
        leader = next(result for result in results if result.member_id == result.leader)
        given = {member: b"for " + member.encode() for member, _, _ in leader.members}
        calls = [self.sync(result, given if result is leader else None, group) for result in results]
        self.run()
        assert [answer(call)[2] for call in calls] == [b"for " + result.member_id.encode() for result in results]
        return sorted(results, key=lambda result: result is not leader)

    # ---- members whose coordinator assigns

    def heartbeat(self, member, epoch, group="g", names=None, regex=None, owned=None, instance=None, timeout_ms=-1, assignor=None, rack=None):
        return self.ask(r.ConsumerHeartbeat(group, member, epoch, instance, rack, timeout_ms, "client", "host", names, regex, assignor, owned))

    def consume(self, member, names=("t",), instance=None, timeout_ms=10_000, **more):
        """Join."""
        return self.heartbeat(member, 0, names=None if names is None else list(names), owned={}, instance=instance, timeout_ms=timeout_ms, **more)

    def told(self, call):
        """(epoch, assignment by topic name or None) of an answered heartbeat."""
        self.run()
        result = answer(call)
        names = {facts.id: name for name, facts in self.topics.facts.items()}
        given = None if result.assignment is None else {names.get(topic, "gone"): set(partitions) for topic, partitions in result.assignment.items()}
        return result.member_epoch, given

    def beat(self, joined, group="g", instance=None):
        return self.ask(r.Heartbeat(group, joined.generation, joined.member_id, instance))

    def describe(self, group="g"):
        return self.get(r.DescribeGroup(group))


def answer(call):
    assert call.outcome == DONE, (call.outcome, call.error)
    return call.result


def reason(call):
    assert call.outcome == REFUSED, (call.outcome, call.result)
    return call.error.reason


def subscription(*topics, user_data=b""):
    """What a consumer says of itself when it joins."""
    return b"".join([struct.pack(">hi", 1, len(topics)), *(struct.pack(">h", len(name)) + name.encode() for name in topics), user_data])
