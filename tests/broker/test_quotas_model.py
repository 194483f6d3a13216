"""Whatever is declared, deleted, joined, left, committed and refused, and whenever the broker starts again: what is counted is what is there."""

import random
from collections import Counter

import pytest
from group_bench import GroupBench
from memory_state import LogIds, MemoryState

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.queue_requests import TimedPolicy
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import BINDINGS, EXCHANGES, GROUPS, MEMBERS, METADATA, NAMESPACES, OFFSETS, PARTITIONS, QUEUES, TOPICS, QuotaLimits
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal

SPACES = ["public/default", "public/other"]
USERS = ["", "a", "b", "c", "guest"]
NAMES = ["one", "two", "three"]
LIMITS = QuotaLimits(exchanges=5, queues=6, topics=5, total_partitions=20, bindings=12, groups=4, total_group_members=8, offsets=12, metadata_bytes=6000)
KINDS = (NAMESPACES, EXCHANGES, QUEUES, TOPICS, PARTITIONS, BINDINGS, GROUPS, MEMBERS, OFFSETS, METADATA)


def counted(quotas, kinds=KINDS, users=USERS):
    return {kind: (quotas.used(kind), {user: quotas.used_by(kind, user) for user in users if user}) for kind in kinds}


class Declaring:
    """Somebody who declares and deletes at random. Connections own exclusive queues; a restart ends them."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.state = MemoryState()
        self.ids = LogIds()
        self.start()
        self.decisions.create_namespace(SPACES[1])

    def start(self):
        self.stream = CatalogueStream(self.state)
        self.decisions = Decisions.over(self.stream, self.ids, LIMITS)
        self.catalogue = self.decisions.catalogue

    def step(self):
        pick = self.chance.choice
        space, name, other, maker = pick(SPACES), pick(NAMES), pick(NAMES), pick(USERS[:4])
        arguments = pick([{}, {"x": "y" * self.chance.randrange(900)}])
        flags = {"durable": pick([True, True, False]), "auto_delete": pick([True, False])}
        of = self.catalogue.namespaces.get(space)
        connection = pick([(b"start", 1), (b"start", 2)])
        kind = self.chance.randrange(14)
        if kind == 0:
            alternate = {"alternate-exchange": other} if arguments else {}
            self.decisions.declare_exchange(
                space, name, pick(["direct", "fanout", "topic", "headers"]), **flags, internal=False, arguments=arguments | alternate, maker=maker
            )
        elif kind == 1:
            self.decisions.delete_exchange(space, name, if_unused=pick([True, False]))
        elif kind == 2:
            with_key = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k" * self.chance.randrange(250)} if arguments else {}
            stream = {"x-queue-type": "stream"} if pick([True, False]) and flags["durable"] and not flags["auto_delete"] else with_key
            exclusive = not stream and pick([True, False])
            self.decisions.declare_queue(space, pick([name, name, ""]), **flags, exclusive=exclusive, arguments=stream, connection=connection, maker=maker)
        elif kind in (3, 4):
            self.decisions.delete_queue(space, pick(sorted(of.queues) or [name]), connection=connection)
        elif kind == 5:
            self.decisions.create_topic(space, name, self.chance.randrange(1, 6), {}, maker=maker)
        elif kind == 6:
            topic = of.topics.get(name)
            if topic is not None and pick([True, False]):
                self.decisions.remove_queue(topic)
            elif topic is not None:
                self.decisions.add_partitions(topic, len(topic.partitions) + self.chance.randrange(3))
        elif kind in (7, 8, 9):
            self.decisions.bind_queue(space, pick(sorted(of.queues) or [name]), pick(["amq.direct", "amq.headers", other]), name, arguments, connection, maker)
        elif kind == 10:
            self.decisions.bind_exchange(space, name, other, "k", arguments, maker)
        elif kind == 11:
            for queue in self.catalogue.exclusive_queues(connection):
                self.decisions.remove_queue(queue)
        elif kind == 12:
            queue = of.queues.get(name)
            if queue is not None:
                timed = TimedDefinition(TimedPolicy(), tags={"t": "v" * self.chance.randrange(900)}, access_policy="p" * self.chance.randrange(900))
                self.decisions.check_room(queue, timed)
                self.decisions.change_timed(queue, timed)
        elif space != SPACES[0]:
            self.decisions.delete_namespace(space)
            self.decisions.create_namespace(space)

    def recounted(self):
        used, of_users = Counter(), {kind: Counter() for kind in KINDS}
        used[NAMESPACES] = len(self.catalogue.namespaces)
        for space in self.catalogue.namespaces.values():
            exchanges = [one for one in space.exchanges.values() if not one.name.startswith("amq.")]
            for one in (*exchanges, *space.queues.values(), *space.topics.values(), *space.bindings.values()):
                for kind, count in one.uses().items():
                    used[kind] += count
                    of_users[kind][one.maker] += count
        return {kind: (used[kind], {user: of_users[kind][user] for user in USERS if user}) for kind in KINDS}


@pytest.mark.parametrize("seed", range(30))
def test_what_is_declared(seed):
    run = Declaring(seed)
    for number in range(400):
        try:
            run.step()
        except Refused:
            pass
        assert counted(run.catalogue.quotas) == run.recounted()
        if number % 50 == 49:
            before = {(space.name, binding.identity): binding.maker for space in run.catalogue.namespaces.values() for binding in space.bindings.values()}
            run.start()
            assert counted(run.catalogue.quotas) == run.recounted()
            for space in run.catalogue.namespaces.values():
                assert all(binding.maker == before[space.name, binding.identity] for binding in space.bindings.values())
    for space in list(run.catalogue.namespaces.values()):
        for queue in (*list(space.queues.values()), *list(space.topics.values())):
            run.decisions.remove_queue(queue)
        for exchange in [name for name in space.exchanges if not name.startswith("amq.")]:
            run.decisions.delete_exchange(space.name, exchange)
    assert all(count == (0, dict.fromkeys(USERS[1:], 0)) for kind, count in counted(run.catalogue.quotas).items() if kind != NAMESPACES)


class Grouping:
    """Members of both kinds that come, go, fall silent and commit at random, of several users."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.bench = GroupBench(LIMITS, offsets_check_interval_ms=20_000, offsets_retention_ms=30_000, new_member_timeout_ms=5_000)
        for number in range(3):
            self.bench.topics.make(f"t{number}", 2 + number)

    def ids(self):
        return sorted({member for group in self.bench.coordinator._groups.values() for member in (*group.members, *getattr(group, "_pending", ()))})

    def step(self):
        pick, bench = self.chance.choice, self.bench
        bench.door.principal = Principal(pick(USERS[1:4]))
        group, instance = pick(["g", "h", "i"]), pick([None, None, "x", "y"])
        member = pick([*self.ids(), "m", "n"])
        protocols = [("range", bytes(self.chance.randrange(400)))]
        regex = pick([None, "t.*", "t0|t1"])
        names = [f"t{number}" for number in range(self.chance.randrange(4))] + ["u" * self.chance.randrange(1, 200)]
        kind = self.chance.randrange(14)
        if kind in (0, 1):
            bench.join(pick(["", member]), group, protocols, instance, require_known_member_id=pick([True, False]), kind=pick(["consumer", "other"]))
        elif kind in (2, 3):
            found = bench.coordinator._groups.get(("public/default", group))
            if found is not None and found.kind == "classic":
                assignments = {one: bytes(self.chance.randrange(300)) for one in self.ids()}
                for one in list(found.members):
                    bench.ask(r.SyncGroup(group, found.generation, one, found.members[one].instance_id, None, None, assignments))
        elif kind == 4:
            bench.ask(r.LeaveGroup(group, [(member, instance, "")]))
        elif kind in (5, 6):
            bench.consume(member, names, instance, group=group, regex=regex, rack=pick([None, "r" * self.chance.randrange(1, 50)]))
        elif kind == 7:
            bench.heartbeat(member, pick([-1, -1, -2]), group, instance=instance)
        elif kind == 8:
            found = bench.coordinator._groups.get(("public/default", group))
            if found is not None and found.kind == "consumer":
                for one in list(found.members.values()):
                    owned = {topic: list(partitions) for topic, partitions in one.assigned.items()}
                    bench.heartbeat(one.member_id, one.epoch, group, pick([None, names]), pick([None, regex]), owned, one.instance_id)
        elif kind in (9, 10):
            offsets = {(pick(["t0", "t1", "t2"]), self.chance.randrange(2)): r.CommittedOffset(5, -1, "x" * self.chance.randrange(500)) for _ in range(3)}
            bench.ask(r.CommitOffsets(group, -1, "", None, offsets))
        elif kind == 11:
            what = self.chance.randrange(4)
            if what == 0:
                bench.topics.delete("t2")
                bench.coordinator.topic_deleted("public/default", "t2")
                bench.topics.make("t2", 3)
            elif what == 1:
                bench.ask(r.DeleteOffsets(group, [("t0", 0), ("t1", 1)]))
            elif what == 2:
                bench.topics.grow("t1", 3 + self.chance.randrange(3))
            else:
                bench.ask(r.DeleteGroup(group))
        elif kind == 12:
            bench.run(pick([1, 6, 70]))
        bench.run(pick([0.001, 0.05, 1]))

    def recounted(self):
        used, of_users = Counter(), {kind: Counter() for kind in KINDS}

        def add(user, **counts):
            for kind, count in counts.items():
                used[WORDS[kind]] += count
                of_users[WORDS[kind]][user] += count

        coordinator = self.bench.coordinator
        assert coordinator._accounts.keys() == coordinator._groups.keys() >= coordinator._offsets.keys()
        for place, group in coordinator._groups.items():
            user = coordinator._accounts[place].user
            add(user, groups=1, members=len(group.members), metadata=sum(member.size() for member in group.members.values()))
            if group.kind == "classic":
                pending = group._pending
                assigned = sum(len(member.assignment) for member in group.members.values())
                add(user, members=len(pending), metadata=sum(map(len, pending)) + assigned)
            else:
                assert group.members or not group._known_bytes
                add(user, metadata=group._known_bytes)
            offsets = coordinator._offsets.get(place)
            for _, committed in offsets.all() if offsets is not None else ():
                add(user, offsets=1, metadata=len(committed.metadata))
        return {kind: (used[kind], {user: of_users[kind][user] for user in USERS if user}) for kind in WORDS.values()}


WORDS = {"groups": GROUPS, "members": MEMBERS, "offsets": OFFSETS, "metadata": METADATA}


@pytest.mark.parametrize("seed", range(30))
def test_what_groups_have(seed):
    run = Grouping(seed)
    for number in range(300):
        run.step()
        assert counted(run.bench.quotas, WORDS.values()) == run.recounted()
        if number % 60 == 59:
            run.bench.run(1)
            makers = {place: account.user for place, account in run.bench.coordinator._accounts.items()}
            run.bench.restart()
            assert counted(run.bench.quotas, WORDS.values()) == run.recounted()
            assert all(makers[place] == account.user for place, account in run.bench.coordinator._accounts.items())
    run.bench.run(400)
    assert counted(run.bench.quotas, WORDS.values()) == {kind: (0, dict.fromkeys(USERS[1:], 0)) for kind in WORDS.values()}
