"""GroupCoordinator: the table of a broker's groups, and what the requests of broker/calls/group_requests.py do.

A group comes to be with its first member or its first offset. It is forgotten when it is deleted, or when it has neither: offsets of a
group without members expire after a time, and are deleted with their topic. A group of one kind becomes one of the other when it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from entrepot.broker.calls import group_requests as requests
from entrepot.broker.calls.port import Ask, fail
from entrepot.broker.catalogue.quotas import GROUPS, NOBODY, OFFSETS, Account
from entrepot.broker.groups.classic import ClassicGroup
from entrepot.broker.groups.consumer import JOIN, ConsumerGroup, check_heartbeat
from entrepot.broker.groups.desk import Desk, unknown_member
from entrepot.broker.groups.kept import (
    CLASSIC,
    EPOCHS,
    GENERATION,
    MAKER,
    MEMBER,
    KeptClassicGroup,
    KeptEpochs,
    KeptGeneration,
    KeptMaker,
    KeptMember,
    decode,
    decode_offset,
    encode,
    group_key,
    scan,
    split_key,
    split_offset,
)
from entrepot.broker.groups.offsets import FORGETTING_STEPS, GroupOffsets
from entrepot.broker.groups.subscribed_topics import CONSUMER
from entrepot.broker.groups.sweep import AnyGroup, GroupKey, Sweep
from entrepot.broker.groups.topics import Topics
from entrepot.broker.groups.work import Pieces
from entrepot.broker.state import DELETE, GROUP_PREFIX, OFFSET_PREFIX
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import CorruptData, EntrepotError, NotDone, OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.model.names import check_name

ID_SIZE_MAX = 1_024  # characters of a member's, an instance's or a client's id
SUBSCRIBED_MAX = 4000  # topics that a member may name in a heartbeat
EXPRESSION_STEPS = 2000  # of a microsecond: to compile an expression may take some milliseconds
LOOKED_AT_ONCE = 64  # groups that are listed, or members of one, between two looks at what it costs
FETCHED_AT_ONCE = 512  # offsets of a group that are told,
FORGOTTEN_AT_ONCE = 200  # and that are forgotten, in one go


class GroupCoordinator:
    """All groups of a broker."""

    def __init__(self, desk: Desk, topics: Topics, authorizer: Any) -> None:
        self._desk = desk
        self._topics = topics
        self._authorizer = authorizer
        self._groups: dict[GroupKey, AnyGroup] = {}
        self._accounts: dict[GroupKey, Account] = {}
        self._offsets: dict[GroupKey, GroupOffsets] = {}
        self._sweep = Sweep(desk, self._groups, self._offsets, self._forget)
        self._away: set[int] = set()  # shards that are not open here

    # ---- life

    def begin_closed(self, shards: Iterable[int]) -> None:
        """At the start: these are not open here."""
        self._away.update(shards)

    def load(self, shards: Sequence[int] | None = None) -> None:
        """Take in what is kept, as shards open (None: all). Raises CorruptData."""
        before = set(self._groups)
        shards = range(self._desk.shards.count) if shards is None else shards
        for key, value in scan(self._desk.store, shards, GROUP_PREFIX):
            namespace, name, rest = split_key(key)
            kind = rest[:1]
            if kind in (CLASSIC, GENERATION):
                self._restore_classic(namespace, name, kind, key, value)
            elif kind in (EPOCHS, MEMBER):
                self._restore_consumer(namespace, name, rest, key, value)
            elif kind == MAKER:
                self._account(namespace, name).move_to(decode(key, value, KeptMaker).user)
            else:
                raise CorruptData(f"group state {key!r} is of no kind this version knows")
        for place, group in self._groups.items():
            if isinstance(group, ConsumerGroup) and place not in before:
                group.restored()
        for key, value in scan(self._desk.store, shards, OFFSET_PREFIX):
            namespace, name, rest = split_key(key)
            if (namespace, name) not in self._groups:
                self._groups[namespace, name] = ClassicGroup(self._desk, namespace, name, self._account(namespace, name))
            self._restore_offset(namespace, name, *split_offset(rest), *decode_offset(key, value))
        for place in self._accounts.keys() - self._groups.keys():  # nothing is left of it but who made it
            self._close_account(*place)
        if self._groups:
            self._sweep.later()
        self._away.difference_update(shards)

    def unload(self, shard: int) -> None:
        """A shard closes: nothing of its groups is known here any more, and who waits for one is told."""
        for place in [place for place in self._groups if self._desk.shard(*place) == shard]:
            self._groups.pop(place).close(_gone(place[1]))
            offsets = self._offsets.pop(place, None)
            if offsets is not None:
                offsets.close()
            self._accounts.pop(place).close()
        self._away.add(shard)

    def perform(self, call: Ask) -> None:
        """Carry out one request; its call is answered at once or later. Raises Refused, and Unavailable where the group's shard is not open here."""
        name = getattr(call.request, "group", None) if self._away else None
        if name is not None and self._desk.shard(call.attachment.namespace, name) in self._away:
            raise _gone(name)
        HANDLERS[type(call.request)](self, call, call.request)

    def topics_changed(self, namespace: str) -> None:
        """Topics were made or deleted, or have more partitions: groups that read them are assigned anew."""
        self._topics.changed(namespace)

    def topic_deleted(self, namespace: str, topic: str) -> None:
        """Its offsets go with it, in the same commit."""
        for offsets in list(self._desk.holders.get((namespace, topic), ())):
            offsets.delete_topic(topic)
        self._topics.changed(namespace)

    def holds_many(self, namespace: str, topic: str, most: int) -> bool:
        """Whether more than `most` offsets of a topic are committed."""
        held = 0
        for offsets in self._desk.holders.get((namespace, topic), ()):
            held += len(offsets.table[topic])
            if held > most:
                return True
        return False

    def thin_out(self, namespace: str, topic: str, count: int) -> bool:
        """Forget at most `count` offsets of a topic that is to be deleted; whether more than that are left."""
        left = count
        for offsets in list(islice(self._desk.holders.get((namespace, topic), ()), count)):
            left -= offsets.thin_out(left, (topic,))
            if left == 0:
                break
        return self.holds_many(namespace, topic, count)

    def places(self) -> list[GroupKey]:
        """Namespace and name of every group there is now."""
        return list(self._groups)

    def maybe_group(self, namespace: str, name: str) -> tuple[AnyGroup, GroupOffsets | None] | None:
        """A group, and what it has committed; None: there is none of that name."""
        group = self._groups.get((namespace, name))
        return None if group is None else (group, self._offsets.get((namespace, name)))

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {
            "groups": len(self._groups),
            "group_members": sum(len(group.members) for group in self._groups.values()),
            "group_rebalances_total": self._desk.rebalance_count,
            "offsets": self._desk.quotas.used(OFFSETS),
            "offsets_committed_total": self._desk.committed_count,
        }

    # ---- groups whose members agree among themselves

    def join_group(self, call: Ask, request: requests.JoinGroup) -> None:
        """See JoinGroup."""
        self._check_group(call, request.group)
        settings = self._desk.settings
        if not settings.session_timeout_min_ms <= request.session_timeout_ms <= settings.session_timeout_max_ms:
            raise Refused(
                Reason.INVALID_SESSION_TIMEOUT,
                f"session timeout of {request.session_timeout_ms} ms is not within {settings.session_timeout_min_ms} and {settings.session_timeout_max_ms} ms",
            )
        self._check_size(sum(len(name) + len(metadata) for name, metadata in request.protocols), "the protocols of a member")
        self._check_ids(request.member_id, request.instance_id, request.client_id, request.protocol_type)
        group = self._classic(call, request.group)
        if group is not None:
            group.join(call, request)
            return
        if request.member_id:
            raise unknown_member(request.group, request.member_id)
        group = self._new_classic_group(call, request.group)
        try:
            group.join(call, request)
        except NotDone:
            self._forget_unused(group)
            raise

    def sync_group(self, call: Ask, request: requests.SyncGroup) -> None:
        """See SyncGroup."""
        self._check_group(call, request.group)
        self._check_size(max((len(assignment) for assignment in request.assignments.values()), default=0), "the assignment of a member")
        self._member_of_classic(call, request).sync(call, request)

    def heartbeat(self, call: Ask, request: requests.Heartbeat) -> None:
        """See Heartbeat."""
        self._check_group(call, request.group)
        self._member_of_classic(call, request).heartbeat(call, request)

    def leave_group(self, call: Ask, request: requests.LeaveGroup) -> None:
        """See LeaveGroup."""
        self._check_group(call, request.group)
        group = self._find(call, request.group)
        if isinstance(group, ClassicGroup):
            group.leave(call, request)
        else:
            self._desk.answer(call, [unknown_member(request.group, member_id) for member_id, _, _ in request.members])

    # ---- groups whose coordinator assigns

    def consumer_heartbeat(self, call: Ask, request: requests.ConsumerHeartbeat) -> None:
        """See ConsumerHeartbeat."""
        self._check_group(call, request.group)
        names = request.subscribed_names
        if names is not None:
            if len(names) > SUBSCRIBED_MAX:
                raise Refused(Reason.INVALID, f"a member may name {SUBSCRIBED_MAX} topics, not {len(names)}; a pattern may mean more")
            self._check_size(sum(map(len, names)), "the subscription of a member")
            for name in names:
                if not self._may_read(call, name):
                    raise self._topic_refusal(call, name)
        if request.subscribed_regex:
            call.attachment.spent += EXPRESSION_STEPS
        check_heartbeat(request)
        self._check_ids(request.member_id, request.instance_id, request.client_id, request.rack_id)
        group = self._find(call, request.group)
        if request.member_epoch == JOIN and not isinstance(group, ConsumerGroup):
            group = self._new_consumer_group(call, request.group, group)
        if not isinstance(group, ConsumerGroup):
            raise unknown_member(request.group, request.member_id)
        group.heartbeat(call, request)

    # ---- offsets

    def commit_offsets(self, call: Ask, request: requests.CommitOffsets) -> None:
        """See CommitOffsets. The topics come first: where none of them is left, the group is not asked, nor made."""
        self._check_group(call, request.group, allow_empty=True)
        refused: dict[tuple[str, int], EntrepotError] = {}
        last_topic, topic_refused, topic_id, partition_count = "", None, b"", 0
        topic_ids: dict[str, bytes] = {}
        for place in request.offsets:
            topic, partition = place
            if topic != last_topic:
                last_topic = topic
                topic_refused, topic_id, partition_count = self._topic_for(call, topic)
                topic_ids[topic] = topic_id
            if topic_refused is not None:
                refused[place] = topic_refused
            elif not 0 <= partition < partition_count:
                refused[place] = Refused(Reason.NOT_FOUND, f"topic '{topic}' has no partition {partition}")
        if len(refused) == len(request.offsets):
            self._desk.answer(call, refused)
            return
        found = self._find(call, request.group)
        self._check_commit(call, request)
        offsets = self._offsets_of(call.attachment.namespace, request.group)
        now_ms = self._desk.wall_ms()
        metadata_max = self._desk.settings.offset_metadata_bytes
        for place, committed in request.offsets.items():
            if place in refused:
                continue
            if len(committed.metadata) > metadata_max:
                refused[place] = Refused(Reason.TOO_LARGE, f"metadata of an offset is limited to {metadata_max} bytes")
                continue
            committed.time_ms = now_ms
            topic, partition = place
            try:
                if topic not in offsets.table:
                    self._topics.note(offsets.shard)
                offsets.commit(topic, topic_ids[topic], partition, committed)
            except NotDone as error:
                refused[place] = error
        if found is None:
            self._forget_unused(self._must_find(call, request.group))
        self._desk.committed_count += len(request.offsets) - len(refused)
        self._desk.answer_when_durable(call, refused)

    def _check_commit(self, call: Ask, request: requests.CommitOffsets) -> None:
        """Whether the group takes offsets so; one that is not there comes to be if the client is none of its members. Raises Refused."""
        group = self._find(call, request.group)
        if group is not None:
            group.check_commit(request.generation, request.member_id, request.instance_id)
        elif request.generation >= 0:
            raise Refused(Reason.NOT_FOUND, f"no group '{request.group}', and so no generation {request.generation} of it")
        else:
            self._new_classic_group(call, request.group)

    def fetch_offsets(self, call: Ask, request: requests.FetchOffsets) -> None:
        """See FetchOffsets. Answered when everything committed so far is durable: what is lost with the power was never seen."""
        self._check_group(call, request.group, allow_empty=True)
        group = self._find(call, request.group)
        if group is not None and (request.member_id is not None or request.member_epoch >= 0):
            group.check_fetch(request.member_id or "", request.member_epoch)
        offsets = self._offsets.get((call.attachment.namespace, request.group))
        result: dict[tuple[str, int], requests.CommittedOffset | EntrepotError] = {}
        if request.partitions is None:
            if offsets is not None:
                self._desk.work.run(self._fetching(call, offsets))
                return
        else:
            for topic, partition in request.partitions:
                if not self._may_read(call, topic):
                    result[topic, partition] = self._topic_refusal(call, topic)
                else:
                    result[topic, partition] = requests.CommittedOffset(-1) if offsets is None else offsets.get(topic, partition)
        self._desk.answer_when_durable(call, result)

    def _fetching(self, call: Ask, offsets: GroupOffsets) -> Pieces:
        """All that a group has committed, of topics that may be read."""
        result: dict[tuple[str, int], requests.CommittedOffset | EntrepotError] = {}
        for topic in list(offsets.table):
            if self._may_read(call, topic):
                partitions = list(offsets.table.get(topic, {}).items())
                for start in range(0, len(partitions), FETCHED_AT_ONCE):
                    result.update({(topic, partition): committed for partition, committed in partitions[start : start + FETCHED_AT_ONCE]})
                    yield len(partitions[start : start + FETCHED_AT_ONCE]) // 2
            yield 1
        if offsets.closed:  # whatever is missing from the result then
            fail(call, _gone(call.request.group))
        else:
            self._desk.answer_when_durable(call, result)

    def delete_offsets(self, call: Ask, request: requests.DeleteOffsets) -> None:
        """See DeleteOffsets."""
        self._check_group(call, request.group)
        group = self._must_find(call, request.group)
        if isinstance(group, ClassicGroup) and group.members and group.protocol_type != CONSUMER:
            raise Refused(Reason.NOT_EMPTY, f"group '{request.group}' has members")
        offsets = self._offsets_of(call.attachment.namespace, request.group)
        result: dict[tuple[str, int], EntrepotError | None] = {}
        for topic, partition in request.partitions:
            refused, _, _ = self._topic_for(call, topic)
            if refused is None and group.reads(topic):
                refused = Refused(Reason.IN_USE, f"group '{request.group}' reads topic '{topic}'")
            result[topic, partition] = refused
            if refused is None:
                offsets.delete(topic, partition)
        self._desk.answer_when_durable(call, result)

    # ---- looking at groups

    def list_groups(self, call: Ask, request: requests.ListGroups) -> None:
        """See ListGroups."""
        self._desk.work.run(self._listing(call, request))

    def _listing(self, call: Ask, request: requests.ListGroups) -> Pieces:
        states = {state.lower() for state in request.states}
        kinds = {kind.lower() for kind in request.kinds}
        here = call.attachment
        listed = []
        steps = 0
        for place, group in list(self._groups.items()):
            steps += 3 + len(group.members) // LOOKED_AT_ONCE
            if steps >= LOOKED_AT_ONCE:
                yield steps
                steps = 0
            if self._groups.get(place) is group and group.namespace == here.namespace and (not kinds or group.kind in kinds):
                state = group.state
                if (not states or state.lower() in states) and self._authorizer.may(here.principal, Action.READ, group.namespace, group.name):
                    listed.append((group.name, group.protocol_type, state, group.kind))
        yield steps
        self._desk.answer(call, listed)

    def describe_group(self, call: Ask, request: requests.DescribeGroup) -> None:
        """See DescribeGroup."""
        self._check_group(call, request.group, allow_empty=True)
        self._desk.answer(call, self._must_find(call, request.group).describe())

    def delete_group(self, call: Ask, request: requests.DeleteGroup) -> None:
        """See DeleteGroup."""
        self._check_group(call, request.group, Action.CONFIGURE, allow_empty=True)
        group = self._must_find(call, request.group)
        if not group.is_empty:
            raise Refused(Reason.NOT_EMPTY, f"group '{request.group}' has members")
        offsets = self._offsets.get((group.namespace, group.name))
        if offsets is not None and offsets.count > FORGOTTEN_AT_ONCE:
            self._desk.work.run(self._deleting(call, offsets))
            return
        self._forget(group)
        self._desk.answer_when_durable(call, None)

    def _deleting(self, call: Ask, offsets: GroupOffsets) -> Pieces:
        """Forget many offsets of a group over turns, and then the group, wherever it is by then. Its client has not been told that anything is gone before."""
        while offsets.count > FORGOTTEN_AT_ONCE:
            yield FORGETTING_STEPS * offsets.thin_out(FORGOTTEN_AT_ONCE)
        try:
            self.perform(call)
        except Unavailable as error:  # with some of them gone
            fail(call, OutcomeUnknown(str(error)))
        except NotDone as error:
            fail(call, error)

    # ---- the table

    def _find(self, call: Ask, name: str) -> AnyGroup | None:
        return self._groups.get((call.attachment.namespace, name))

    def _must_find(self, call: Ask, name: str) -> AnyGroup:
        group = self._find(call, name)
        if group is None:
            raise Refused(Reason.NOT_FOUND, f"no group '{name}'")
        return group

    def _classic(self, call: Ask, name: str) -> ClassicGroup | None:
        """The group of that name, if it may be one whose members agree among themselves; an empty one of the other kind becomes one."""
        group = self._find(call, name)
        if not isinstance(group, ConsumerGroup):
            return group
        if not group.is_empty:
            raise Refused(Reason.INCONSISTENT_GROUP, f"group '{name}' has members of the consumer protocol")
        group.drop()
        classic = self._groups[group.namespace, name] = ClassicGroup(self._desk, group.namespace, name, self._account(group.namespace, name))
        classic.restore_generation(KeptGeneration(group.epoch))
        return classic

    def _new_consumer_group(self, call: Ask, name: str, classic: ClassicGroup | None) -> ConsumerGroup:
        """A group whose coordinator assigns, in place of an empty one of the other kind, if there is one."""
        epoch = 0
        if classic is not None:
            if not classic.is_empty:
                raise Refused(Reason.INCONSISTENT_GROUP, f"group '{name}' has members of the classic protocol")
            epoch = classic.highest_generation
        namespace = call.attachment.namespace
        if classic is not None:
            classic.forget()
            account = self._account(namespace, name)
        else:
            account = self._open_account(call, name)
        group = self._groups[namespace, name] = ConsumerGroup(self._desk, self._topics, self._authorizer, namespace, name, account, epoch)
        group.when_unused = self._forget_unused
        return group

    def _new_classic_group(self, call: Ask, name: str) -> ClassicGroup:
        """A new one, whose members agree among themselves. Raises Refused."""
        namespace = call.attachment.namespace
        group = self._groups[namespace, name] = ClassicGroup(self._desk, namespace, name, self._open_account(call, name))
        return group

    def _member_of_classic(self, call: Ask, request: requests.SyncGroup | requests.Heartbeat) -> ClassicGroup:
        group = self._find(call, request.group)
        if not isinstance(group, ClassicGroup):
            raise unknown_member(request.group, request.member_id)
        return group

    # ---- who made them

    def _open_account(self, call: Ask, name: str) -> Account:
        """That of a new group, which is its maker's. Raises Refused."""
        namespace, user = call.attachment.namespace, call.attachment.principal.name
        account = Account(self._desk.quotas, user)
        account.take({GROUPS: 1})
        self._accounts[namespace, name] = account
        self._desk.store.fold(self._desk.shard(namespace, name), group_key(GROUP_PREFIX, namespace, name) + MAKER, encode(KeptMaker(user)))
        self._sweep.later()
        return account

    def _account(self, namespace: str, name: str) -> Account:
        """Of a group that is there, or is taken in."""
        account = self._accounts.get((namespace, name))
        if account is None:
            account = self._accounts[namespace, name] = Account(self._desk.quotas, NOBODY)
            account.count({GROUPS: 1})
        return account

    def _close_account(self, namespace: str, name: str) -> None:
        self._accounts.pop((namespace, name)).close()
        self._desk.store.fold(self._desk.shard(namespace, name), group_key(GROUP_PREFIX, namespace, name) + MAKER, DELETE)

    # ---- what was kept

    def _restore_classic(self, namespace: str, name: str, kind: bytes, key: bytes, value: bytes) -> None:
        group = self._groups.get((namespace, name))
        if group is None:
            group = self._groups[namespace, name] = ClassicGroup(self._desk, namespace, name, self._account(namespace, name))
        if not isinstance(group, ClassicGroup):
            raise CorruptData(f"group '{name}' of {namespace} is kept as being of both kinds")
        if kind == CLASSIC:
            group.restore(decode(key, value, KeptClassicGroup))
        else:
            group.restore_generation(decode(key, value, KeptGeneration))

    def _restore_consumer(self, namespace: str, name: str, rest: bytes, key: bytes, value: bytes) -> None:
        group = self._groups.get((namespace, name))
        if group is None:
            account = self._account(namespace, name)
            group = self._groups[namespace, name] = ConsumerGroup(self._desk, self._topics, self._authorizer, namespace, name, account)
        if not isinstance(group, ConsumerGroup):
            raise CorruptData(f"group '{name}' of {namespace} is kept as being of both kinds")
        if rest[:1] == EPOCHS:
            group.restore_epochs(decode(key, value, KeptEpochs))
        else:
            group.restore_member(rest[1:].decode(), decode(key, value, KeptMember))

    def _restore_offset(self, namespace: str, name: str, topic: str, partition: int, committed: requests.CommittedOffset, topic_id: bytes) -> None:
        """Take in an offset, unless its topic has been deleted, and perhaps made again, while the shard was elsewhere."""
        offsets = self._offsets_of(namespace, name)
        facts = self._topics.find(namespace, topic)
        if facts is not None and topic_id in (facts.id, b""):
            offsets.restore(topic, facts.id, partition, committed)
        else:
            offsets.drop(topic, partition)

    def _offsets_of(self, namespace: str, name: str) -> GroupOffsets:
        offsets = self._offsets.get((namespace, name))
        if offsets is None:
            offsets = self._offsets[namespace, name] = GroupOffsets(self._desk, namespace, name, self._account(namespace, name))
        return offsets

    def _forget(self, group: AnyGroup) -> None:
        key = group.namespace, group.name
        del self._groups[key]
        group.forget()
        offsets = self._offsets.pop(key, None)
        if offsets is not None:
            offsets.delete_all()
        self._close_account(*key)

    def _forget_unused(self, group: AnyGroup) -> None:
        """A group that was made now is none where all was refused that it was made for: its name would be its maker's."""
        offsets = self._offsets.get((group.namespace, group.name))
        if group.is_empty and (offsets is None or not offsets.table):
            self._forget(group)

    # ---- checks

    def _check_group(self, call: Ask, name: str, action: Action = Action.READ, *, allow_empty: bool = False) -> None:
        """Whether that may be a group's name, and the principal may do that to it. The empty name is that of a group that nobody can join."""
        if name or not allow_empty:
            try:
                check_name("group", name)
            except Refused as refused:
                raise Refused(Reason.INVALID_GROUP, str(refused)) from None
        here = call.attachment
        self._authorizer.authorize(here.principal, action, here.namespace, ResourceKind.GROUP, name)

    def _check_size(self, size: int, what: str) -> None:
        most = self._desk.settings.metadata_bytes_max
        if size > most:
            raise Refused(Reason.INVALID, f"{what} may have {most} bytes, not {size}")

    @staticmethod
    def _check_ids(*ids: str | None) -> None:
        """What is kept of every member must have an end."""
        longest = max(len(one or "") for one in ids)
        if longest > ID_SIZE_MAX:
            raise Refused(Reason.INVALID, f"ids of members may have {ID_SIZE_MAX} characters, not {longest}")

    def _may_read(self, call: Ask, topic: str) -> bool:
        here = call.attachment
        answer: bool = self._authorizer.may(here.principal, Action.READ, here.namespace, topic)
        return answer

    def _topic_refusal(self, call: Ask, topic: str) -> Refused:
        return Refused(Reason.NOT_PERMITTED, f"access to topic '{topic}' refused for user '{call.attachment.principal.name}'")

    def _topic_for(self, call: Ask, topic: str) -> tuple[Refused | None, bytes, int]:
        """Why this topic's offsets may not be changed, or its id and number of partitions."""
        if not self._may_read(call, topic):
            return self._topic_refusal(call, topic), b"", 0
        facts = self._topics.find(call.attachment.namespace, topic)
        if facts is None:
            return Refused(Reason.NOT_FOUND, f"no topic '{topic}'"), b"", 0
        return None, facts.id, facts.partition_count


def _gone(name: str) -> Unavailable:
    return Unavailable(f"group '{name}' is on its way to another coordinator")


HANDLERS: dict[type, Callable[[GroupCoordinator, Ask, Any], None]] = {
    requests.JoinGroup: GroupCoordinator.join_group,
    requests.SyncGroup: GroupCoordinator.sync_group,
    requests.Heartbeat: GroupCoordinator.heartbeat,
    requests.LeaveGroup: GroupCoordinator.leave_group,
    requests.ConsumerHeartbeat: GroupCoordinator.consumer_heartbeat,
    requests.CommitOffsets: GroupCoordinator.commit_offsets,
    requests.FetchOffsets: GroupCoordinator.fetch_offsets,
    requests.DeleteOffsets: GroupCoordinator.delete_offsets,
    requests.ListGroups: GroupCoordinator.list_groups,
    requests.DescribeGroup: GroupCoordinator.describe_group,
    requests.DeleteGroup: GroupCoordinator.delete_group,
}
