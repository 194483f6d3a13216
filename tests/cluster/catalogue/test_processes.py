"""Two and three whole brokers whose catalogue is decided in the first."""

import pytest
from brokers import NS, Cluster, same

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE, UNKNOWN
from entrepot.broker.calls.queue_requests import CreateTimedQueue, DeleteTimedQueue, SetQueuePolicy, StartMove, TimedPolicy
from entrepot.broker.calls.topic_requests import AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, DescribeTopics, NewProducer
from entrepot.broker.catalogue.arguments import pack
from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, encode_change
from entrepot.broker.catalogue.kept_definitions import BINDING_KEY, QUEUE_KEY, named_key
from entrepot.cluster.catalogue import deciding, members
from entrepot.cluster.catalogue import frames as f
from entrepot.cluster.catalogue.following import REPEATED_S
from entrepot.model.errors import CorruptData, Reason, Refused, Unavailable


def names(process):
    return sorted(process.space.queues)


def test_what_is_declared_there_is_everywhere_when_it_is_answered(cluster, here, there):
    for number in range(8):
        assert there.declare(f"q{number}") == (f"q{number}", 0, 0)
        for process in cluster.processes:
            assert f"q{number}" in process.space.queues
    assert here.declare("q3", passive=True)[0] == "q3"
    assert same(cluster)


def test_each_shard_has_its_log_in_its_own_process(cluster, there):
    for number in range(12):
        there.declare(f"q{number}")
    cluster.run()
    for process in cluster.processes:
        logs = {log.id for log in process.store.logs()}
        for queue in process.space.queues.values():
            shard = process.broker.shards.place(queue)
            assert (queue.log_id in logs) == (shard % cluster.count == process.number)


def test_a_refusal_comes_over_in_its_words(cluster, there):
    there.declare("q")
    with pytest.raises(Refused) as refused:
        there.declare("q", durable=False)
    assert refused.value.reason is Reason.EXISTS_DIFFERENT
    assert str(refused.value) == "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"


def test_bindings_and_exchanges(cluster, here, there):
    there.ask(r.DeclareExchange("e", "topic", durable=True))
    here.declare("q")
    there.ask(r.Bind("e", "q", "queue", "a.*"))
    for process in cluster.processes:
        assert [target.name for target in process.space.router.route("e", "a.b").targets] == ["q"]
    there.ask(r.Bind("e", "q", "queue", "a.*", remove=True))
    assert all(process.space.bindings == {} for process in cluster.processes)
    there.ask(r.DeleteExchange("e"))
    assert all("e" not in process.space.exchanges for process in cluster.processes)
    assert same(cluster)


def test_routing_keys_that_are_no_text(cluster, there):
    there.declare("q")
    there.ask(r.Bind("amq.direct", "q", "queue", "\udcff", {"x": "\udcfe", "n": [1, {"m": 2.5}]}))
    assert same(cluster)
    (binding,) = cluster.processes[0].space.bindings.values()
    assert (binding.routing_key, binding.arguments) == ("\udcff", {"x": "\udcfe", "n": [1, {"m": 2.5}]})


def test_deletes_ask_the_owner_wherever_it_is(cluster, there):
    for number in range(6):
        there.declare(f"q{number}")
    cluster.run()
    for number in range(6):
        assert there.ask(r.DeleteQueue(f"q{number}", if_unused=True, if_empty=True)) == 0
    assert all(names(process) == [] for process in cluster.processes)


def test_exclusive_queues_live_where_they_were_declared(cluster, here, there):
    name = there.declare("", durable=False, exclusive=True)[0]
    process = cluster.processes[-1]
    assert process.space.queues[name].home == process.broker.start_id
    assert process.space.queues[name].runtime.gone is None
    assert cluster.processes[0].space.queues[name].runtime.gone is not None
    assert there.put(b"x", key=name).outcome == DONE
    assert there.get(name)[0] == b"x"
    with pytest.raises(Refused) as refused:
        here.declare(name, passive=True)
    assert refused.value.reason is Reason.LOCKED
    there.close()
    cluster.run()
    assert all(names(one) == [] for one in cluster.processes)


