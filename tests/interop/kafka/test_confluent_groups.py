"""confluent-kafka (librdkafka): consumer groups, with the classic protocol and with the one whose coordinator assigns (group.protocol=consumer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from kafka_messages import DEADLINE_S, consumer, nothing_more, produce, take, wait_until

NewTopicName = Callable[..., str]
BOTH = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def assigned(one: Consumer) -> set[int]:
    return {part.partition for part in one.assignment()}


def settled(*members: Consumer, partitions: int) -> Callable[[], bool]:
    """Whether the members have all partitions among them, each one owner, nobody none."""

    def is_settled() -> bool:
        shares = [assigned(member) for member in members]
        return all(shares) and sum(map(len, shares)) == partitions and set().union(*shares) == set(range(partitions))

    return is_settled


def poll_all(*members: Consumer) -> Callable[[], None]:
    """Serve every member for a moment; what comes is dropped."""

    def poll() -> None:
        for member in members:
            member.poll(0.05)

    return poll


def committed(one: Consumer, topic: str, partitions: int) -> list[int]:
    return [part.offset for part in one.committed([TopicPartition(topic, n) for n in range(partitions)], timeout=DEADLINE_S)]


@BOTH
def test_commit_and_resume(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(100)])
    with consumer(bootstrap, group, group_protocol=protocol) as one:
        one.subscribe([name])
        taken = take(one, 40)
        assert taken[-1].value() == b"39"
        one.commit(taken[-1], asynchronous=False)
        take(one, 10)  # not committed
    with consumer(bootstrap, group, group_protocol=protocol) as two:
        two.subscribe([name])
        assert [message.value() for message in take(two, 60)] == [b"%d" % n for n in range(40, 100)]
        two.commit(asynchronous=False)
        assert committed(two, name, 1) == [100]
    with consumer(bootstrap, group, group_protocol=protocol) as three:
        three.subscribe([name])
        wait_until(lambda: assigned(three), "an assignment", poll=poll_all(three))
        assert nothing_more(three)


@BOTH
def test_automatic_commits_at_close(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(20)])
    with consumer(bootstrap, group, group_protocol=protocol, enable_auto_commit=True) as one:
        one.subscribe([name])
        take(one, 7)
    with consumer(bootstrap, group, group_protocol=protocol) as two:
        assert committed(two, name, 1) == [7]


@BOTH
def test_members_share_partitions(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    name = topic(4)
    with consumer(bootstrap, group, group_protocol=protocol) as one, consumer(bootstrap, group, group_protocol=protocol) as two:
        one.subscribe([name])
        wait_until(settled(one, partitions=4), "all partitions for the first", poll=poll_all(one))
        two.subscribe([name])
        wait_until(settled(one, two, partitions=4), "a partition for each", poll=poll_all(one, two))
        assert len(assigned(one)) == len(assigned(two)) == 2
        for partition in range(4):
            produce(bootstrap, name, [b"%d" % partition], partition=partition)
        for member in (one, two):
            mine = assigned(member)
            assert {message.partition() for message in take(member, 2)} == mine
        two.unsubscribe()
        wait_until(settled(one, partitions=4), "all partitions for the one that stays", poll=poll_all(one, two))


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_strategies(bootstrap: str, topic: NewTopicName, group: str, strategy: str) -> None:
    names = [topic(3), topic(3)]
    revoked: list[TopicPartition] = []
    with (
        consumer(bootstrap, group, partition_assignment_strategy=strategy) as one,
        consumer(bootstrap, group, partition_assignment_strategy=strategy) as two,
    ):
        one.subscribe(names, on_revoke=lambda _, parts: revoked.extend(parts))
        wait_until(lambda: len(one.assignment()) == 6, "everything for the first", poll=poll_all(one))
        two.subscribe(names)
        wait_until(lambda: two.assignment() and len(one.assignment()) + len(two.assignment()) == 6, "a share for each", poll=poll_all(one, two))
        shares = [{(part.topic, part.partition) for part in member.assignment()} for member in (one, two)]
        assert not shares[0] & shares[1]
        assert {len(share) for share in shares} == ({2, 4} if strategy == "range" else {3})
        # eager members give everything back first, cooperative ones what moves
        assert len(revoked) == (3 if strategy == "cooperative-sticky" else 6)


@BOTH
def test_a_static_member_comes_back_to_its_partitions(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    name = topic(4)
    options = {"group_protocol": protocol}
    rebalances: list[Any] = []
    with consumer(bootstrap, group, group_instance_id="one", **options) as one:
        with consumer(bootstrap, group, group_instance_id="two", **options) as two:
            for member in (one, two):
                member.subscribe([name])
            wait_until(settled(one, two, partitions=4), "a share for each", poll=poll_all(one, two))
            kept = assigned(one), assigned(two)
        one.poll(0.2)
        assert assigned(one) == kept[0], "a static member's partitions wait for it"
        one.unsubscribe()
        one.subscribe([name], on_assign=lambda _, parts: rebalances.append(parts))
        with consumer(bootstrap, group, group_instance_id="two", **options) as again:
            again.subscribe([name])
            wait_until(lambda: (assigned(one), assigned(again)) == kept, "the same shares as before", poll=poll_all(one, again))


@BOTH
def test_a_second_of_one_instance_fences_the_first(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    """Classic: the newcomer wins; with the new protocol it is turned away while the first is there."""
    name = topic()
    with consumer(bootstrap, group, group_protocol=protocol, group_instance_id="same") as one:
        one.subscribe([name])
        wait_until(settled(one, partitions=1), poll=poll_all(one))
        with consumer(bootstrap, group, group_protocol=protocol, group_instance_id="same") as two:
            two.subscribe([name])
            loser, code = (one, KafkaError.FENCED_INSTANCE_ID) if protocol == "classic" else (two, KafkaError.UNRELEASED_INSTANCE_ID)
            errors: list[int] = []

            def poll() -> None:
                for member in (one, two):
                    message = member.poll(0.05)
                    if message is not None and message.error():
                        assert member is loser
                        errors.append(message.error().code())

            wait_until(lambda: any(error in (code, KafkaError._FATAL) for error in errors), "the loser's error", poll=poll)


@BOTH
def test_a_subscription_by_pattern(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    names = sorted(topic(2) for _ in range(2))
    prefix = "^interop\\.(" + "|".join(name.removeprefix("interop.") for name in names) + ")$"
    with consumer(bootstrap, group, group_protocol=protocol) as one:
        one.subscribe([prefix])
        wait_until(lambda: len(one.assignment()) == 4, "both topics", poll=poll_all(one))
        assert sorted({part.topic for part in one.assignment()}) == names


@BOTH
def test_partitions_that_are_added_are_assigned(bootstrap: str, topic: NewTopicName, group: str, admin: AdminClient, protocol: str) -> None:
    from confluent_kafka.admin import NewPartitions

    name = topic(1)
    with consumer(bootstrap, group, group_protocol=protocol, topic_metadata_refresh_interval_ms=200) as one:
        one.subscribe([name])
        wait_until(settled(one, partitions=1), poll=poll_all(one))
        admin.create_partitions([NewPartitions(name, 3)])[name].result(DEADLINE_S)
        wait_until(settled(one, partitions=3), "the new partitions", poll=poll_all(one))


def test_commits_with_metadata_and_from_outside(bootstrap: str, topic: NewTopicName, group: str) -> None:
    name = topic(2)
    produce(bootstrap, name, [b"%d" % n for n in range(10)], partition=0)
    with consumer(bootstrap, group) as one:
        one.assign([TopicPartition(name, 0), TopicPartition(name, 1)])
        one.commit(offsets=[TopicPartition(name, 0, 4, "what for")], asynchronous=False)
        parts = one.committed([TopicPartition(name, 0), TopicPartition(name, 1)], timeout=DEADLINE_S)
        assert [(part.offset, part.metadata) for part in parts] == [(4, "what for"), (-1001, None)]
        one.assign([TopicPartition(name, 0)])  # from what was committed
        assert take(one, 1)[0].value() == b"4"


@BOTH
def test_who_assigns_by_itself_commits(bootstrap: str, topic: NewTopicName, group: str, protocol: str) -> None:
    """Without ever joining: librdkafka says a member id of its own with epoch -1, where the broker is to assign."""
    name = topic(2)
    produce(bootstrap, name, [b"%d" % n for n in range(10)], partition=1)
    with consumer(bootstrap, group, group_protocol=protocol) as one:
        one.assign([TopicPartition(name, 1, 0)])
        take(one, 10)
        one.commit(asynchronous=False)
        one.commit(offsets=[TopicPartition(name, 0, 3)], asynchronous=False)
    with consumer(bootstrap, group, group_protocol=protocol) as again:
        assert committed(again, name, 2) == [3, 10]
        again.assign([TopicPartition(name, 1)])
        produce(bootstrap, name, [b"next"], partition=1)
        assert [message.value() for message in take(again, 1)] == [b"next"]


def test_commits_of_a_member_that_was_left_behind_are_refused(bootstrap: str, topic: NewTopicName, group: str) -> None:
    name = topic()
    with consumer(bootstrap, group) as member, consumer(bootstrap, group) as outsider:
        member.subscribe([name])
        wait_until(settled(member, partitions=1), poll=poll_all(member))
        with pytest.raises(KafkaException) as caught:
            outsider.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
        assert caught.value.args[0].code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION)


@BOTH
def test_groups_are_listed_described_and_deleted(bootstrap: str, topic: NewTopicName, group: str, admin: AdminClient, protocol: str) -> None:
    name = topic(2)
    produce(bootstrap, name, [b"x"] * 10, partition=1)
    with consumer(bootstrap, group, group_protocol=protocol, client_id="interop-client") as one:
        one.subscribe([name])
        one.commit(take(one, 6)[-1], asynchronous=False)
        wait_until(settled(one, partitions=2), poll=poll_all(one))
        listing = {each.group_id: each for each in admin.list_consumer_groups(request_timeout=DEADLINE_S).result(DEADLINE_S).valid}
        assert listing[group].state == ConsumerGroupState.STABLE
        assert listing[group].type == (ConsumerGroupType.CLASSIC if protocol == "classic" else ConsumerGroupType.CONSUMER)
        description = admin.describe_consumer_groups([group], request_timeout=DEADLINE_S)[group].result(DEADLINE_S)
        assert (description.group_id, description.state, len(description.members)) == (group, ConsumerGroupState.STABLE, 1)
        assert description.coordinator.port in {node.port for node in admin.list_topics(timeout=DEADLINE_S).brokers.values()}
        (member,) = description.members
        assert member.client_id == "interop-client"
        assert member.host.strip("/") == "127.0.0.1"
        assert [(part.topic, part.partition) for part in sorted(member.assignment.topic_partitions)] == [(name, 0), (name, 1)]
        with pytest.raises(KafkaException) as caught:
            admin.delete_consumer_groups([group], request_timeout=DEADLINE_S)[group].result(DEADLINE_S)
        assert caught.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    wait_until(
        lambda: admin.describe_consumer_groups([group], request_timeout=DEADLINE_S)[group].result(DEADLINE_S).state == ConsumerGroupState.EMPTY,
        "an empty group",
    )

    def offsets() -> dict[int, int]:
        future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=DEADLINE_S)[group]
        return {part.partition: part.offset for part in future.result(DEADLINE_S).topic_partitions or []}

    assert offsets() == {1: 6}
    change = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 0), TopicPartition(name, 1, 2)])
    admin.alter_consumer_group_offsets([change], request_timeout=DEADLINE_S)[group].result(DEADLINE_S)
    assert offsets() == {0: 0, 1: 2}
    admin.delete_consumer_groups([group], request_timeout=DEADLINE_S)[group].result(DEADLINE_S)
    assert group not in {each.group_id for each in admin.list_consumer_groups(request_timeout=DEADLINE_S).result(DEADLINE_S).valid}
    with consumer(bootstrap, group) as one:
        assert committed(one, name, 2) == [-1001, -1001]


def test_a_group_that_is_not_there(bootstrap: str, admin: AdminClient, group: str) -> None:
    with pytest.raises(KafkaException) as caught:
        admin.delete_consumer_groups([group], request_timeout=DEADLINE_S)[group].result(DEADLINE_S)
    assert caught.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def test_a_deleted_topic_leaves_the_group(bootstrap: str, topic: NewTopicName, group: str, admin: AdminClient) -> None:
    names = [topic(), topic()]
    with consumer(bootstrap, group, topic_metadata_refresh_interval_ms=200) as one:
        one.subscribe(names)
        wait_until(lambda: len(one.assignment()) == 2, poll=poll_all(one))
        admin.delete_topics(names[:1])[names[0]].result(DEADLINE_S)
        produce(bootstrap, names[1], [b"still here"])
        values: list[bytes | None] = []

        def poll() -> None:
            message = one.poll(0.1)
            if message is not None and not message.error():
                values.append(message.value())

        wait_until(lambda: values, "what is left of the subscription", poll=poll)
        assert values == [b"still here"]


def test_the_offsets_of_a_topic_can_be_listed(bootstrap: str, topic: NewTopicName, admin: AdminClient) -> None:
    name = topic(2)
    produce(bootstrap, name, [b"x"] * 4, partition=0)
    for spec, expected in ((OffsetSpec.earliest(), [0, 0]), (OffsetSpec.latest(), [4, 0])):
        futures = admin.list_offsets({TopicPartition(name, n): spec for n in range(2)}, request_timeout=DEADLINE_S)
        assert [future.result(DEADLINE_S).offset for _, future in sorted(futures.items())] == expected
