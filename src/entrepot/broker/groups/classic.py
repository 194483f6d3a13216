"""ClassicGroup: members that agree among themselves (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), in generations.

    Empty                 a first member joins                          -> PreparingRebalance, for initial_rebalance_delay_ms
    PreparingRebalance    all members have joined, or had the time      -> CompletingRebalance; or Empty if there is none
    CompletingRebalance   the leader has handed in assignments          -> Stable
    Stable                a member comes, goes, or has other metadata   -> PreparingRebalance (from CompletingRebalance too)
    Empty                 deleted, or idle without offsets              -> Dead

A static member (one with an instance id) keeps its place while it is away: who comes with its instance id is given its assignment, and its old
member id is fenced. One that was away for a whole generation has to come back so too, even if it was only late: it may believe that it
still has what others were given since, and would say so.

What is kept: the last complete generation with its members, so that a restart disturbs nobody, and the highest
generation given out, so that it only ever grows.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from entrepot.broker.calls.group_requests import GroupDescription, Heartbeat, JoinGroup, JoinResult, LeaveGroup, SyncGroup
from entrepot.broker.calls.port import Ask, fail
from entrepot.broker.catalogue.quotas import MEMBERS, METADATA, Account
from entrepot.broker.groups.classic_member import COMPLETING, DEAD, EMPTY, PREPARING, STABLE, ClassicMember, size_of
from entrepot.broker.groups.desk import Deadline, Desk, unknown_member
from entrepot.broker.groups.kept import CLASSIC, GENERATION, KeptClassicGroup, KeptGeneration, encode, group_key
from entrepot.broker.groups.subscribed_topics import CONSUMER, subscribed_topics
from entrepot.broker.state import DELETE, GROUP_PREFIX
from entrepot.model.errors import NotDone, Reason, Refused

GENERATION_MAX = 0x7FFF_FFFF
MEMBERS_MAX = 1000  # of one such group: all of them are answered, and kept, in one go
BYTES_MAX = 8 << 20  # of what all of them say of themselves and are assigned, which is kept, and told to the leader, in one go


class ClassicGroup:
    """One group. Calls are answered through the desk, at once or later; what is wrong with one is raised as Refused."""

    kind = "classic"

    def __init__(self, desk: Desk, namespace: str, name: str, account: Account) -> None:
        self.namespace = namespace
        self.name = name
        self._desk = desk
        self._account = account
        self._shard = desk.shard(namespace, name)
        self._key = group_key(GROUP_PREFIX, namespace, name)
        # the generation
        self.state = EMPTY
        self.since_ms = desk.wall_ms()  # in this state
        self.generation = 0
        self._given_generation = 0  # the highest that anybody was ever told
        self.protocol_type = ""
        self.protocol = ""
        self.leader: str | None = None
        # members
        self.members: dict[str, ClassicMember] = {}
        self._static: dict[str, str] = {}  # instance id -> member id
        self._pending: dict[str, Deadline] = {}  # ids given out, whose members have not come back yet
        self._supported: Counter[str] = Counter()  # protocol -> members
        self._assigned_bytes = 0  # counted of assignments
        self._bytes = 0  # of all that members say of themselves and are assigned
        # the rebalance
        self._gathering = False  # within the initial delay
        self._gather_left_ms = 0
        self._came_while_gathering = False
        self._joined_count = 0  # members with a call that waits
        self._unsynced: set[str] = set()
        self._join_limit = desk.deadline(self._join_time_is_up)
        self._sync_limit = desk.deadline(self._sync_time_is_up)

    # ---- requests

    def join(self, call: Ask, request: JoinGroup) -> None:
        """See JoinGroup."""
        if request.member_id == "" or request.member_id in self._pending:
            self._check_protocols(request)
            self._check_room(request)
            self._join_new(call, request)
        else:
            member = self._member(request.member_id, request.instance_id)
            if member.is_behind:
                raise unknown_member(self.name, member.member_id)
            self._check_protocols(request)
            self._check_bytes(size_of(request.protocols) - size_of(member.protocols))
            self._join_again(call, request, member)

    def sync(self, call: Ask, request: SyncGroup) -> None:
        """See SyncGroup."""
        member = self._member(request.member_id, request.instance_id)
        self._check_generation(request.generation)
        for given, ours, what in ((request.protocol_type, self.protocol_type, "protocol type"), (request.protocol, self.protocol, "protocol")):
            if given is not None and given != ours:
                raise Refused(Reason.INCONSISTENT_GROUP, f"group '{self.name}' has {what} '{ours}', not '{given}'")
        if self.state == PREPARING:
            raise self._rebalancing()
        if self.state == COMPLETING and member.member_id == self.leader:
            self._check_bytes(self._assigned_size(request.assignments) - self._assigned_bytes)
        self._unsynced.discard(member.member_id)
        if self.state == STABLE:
            self._put_off(member)
            self._desk.answer_when_durable(call, (self.protocol_type, self.protocol, member.assignment))
            return
        self._give_up_wait(member)
        member.syncing = call
        if member.member_id == self.leader:
            self._assign(request.assignments)

    def heartbeat(self, call: Ask, request: Heartbeat) -> None:
        """See Heartbeat."""
        member = self._member(request.member_id, request.instance_id)
        self._check_generation(request.generation)
        self._put_off(member)
        if self.state == PREPARING:
            raise self._rebalancing()
        self._desk.answer(call, None)

    def leave(self, call: Ask, request: LeaveGroup) -> None:
        """See LeaveGroup."""
        answers: list[NotDone | None] = []
        gone = False
        for given_id, instance_id, _ in request.members:
            member_id = given_id
            if member_id in self._pending:
                self._forget_pending(member_id)
                answers.append(None)
                continue
            if instance_id is not None and member_id == "":
                member_id = self._static.get(instance_id, "")  # who speaks for it need not know its id
            try:
                member = self._member(member_id, instance_id)
            except NotDone as error:
                answers.append(error)
                continue
            self._remove(member, unknown_member(self.name, member_id))
            answers.append(None)
            gone = True
        if gone:
            self._rebalance_or_complete()
        elif self.state == PREPARING:
            self._complete_if_all_joined()
        self._desk.answer(call, answers)

    def check_commit(self, generation: int, member_id: str, instance_id: str | None) -> None:
        """Whether offsets may be committed so; a member that commits is there. Raises Refused."""
        if generation < 0 and self.state == EMPTY:
            return
        if generation < 0 and member_id == "" and instance_id is None:
            raise unknown_member(self.name, member_id)
        member = self._member(member_id, instance_id)
        self._check_generation(generation)
        if self.state == COMPLETING:
            raise self._rebalancing()
        self._put_off(member)

    def check_fetch(self, member_id: str, epoch: int) -> None:
        """Anybody may look at what was committed."""

    # ---- looking at it

    def describe(self) -> GroupDescription:
        """See DescribeGroup."""
        stable = self.state == STABLE
        members = [member.describe(self.protocol, stable) for member in self.members.values()]
        return GroupDescription(self.name, self.kind, self.state, self.protocol_type, self.protocol if stable else "", members, self.generation)

    @property
    def is_empty(self) -> bool:
        """No members, and nobody on the way."""
        return self.state in (EMPTY, DEAD) and not self._pending

    @property
    def highest_generation(self) -> int:
        """That anybody was ever told."""
        return max(self.generation, self._given_generation)

    def reads(self, topic: str) -> bool:
        """Whether its members may be reading `topic`: unknown ones read everything."""
        if self.protocol_type != CONSUMER:
            return bool(self.members)
        return any(member.reads(topic) for member in self.members.values())

    def close(self, gone: NotDone) -> None:
        """Its shard closes: nothing is done here any more, and who waits is told."""
        self.state = DEAD
        for deadline in (self._join_limit, self._sync_limit, *self._pending.values()):
            deadline.stop()
        for member in self.members.values():
            member.session.stop()
            for call in (member.joining, member.syncing):
                if call is not None:
                    fail(call, gone)

    def drop(self) -> None:
        """It is deleted, or becomes a group of the other kind: forget what is kept of it but the generation, which stays the highest given out."""
        self.state = DEAD
        for deadline in (self._join_limit, self._sync_limit):
            deadline.stop()
        for member_id in list(self._pending):
            self._forget_pending(member_id)
        self._desk.store.fold(self._shard, self._key + CLASSIC, DELETE)

    def forget(self) -> None:
        """drop(), and the generation too."""
        self.drop()
        self._desk.store.fold(self._shard, self._key + GENERATION, DELETE)

    # ---- joining

    def _join_new(self, call: Ask, request: JoinGroup) -> None:
        instance_id = request.instance_id
        member_id = request.member_id or self._desk.new_member_id(request.client_id if instance_id is None else instance_id)
        if member_id in self._pending:
            self._forget_pending(member_id)
        if instance_id is not None and instance_id in self._static:
            self._replace_static(call, request, self.members[self._static[instance_id]], member_id)
            return
        if instance_id is None and request.member_id == "" and request.require_known_member_id:
            pending = self._pending[member_id] = self._desk.deadline(partial(self._pending_is_gone, member_id))
            pending.put_off(request.session_timeout_ms)
            self._account.count({MEMBERS: 1, METADATA: len(member_id)})
            call.result = member_id
            raise Refused(Reason.MEMBER_ID_REQUIRED, f"come back to group '{self.name}' as member '{member_id}'")
        self._add(ClassicMember(member_id, request, self._desk.deadline(partial(self._session_is_over, member_id))), request)
        self._wait_for_generation(self.members[member_id], call)
        self.members[member_id].session.put_off(self._desk.settings.new_member_timeout_ms)
        self._came_while_gathering |= self._gathering
        self._rebalance_or_complete()

    def _join_again(self, call: Ask, request: JoinGroup, member: ClassicMember) -> None:
        same = member.protocols == request.protocols
        if same and (self.state == COMPLETING or (self.state == STABLE and member.member_id != self.leader)):
            # The answer was lost, or it only wants to know: a leader that joins again wants to assign anew.
            self._put_off(member)
            self._desk.answer_when_durable(call, self._join_result(member))
            return
        if self.state == EMPTY:
            raise unknown_member(self.name, member.member_id)
        self._update(member, request)
        self._wait_for_generation(member, call)
        self._rebalance_or_complete()

    def _replace_static(self, call: Ask, request: JoinGroup, old: ClassicMember, member_id: str) -> None:
        """Somebody comes with the instance id of `old`: it takes its place, without a rebalance if nothing changes by that."""
        fenced = Refused(Reason.FENCED_INSTANCE, f"instance '{old.instance_id}' of group '{self.name}' is member '{member_id}' now")
        was_leader = self.leader == old.member_id
        was_unsynced = old.member_id in self._unsynced
        self._remove(old, fenced)
        member = ClassicMember(member_id, request, self._desk.deadline(partial(self._session_is_over, member_id)))
        member.assignment = old.assignment
        self._count_assigned(len(member.assignment))
        member.is_new = old.is_new
        self._add(member, request)
        if was_leader:
            self.leader = member_id
        if self.state == STABLE and self._elect_protocol() == self.protocol and self._reads_the_same(old, member):
            member.is_new = False
            if was_unsynced:
                self._unsynced.add(member_id)
            self._put_off(member)
            self._keep()
            result = self._join_result(member)
            if was_leader and request.can_skip_assignment:
                result.skip_assignment = True
            elif was_leader:
                result.leader, result.members = old.member_id, []  # or else it would assign
            self._desk.answer_when_durable(call, result)
            return
        self._wait_for_generation(member, call)
        self._put_off(member)
        self._rebalance_or_complete()

    def _reads_the_same(self, old: ClassicMember, new: ClassicMember) -> bool:
        """Whether the assignment may stay as it is. What else a consumer's metadata holds, such as what it owned, changes with every start of it."""
        before, now = old.metadata(self.protocol), new.metadata(self.protocol)
        if before == now:
            return True
        topics = subscribed_topics(before) if self.protocol_type == CONSUMER else None
        return topics is not None and topics == subscribed_topics(now)

    def _join_result(self, member: ClassicMember) -> JoinResult:
        """This generation, as one of its members is told."""
        members = []
        if member.member_id == self.leader:
            members = [(other.member_id, other.instance_id, other.metadata(self.protocol)) for other in self.members.values()]
        return JoinResult(self.generation, self.protocol_type, self.protocol, self.leader or "", member.member_id, members)

    # ---- members

    def _add(self, member: ClassicMember, request: JoinGroup) -> None:
        if not self.members:
            self.protocol_type = request.protocol_type
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        if member.instance_id is not None:
            self._static[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id

    def _update(self, member: ClassicMember, request: JoinGroup) -> None:
        self._count_protocols(member, -1)
        member.update(request)
        self._count_protocols(member, 1)

    def _count_protocols(self, member: ClassicMember, change: int) -> None:
        size = change * member.size()
        self._bytes += size
        self._account.count({MEMBERS: change, METADATA: size})
        for name in {name for name, _ in member.protocols}:
            self._supported[name] += change
            if self._supported[name] == 0:
                del self._supported[name]

    def _count_assigned(self, change: int) -> None:
        self._assigned_bytes += change
        self._bytes += change
        self._account.count({METADATA: change})

    def _remove(self, member: ClassicMember, refused: Refused) -> None:
        """It is no member any more; what it waits for is refused."""
        del self.members[member.member_id]
        self._count_protocols(member, -1)
        self._count_assigned(-len(member.assignment))
        if member.instance_id is not None:
            del self._static[member.instance_id]
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), None)
        self._unsynced.discard(member.member_id)
        member.session.stop()
        self._give_up_wait(member, refused)

    def _give_up_wait(self, member: ClassicMember, refused: Refused | None = None) -> None:
        """Answer what it waits for: it has asked again, or the wait is over."""
        for call in (member.joining, member.syncing):
            if call is not None:
                fail(call, refused or self._rebalancing())
        self._joined_count -= member.joining is not None
        member.joining = member.syncing = None

    def _wait_for_generation(self, member: ClassicMember, call: Ask) -> None:
        self._give_up_wait(member)
        member.joining = call
        self._joined_count += 1

    def _put_off(self, member: ClassicMember) -> None:
        member.session.put_off(member.session_timeout_ms)

    def _session_is_over(self, member_id: str) -> None:
        member = self.members[member_id]
        if (member.joining is not None and not member.is_new) or member.syncing is not None:
            return  # it waits for us; the session starts again with the answer
        self._remove(member, unknown_member(self.name, member_id))
        self._rebalance_or_complete()

    def _pending_is_gone(self, member_id: str) -> None:
        self._forget_pending(member_id)
        if self.state == PREPARING:
            self._complete_if_all_joined()

    def _forget_pending(self, member_id: str) -> None:
        self._pending.pop(member_id).stop()
        self._account.count({MEMBERS: -1, METADATA: -len(member_id)})

    # ---- the rebalance

    def _rebalance_or_complete(self) -> None:
        if self.state == PREPARING:
            self._complete_if_all_joined()
        else:
            self._begin_rebalance()

    def _begin_rebalance(self) -> None:
        """Everybody is to join again."""
        self._sync_limit.stop()
        self._unsynced.clear()
        for member in self.members.values():
            if member.syncing is not None:
                self._give_up_wait(member)
                self._put_off(member)
        first = self.state == EMPTY
        self._enter(PREPARING)
        limit_ms = self._rebalance_timeout_ms()
        if first:
            self._gathering = True
            self._came_while_gathering = False
            delay_ms = min(self._desk.settings.initial_rebalance_delay_ms, limit_ms)
            self._gather_left_ms = limit_ms - delay_ms
            self._join_limit.put_off(delay_ms)
        else:
            self._join_limit.put_off(limit_ms)
            self._complete_if_all_joined()

    def _complete_if_all_joined(self) -> None:
        if not self._gathering and not self._pending and self._joined_count == len(self.members):
            self._complete_join()

    def _join_time_is_up(self) -> None:
        if self._gathering and self._came_while_gathering and self._gather_left_ms > 0:
            # Members still arrive: wait for more.
            self._came_while_gathering = False
            delay_ms = min(self._desk.settings.initial_rebalance_delay_ms, self._gather_left_ms)
            self._gather_left_ms -= delay_ms
            self._join_limit.put_off(delay_ms)
            return
        self._complete_join()

    def _complete_join(self) -> None:
        """The next generation is made of those who have joined; static members who have not keep their place until their session ends."""
        self._gathering = False
        self._join_limit.stop()
        for member in [member for member in self.members.values() if member.joining is None and member.instance_id is None]:
            self._remove(member, unknown_member(self.name, member.member_id))
        if self.members and self._joined_count == 0:
            self._join_limit.put_off(self._rebalance_timeout_ms())  # nobody is there to lead
            return
        highest = self.highest_generation
        self.generation = self._given_generation = 1 if highest >= GENERATION_MAX else highest + 1
        if not self.members:
            self.protocol, self.leader = "", None
            self._enter(EMPTY)
            self._keep()
            return
        if self.leader is None or self.members[self.leader].joining is None:
            self.leader = next(member.member_id for member in self.members.values() if member.joining is not None)
        self.protocol = self._elect_protocol()
        self._enter(COMPLETING)
        self._desk.store.fold(self._shard, self._key + GENERATION, encode(KeptGeneration(self.generation)))
        for member in self.members.values():
            if member.joining is not None:
                self._desk.answer_when_durable(member.joining, self._join_result(member))
                member.joining = None
                member.is_new = False
                self._put_off(member)
                self._unsynced.add(member.member_id)
            else:
                member.is_behind = True
        self._joined_count = 0
        self._sync_limit.put_off(self._rebalance_timeout_ms())

    def _assign(self, assignments: dict[str, bytes]) -> None:
        """The leader has assigned: the generation is complete."""
        self._count_assigned(self._assigned_size(assignments) - self._assigned_bytes)
        for member in self.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        self._enter(STABLE)
        self._desk.rebalance_count += 1
        self._keep()
        for member in self.members.values():
            if member.syncing is not None:
                self._desk.answer_when_durable(member.syncing, (self.protocol_type, self.protocol, member.assignment))
                member.syncing = None
                self._put_off(member)

    def _sync_time_is_up(self) -> None:
        """Who has not synced is not there."""
        if not self._unsynced:
            return
        for member_id in list(self._unsynced):
            self._remove(self.members[member_id], unknown_member(self.name, member_id))
            self._unsynced.discard(member_id)
        self._begin_rebalance()

    def _elect_protocol(self) -> str:
        """Of the protocols that all members know, the one that most prefer; the first of those in the order of members."""
        candidates = {name for name, count in self._supported.items() if count == len(self.members)}
        votes = Counter(member.first_of(candidates) for member in self.members.values())
        return votes.most_common(1)[0][0]

    def _rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def _enter(self, state: str) -> None:
        self.state = state
        self.since_ms = self._desk.wall_ms()

    # ---- checks

    def _member(self, member_id: str, instance_id: str | None) -> ClassicMember:
        """The member that speaks. Raises Refused."""
        if instance_id is not None and instance_id in self._static and self._static[instance_id] != member_id:
            raise Refused(Reason.FENCED_INSTANCE, f"instance '{instance_id}' of group '{self.name}' is another member now")
        member = self.members.get(member_id)
        if member is None or (instance_id is not None and instance_id not in self._static):
            raise unknown_member(self.name, member_id)
        return member

    def _check_generation(self, generation: int) -> None:
        if generation != self.generation:
            raise Refused(Reason.STALE_MEMBER, f"group '{self.name}' is in generation {self.generation}, not {generation}")

    def _check_protocols(self, request: JoinGroup) -> None:
        """Whether all members would still have a protocol in common."""
        names = [name for name, _ in request.protocols]
        if not names or not request.protocol_type:
            raise Refused(Reason.INCONSISTENT_GROUP, f"a member of group '{self.name}' needs a protocol type and at least one protocol")
        others = len(self.members) - (request.member_id in self.members)
        if others == 0:
            return
        if request.protocol_type != self.protocol_type:
            raise Refused(Reason.INCONSISTENT_GROUP, f"group '{self.name}' has protocol type '{self.protocol_type}', not '{request.protocol_type}'")
        own = self.members.get(request.member_id)
        mine = {name for name, _ in own.protocols} if own is not None else set()
        if not any(self._supported[name] - (name in mine) == others for name in names):
            raise Refused(Reason.INCONSISTENT_GROUP, f"no protocol of {', '.join(names)} is known to all members of group '{self.name}'")

    def _assigned_size(self, assignments: dict[str, bytes]) -> int:
        return sum(len(assignment) for member_id, assignment in assignments.items() if member_id in self.members)

    def _check_room(self, request: JoinGroup) -> None:
        """Whether one more may come."""
        member_id, instance_id = request.member_id, request.instance_id
        replaced = self.members[self._static[instance_id]] if instance_id is not None and instance_id in self._static else None
        size = size_of(request.protocols, member_id, instance_id, request.client_id, request.client_host) - (0 if replaced is None else replaced.size())
        self._account.check({MEMBERS: 0 if member_id in self._pending or replaced is not None else 1})
        self._check_bytes(size)
        if replaced is not None:
            return
        most = min(MEMBERS_MAX, self._desk.settings.members_max)
        if len(self.members) + len(self._pending) - (member_id in self._pending) >= most:
            raise Refused(Reason.LIMIT, f"group '{self.name}' has {most} members, as many as it may")

    def _check_bytes(self, more: int) -> None:
        """Whether members may say, or be assigned, so much more."""
        self._account.check({METADATA: more})
        if more > 0 and self._bytes + more > BYTES_MAX:
            raise Refused(Reason.LIMIT, f"members of group '{self.name}' say and are assigned {self._bytes + more} bytes: {BYTES_MAX} are allowed")

    def _rebalancing(self) -> Refused:
        return Refused(Reason.REBALANCING, f"group '{self.name}' rebalances: join it again")

    # ---- what is kept

    def _keep(self) -> None:
        members = [member.kept() for member in self.members.values()]
        kept = KeptClassicGroup(self.generation, self.protocol_type, self.protocol, self.leader, self.since_ms, members)
        self._desk.store.fold(self._shard, self._key + CLASSIC, encode(kept))

    def restore(self, kept: KeptClassicGroup) -> None:
        """As it was when it was kept; the sessions of its members start again."""
        self.generation = kept.generation
        self._given_generation = max(self._given_generation, kept.generation)
        self.protocol_type = kept.protocol_type
        self.protocol = kept.protocol
        self.since_ms = kept.since_ms
        for one in kept.members:
            member = ClassicMember.of_kept(one, self._desk.deadline(partial(self._session_is_over, one.member_id)))
            self.members[member.member_id] = member
            self._count_protocols(member, 1)
            if member.instance_id is not None:
                self._static[member.instance_id] = member.member_id
            self._put_off(member)
            self._count_assigned(len(member.assignment))
        self.leader = kept.leader
        self.state = STABLE if self.members else EMPTY

    def restore_generation(self, kept: KeptGeneration) -> None:
        """A generation up to this was given out, whatever became of it: the next is a higher one."""
        self._given_generation = kept.generation