def test_what_is_declared_as_its_connection_ends_goes(cluster, there):
    there.submit(r.DeclareQueue("q", exclusive=True))
    there.close()
    cluster.run()
    assert all(names(one) == [] for one in cluster.processes)


def test_auto_delete_queues_go_with_their_last_consumer(cluster, here, there):
    there.declare("passing", durable=False, auto_delete=True)
    there.consume("c", "passing")
    there.cancel("c")
    cluster.run()
    assert all(names(one) == [] for one in cluster.processes)


def test_what_expires_goes(cluster, there):
    for number in range(4):
        there.declare(f"q{number}", x_expires=1000)
    cluster.run(0.2)
    assert len(names(cluster.processes[0])) == 4
    cluster.run(3.0)
    assert all(names(one) == [] for one in cluster.processes)


def test_topics(cluster, here, there):
    made = there.ask(CreateTopic("t", 8))
    assert made.partition_count == 8
    assert there.ask(CreatePartitions("t", 12)).partition_count == 12
    there.ask(AlterTopicConfig("t", [("set", "retention.ms", "1000")]))
    assert [process.space.topics["t"].config for process in cluster.processes] == [{"retention.ms": "1000"}] * cluster.count
    logs = [{log.id for log in process.store.logs()} for process in cluster.processes]
    cluster.run()
    assert sum(len(found & set(made_ids(cluster))) for found in logs) == 12
    assert there.ask(DeleteTopic("t")).id == made.id
    assert all(process.space.topics == {} for process in cluster.processes)
    (found,) = there.ask(DescribeTopics(["made"], create_missing=True))
    assert found.name == "made"
    (found,) = there.ask(DescribeTopics(["not legal!"], create_missing=True))
    assert found.reason is Reason.INVALID


def made_ids(cluster):
    return cluster.processes[0].space.topics["t"].partitions


def test_producer_ids_are_given_once(cluster, here, there):
    given = [who.ask(NewProducer())[0] for who in (here, there, there, here)]
    assert len(set(given)) == 4
    assert there.ask(NewProducer(given[0], 0)) == (given[0], 1)


def test_timed_queues(cluster, here, there):
    policy = TimedPolicy(visibility_ms=5000)
    description, created = there.ask(CreateTimedQueue(name="s", policy=policy, given=frozenset({"visibility_ms"}), attributes={"a": "1"}, tags={}))
    assert (created, description.policy, description.attributes) == (True, policy, {"a": "1"})
    cluster.run()
    changed = there.ask(SetQueuePolicy(name="s", policy=TimedPolicy(visibility_ms=7000)))
    assert changed.policy.visibility_ms == 7000
    assert all(process.space.queues["s"].timed.policy.visibility_ms == 7000 for process in cluster.processes)
    there.ask(DeleteTimedQueue(name="s"))
    assert all(names(one) == [] for one in cluster.processes)


def test_users_follow(cluster):
    first = cluster.processes[0].users
    first.add_user("ann", "secret")
    cluster.settle()
    assert same(cluster)
    assert cluster.processes[-1].users.user("ann").verifiers == first.user("ann").verifiers


def test_a_queue_of_another_protocol_comes_to_have_timed_leases(cluster, there):
    process = cluster.processes[-1]
    there.declare("q0")
    mine = next(name for name in (f"q{number}" for number in range(100)) if there.declare(name) and is_mine(cluster, process, name))
    assert there.submit(StartMove(source=mine)).outcome == REFUSED  # it is nobody's dead-letter queue: no lease is needed to know that
    with pytest.raises(Unavailable):
        process.broker.timed.place(there.door, mine)
    cluster.run()
    assert all(one.space.queues[mine].timed is not None for one in cluster.processes)
    assert process.broker.timed.place(there.door, mine).may_read


def is_mine(cluster, process, name):
    return process.broker.shards.place(process.space.queues[name]) % cluster.count == process.number


# ---- what fails


def test_one_too_far_behind_is_waited_for_no_more(cluster, here, there, monkeypatch):
    monkeypatch.setattr(deciding, "BEHIND_MAX", -1)
    cluster.run(5.0)
    assert there.submit(r.DeclareQueue("q")).outcome == UNAVAILABLE
    assert here.declare("q")[0] == "q"
    monkeypatch.undo()
    cluster.settle()
    assert there.declare("q", passive=True)[0] == "q"


def test_a_member_whose_link_is_full_joins_anew():
    cluster = Cluster(2, held_max=4000)
    cluster.settle()
    here = cluster.processes[0].connect()
    cluster.wires[0, 1].break_off()
    calls = [here.submit(r.DeclareQueue(f"q{number}", durable=True)) for number in range(100)]
    cluster.run(1.0)
    assert {call.outcome for call in calls} == {PENDING}
    assert cluster.processes[0].links["w1"].held_bytes < 20_000
    cluster.run(4.0)
    assert {call.outcome for call in calls} == {DONE}
    cluster.settle()
    assert same(cluster)
    assert len(names(cluster.processes[1])) == 100


def test_what_waits_at_a_member_that_takes_its_time_is_bounded(monkeypatch):
    monkeypatch.setattr(members, "UNAPPLIED_MAX_BYTES", 10_000)
    cluster = Cluster(2)
    cluster.settle()
    here, following = cluster.processes[0].connect(), cluster.processes[1].following
    for number in range(100):
        here.declare(f"q{number}")
    assert not cluster.processes[0].deciding._members["w1"].is_lost  # one that applies them has them all
    work, slow = following._pieces, []
    monkeypatch.setattr(following, "_pieces", lambda *change: slow.append(change) or iter(()))
    calls = [here.submit(r.DeclareQueue(f"r{number}", durable=True)) for number in range(100)]
    cluster.run(1.0)
    assert 10 < len(following._waiting) < 50
    monkeypatch.setattr(following, "_pieces", work)
    cluster.processes[1].broker.desk.work.run(following._pieces(*slow[0]))
    cluster.run(5.0)
    assert {call.outcome for call in calls} == {DONE}
    cluster.settle()
    assert same(cluster)
    assert len(names(cluster.processes[1])) == 200


def test_frames_that_say_what_cannot_be_end_the_start(cluster):
    first, last = cluster.processes[0], cluster.processes[-1]
    to_first, to_last = first.links[last.name], last.links["w0"]
    epoch = first.store.epoch
    wrong_row = Row(named_key(QUEUE_KEY, NS, "x"), {"home": b"another's"}, False, False)
    for frame in (
        f.Heard(1, 1),
        f.Applied(epoch, 1 << 40),
        f.Join(epoch, last.broker.start_id, b"nothing"),
        f.Join(epoch, last.broker.start_id, encode_change(NO_REVISION, [wrong_row])),
        f.Join(epoch, last.broker.start_id, encode_change(NO_REVISION, [Row(named_key(BINDING_KEY, NS, "x"), 1, False, False)])),
        f.EndHome(1, first.broker.start_id, 1),
        f.Request(1, "Nothing", "me", [], "", NS, last.broker.start_id, 1, False, []),
        f.Request(1, "DeleteQueue", "me", [], "", NS, last.broker.start_id, 1, False, [b"\xc1"]),
        f.Request(1, "DeleteQueue", "me", [], "", NS, first.broker.start_id, 1, False, [pack("q")]),
    ):
        with pytest.raises(CorruptData):
            first.deciding.frame(to_first, frame)
    for frame in (
        f.Applied(1, 1),
        f.Answer(1000, None, b""),
        f.Snapshot(b"nothing"),
        f.Change(encode_change(NO_REVISION, [])),
        f.Change(encode_change(Revision(epoch, 1 << 40), [Row(named_key(QUEUE_KEY, NS, "x"), {})])),
    ):
        with pytest.raises(CorruptData):
            last.following.frame(to_last, frame)


def test_a_decider_of_an_earlier_epoch_is_not_listened_to(cluster):
    process = cluster.processes[-1]
    link = process.links["w0"]
    process.following.frame(link, f.Decides(process.following.epoch + 1))
    cluster.run(5.0)
    with pytest.raises(Unavailable):
        process.following.check()
    process.following.frame(link, f.Decides(process.following.epoch - 1))
    assert process.following.epoch == cluster.processes[0].store.epoch + 1


def test_a_broken_link_is_no_death(cluster, there):
    wire = cluster.wires[0, cluster.count - 1]
    wire.break_off()
    call = there.submit(r.DeclareQueue("q", durable=True))
    cluster.run(1.0)
    assert call.outcome == PENDING
    wire.begin()
    cluster.loop.run_until(lambda: call.outcome != PENDING)
    assert (call.outcome, call.result) == (DONE, ("q", 0, 0))


def test_who_was_not_heard_of_for_long_answers_nothing(cluster, here, there):
    there.declare("q")
    wire = cluster.wires[0, cluster.count - 1]
    wire.break_off()
    declared = here.submit(r.DeclareQueue("q2", durable=True))
    cluster.run(2.0)
    assert declared.outcome == PENDING  # it may answer still
    cluster.run(4.0)
    assert declared.outcome == DONE
    for request in (r.DeclareQueue("q3"), r.DeclareQueue("q", passive=True), r.Get("q")):
        assert there.submit(request).outcome == UNAVAILABLE
    assert there.publish(b"x").outcome == UNAVAILABLE
    wire.begin()
    cluster.settle()
    assert there.declare("q2", passive=True)[0] == "q2"
    assert same(cluster)


@pytest.mark.parametrize("passed_s", [0.0, 0.002, 0.004, 0.02])
def test_what_a_decider_that_dies_has_not_answered(cluster, there, passed_s):
    """What makes something is asked again, and is so once; what takes away, too, unless that is gone."""
    there.declare("gone")
    there.ask(r.DeclareExchange("no-exchange", "fanout", durable=True))
    there.ask(r.Bind("amq.direct", "gone", routing_key="x"))
    there.declare("stays")
    there.ask(r.Bind("amq.direct", "stays", routing_key="x"))
    made = [there.submit(r.DeclareQueue(f"q{number}", durable=True)) for number in range(20)]
    made += [there.submit(r.DeclareExchange("e", "fanout", durable=True)), there.submit(r.Bind("amq.fanout", "q3"))]
    made += [there.submit(r.DeleteQueue("gone")), there.submit(r.DeleteExchange("no-exchange"))]
    made += [there.submit(r.Bind("amq.direct", "stays", routing_key="x", remove=True))]
    named = [there.submit(r.DeclareQueue("", durable=True)), there.submit(r.DeclareQueue("", exclusive=True))]
    cluster.run(passed_s)
    cluster.restart(0)
    cluster.settle()
    cluster.run(1)
    assert {call.outcome for call in made} == {DONE}
    assert {call.outcome for call in named} == {DONE}
    last = cluster.processes[-1].space
    assert {"gone", "stays", *(call.result[0] for call in named)} & set(last.queues) == {"stays", *(call.result[0] for call in named)}
    assert len(last.queues) == 20 + 1 + len(named)
    assert "no-exchange" not in last.exchanges
    assert not [one for one in last.bindings.values() if one.source.name == "amq.direct"]
    assert {f"q{number}" for number in range(20)} <= set(names(cluster.processes[-1]))
    assert same(cluster)


def test_nobody_decides_for_too_long(cluster, there):
    call = there.submit(r.DeclareQueue("q", durable=True))
    cluster.processes[0].kill()
    process = cluster.processes[-1]
    process.following.dead(process.following.link)
    cluster.run(REPEATED_S - 1)
    assert call.outcome == PENDING
    cluster.run(2)
    assert call.outcome == UNKNOWN


def test_who_asked_is_gone_when_it_could_be_asked_again(cluster, there):
    there.submit(r.DeclareQueue("mine", exclusive=True))
    cluster.restart(0)
    there.close()
    cluster.settle()
    cluster.run(1)
    assert "mine" not in names(cluster.processes[-1])
    assert same(cluster)


def test_homes_are_announced_to_a_decider_that_starts_again(cluster, there):
    there.ask(r.DeclareExchange("e", "fanout"))
    name = there.declare("", durable=False, exclusive=True)[0]
    there.ask(r.Bind("e", name))
    there.put(b"x", exchange="e")
    cluster.restart(0)
    cluster.settle()
    assert same(cluster)
    assert name in cluster.processes[0].space.queues
    assert there.put(b"y", exchange="e").outcome == DONE
    assert [there.get(name)[0] for _ in "xy"] == [b"x", b"y"]


def test_what_lived_in_a_start_that_is_dead_goes(cluster, here, there):
    there.ask(r.DeclareExchange("e", "fanout"))
    there.declare("own", durable=False, exclusive=True)
    there.declare("kept")
    here.declare("mine", durable=False, exclusive=True)
    cluster.restart(cluster.count - 1)
    cluster.settle()
    assert same(cluster)
    assert names(cluster.processes[0]) == ["kept", "mine"]
    assert "e" not in cluster.processes[0].space.exchanges


def test_a_process_that_starts_again_has_its_queues_and_what_is_in_them(cluster):
    process = cluster.processes[-1]
    there = process.connect()
    for number in range(12):
        there.declare(f"q{number}")
    mine = [name for name in names(process) if process.broker.shards.place(process.space.queues[name]) % cluster.count == process.number]
    assert mine
    for name in mine:
        assert there.put(b"x", key=name).outcome == DONE
    cluster.restart(process.number)
    cluster.settle()
    cluster.run()
    there = process.connect()
    assert [there.get(name)[0] for name in mine] == [b"x"] * len(mine)


def test_a_new_decider_waits_for_who_may_still_answer():
    cluster = Cluster(2)
    cluster.settle()
    cluster.wires[0, 1].break_off()
    cluster.restart(0)
    cluster.wires[0, 1].break_off()
    here = cluster.processes[0].connect()
    assert here.submit(r.DeclareQueue("q", durable=True)).outcome == UNAVAILABLE
    cluster.run(60.0)
    assert here.submit(r.DeclareQueue("q", durable=True)).outcome == UNAVAILABLE
    first = cluster.processes[0]
    first.deciding.dead(first.links["w1"])
    assert here.declare("q")[0] == "q"


def test_nobody_is_answered_before_it_has_its_snapshot():
    cluster = Cluster(2)
    cluster.settle()
    cluster.processes[0].connect().declare("q")
    cluster.processes[0].disk.commit_s = (2.0, 2.0)
    cluster.restart(1)
    process = cluster.processes[1]
    for _ in range(300):
        cluster.run(0.01)
        assert "q" in process.space.queues or process.connect().submit(r.DeclareQueue("q", passive=True)).outcome == UNAVAILABLE
    assert "q" in process.space.queues


def test_a_stage_that_is_ahead_waits(cluster):
    process = cluster.processes[-1]
    done = []
    revision = cluster.processes[0].decisions.stream.revision
    ahead = revision._replace(number=revision.number + 1)
    assert process.ahead.take("a", ahead, lambda: done.append("ahead"))
    assert process.ahead.take("a", revision, lambda: done.append("behind it"))
    assert process.ahead.take("b", revision, lambda: done.append("another's"))
    assert process.ahead.take("c", ahead, lambda: done.append("of the dead"))
    process.ahead.forget("c")
    assert done == ["another's"]
    cluster.processes[0].connect().declare("q")
    assert done == ["another's", "ahead", "behind it"]
    assert process.ahead.count == 0
    assert process.ahead.revision == ahead
    assert NS in process.catalogue.namespaces


def test_a_decider_that_may_not_be_it_any_more_answers_no_heartbeat(cluster, there):
    cluster.processes[0].deciding._may_serve = lambda: False
    cluster.run(5.0)
    assert there.submit(r.DeclareQueue("q")).outcome == UNAVAILABLE


def test_nothing_is_said_to_be_done_before_it_is_time(cluster):
    """Also what needs no change: not everybody may know of it."""
    cluster.wires[0, 1].break_off()
    cluster.restart(0)
    cluster.wires[0, 1].break_off()
    here = cluster.processes[0].connect()
    for request in (r.DeleteQueue("q"), r.DeleteExchange("e"), r.Bind("amq.direct", "q", remove=True)):
        assert here.submit(request).outcome == UNAVAILABLE


def test_shard_0_closes_and_opens_again(cluster, here, there):
    first = cluster.processes[0]
    there.declare("q")
    closed, opened = [], []
    cluster.wires[0, cluster.count - 1].break_off()
    waiting = here.submit(r.DeclareQueue("q2", durable=True))
    cluster.run(0.1)
    first.deciding.end()
    first.broker.shard_moves.close(0, lambda: closed.append(True))
    cluster.loop.run_until(lambda: bool(closed))
    cluster.run(1.0)
    assert waiting.outcome == PENDING  # who has not applied it may answer still
    assert here.submit(r.DeclareQueue("q3")).outcome == UNAVAILABLE
    cluster.run(5.0)
    assert waiting.outcome == DONE
    first.broker.shard_moves.open(0, first.store.epoch, lambda: opened.append(True))
    cluster.loop.run_until(lambda: bool(opened))
    first.deciding.begin([other.name for other in cluster.processes[1:]])
    cluster.settle()
    assert there.declare("q4")[0] == "q4"
    assert same(cluster)


def test_what_a_front_asks_of_who_does_not_decide_any_more(cluster, there):
    first = cluster.processes[0]
    first.deciding.end()
    closed = []
    first.broker.shard_moves.close(0, lambda: closed.append(True))
    cluster.loop.run_until(lambda: bool(closed))
    call = there.submit(r.DeclareQueue("q", durable=True))
    cluster.run()
    assert call.outcome == UNAVAILABLE


def test_paths_that_were_found_before_a_process_stood_still(cluster, there):
    process = cluster.processes[-1]
    name = next(name for name in (f"q{number}" for number in range(100)) if there.declare(name) and is_mine(cluster, process, name))
    assert there.put(b"x", key=name).outcome == DONE
    process.scheduler.paused = True
    cluster.run(10.0)
    process.following.wake()
    assert there.publish(b"y", key=name).outcome == UNAVAILABLE
    process.scheduler.go_on()
    cluster.settle()
    assert there.put(b"z", key=name).outcome == DONE
    assert [there.get(name)[0] for _ in "xz"] == [b"x", b"z"]


def test_shard_0_opens_again_before_those_of_before_are_waited_for_no_more(cluster, here):
    first = cluster.processes[0]
    done = []
    cluster.wires[0, cluster.count - 1].break_off()
    cluster.run(0.2)
    first.deciding.end()
    first.broker.shard_moves.close(0, lambda: done.append(True))
    cluster.loop.run_until(lambda: len(done) == 1)
    first.broker.shard_moves.open(0, first.store.epoch, lambda: done.append(True))
    cluster.loop.run_until(lambda: len(done) == 2)
    first.deciding.begin([other.name for other in cluster.processes[1:]])
    cluster.run(10.0)
    assert here.submit(r.DeclareQueue("q")).outcome == UNAVAILABLE
    first.deciding.dead(first.links[f"w{cluster.count - 1}"])
    assert here.declare("q")[0] == "q"
    cluster.restart(cluster.count - 1)
    cluster.settle()
    assert same(cluster)
