"""AMQP's direct reply-to where who asks and who answers are connected to two processes."""

import pytest
from broker_bench import longstr_array, refused
from brokers import CODEC, NS
from whole_brokers import WholeCluster

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE
from entrepot.broker.front.replies import WAITING_MAX_BYTES
from entrepot.cluster.owners import hot_frames
from entrepot.model.errors import CorruptData


@pytest.fixture(params=[2, 3])
def cluster(request):
    cluster = WholeCluster(request.param)
    cluster.wait_open()
    return cluster


@pytest.fixture
def asker(cluster):
    return cluster.processes[-1].connect()


@pytest.fixture
def me(cluster):
    return cluster.processes[0].connect()


@pytest.fixture
def name(asker):
    asker.ids["answers"], name = asker.ask(r.ConsumeReplies("answers"))
    return name


def counters(process):
    return process.broker.replies.dropped_count


def test_answers_come_in_order_and_settled(cluster, me, asker, name):
    call = me.publish(b"1", b"2", key=name, mandatory=True)
    assert (call.outcome, call.unroutable) == (DONE, False)
    for number in range(3, 9):
        me.publish(b"%d" % number, key=name)
    cluster.run()
    assert asker.deliveries("answers") == [(b"%d" % number, False) for number in range(1, 9)]
    assert asker.held == {}
    assert {address for address, _, _ in asker.headers} == {name.encode()}


def test_of_a_start_that_is_not_known_nothing_is_taken(cluster, me, asker, name):
    start = name.split(".")[3]
    for wrong in (name.replace(start, "0123456789abcdef"), name.replace(start, start.upper() + "x"), name.replace("." + start, ""), name + "x" * 180):
        call = me.publish(b"x", key=wrong, mandatory=True)
        assert (call.outcome, call.unroutable) == (DONE, True)
    call = me.publish(b"x", key=name + "x", mandatory=True)
    assert (call.outcome, call.unroutable) == (DONE, False), "that nobody has this name is known there"
    cluster.run()
    assert asker.bodies("answers") == []
    assert counters(cluster.processes[-1]) == 1


def test_of_another_namespace_nothing_comes(cluster, me, asker, name):
    cluster.processes[0].decisions.create_namespace("other/space")
    cluster.settle()
    me.door.close()
    me.door = cluster.processes[0].broker.attach(me, me.principal, "other/space")
    me.publish(b"x", key=name)
    cluster.run()
    assert asker.bodies("answers") == []


def test_an_asker_that_has_ended(cluster, me, asker, name):
    asker.cancel("answers")
    assert not me.publish(b"x", key=name, mandatory=True).unroutable
    cluster.run()
    assert asker.bodies("answers") == []
    assert counters(cluster.processes[-1]) == 1


def test_a_process_that_has_started_again(cluster, me, asker, name):
    cluster.restart(len(cluster.processes) - 1)
    cluster.wait_open()
    assert me.publish(b"x", key=name, mandatory=True).unroutable


def test_declaring_asks_the_process_that_the_name_says(cluster, me, asker, name):
    for passive in (False, True):
        assert me.declare(name, passive=passive) == (name, 0, 1)
    gone = name + "x"
    assert f"no queue '{gone}' in vhost '/'" in refused(me.declare, gone, passive=True)
    asker.cancel("answers")
    assert f"no queue '{name}' in vhost '/'" in refused(me.declare, name, passive=True)


def test_further_keys_lead_there_too(cluster, me, asker, name):
    other = cluster.processes[-1].connect()
    _, another = other.ask(r.ConsumeReplies("answers"))
    me.declare("q")
    headers = [(b"CC", longstr_array(name.encode(), name.encode(), b"q")), (b"BCC", longstr_array(another.encode()))]
    assert not me.put(b"1", b"2", key="nowhere", headers=headers, mandatory=True).unroutable
    cluster.run()
    assert asker.bodies("answers") == other.bodies("answers") == [b"1", b"2"]
    assert me.get("q")[0] == b"1"


def test_with_the_commit_of_a_transaction(cluster, me, asker, name):
    me.declare("q")
    publishes = [me.run_of(b"answer", key=name), me.run_of(b"stored"), me.run_of(b"both", headers=[(b"CC", longstr_array(name.encode()))])]
    me.ask(r.CommitTogether(publishes, []))
    cluster.run()
    assert asker.bodies("answers") == [b"answer", b"both"]


def test_dead_letters_lead_there_too(cluster, me, asker, name):
    queue = next(f"q{number}" for number in range(100) if cluster.processes[0].broker.shards.shard("queue", NS, f"q{number}") % cluster.count == 0)
    me.declare(queue, x_dead_letter_exchange="", x_dead_letter_routing_key=name)
    me.put(b"dead", key=queue)
    me.get(queue)
    me.reject("get")
    cluster.run()
    assert asker.bodies("answers") == [b"dead"]


def test_who_does_not_read_has_the_room_that_he_has_at_home(cluster, me, asker, name):
    asker.door.writable = False
    for _ in range(60):
        me.publish(b"." * 100_000, key=name)
    cluster.run(1.0)
    dropped = counters(cluster.processes[-1])
    assert 0 < cluster.processes[-1].broker.replies.waiting_bytes <= WAITING_MAX_BYTES
    asker.door.resume()
    cluster.run()
    assert len(asker.bodies("answers")) == 60 - dropped == WAITING_MAX_BYTES // 100_400


def test_over_links_that_break(cluster, me, asker, name):
    expected = []
    for number in range(60):
        expected.append(b"%d" % number)
        me.publish(expected[-1], key=name)
        cluster.run(0.003)
        wire = cluster.random.choice(list(cluster.wires.values()))
        wire.break_off() if wire.is_up else wire.begin()
    cluster.settle()
    cluster.run()
    assert asker.bodies("answers") == expected


def test_a_process_that_cannot_be_reached_drops_them(cluster, me, asker, name):
    crossing = cluster.processes[0].owners.crossings[cluster.processes[-1].name]
    crossing.away("it is away")
    call = me.publish(b"1", key=name, mandatory=True)
    assert (call.outcome, call.unroutable) == (DONE, False)
    crossing.back()
    me.publish(b"2", key=name)
    cluster.run()
    assert asker.bodies("answers") == [b"2"]
    assert counters(cluster.processes[0]) == 1


@pytest.mark.parametrize("wrong", ["codec", "count", "position", "namespace"])
def test_what_no_front_says(cluster, me, asker, name, wrong):
    record = me.run_of(b"body").data
    prefix = CODEC.prefix(b"\0\0")
    codec = 63 if wrong == "codec" else CODEC.tag
    position = len(prefix) + (wrong == "position")
    namespace = b"\xff" if wrong == "namespace" else NS.encode()
    frame = hot_frames.reply(0, codec, CODEC.version, namespace, name.encode(), position, 1 + (wrong == "count")) + prefix + record
    with pytest.raises(CorruptData):
        cluster.processes[-1].owners.crossings["w0"].heed([frame])
    assert asker.bodies("answers") == []


def test_what_is_of_another_version_is_dropped(cluster, me, asker, name):
    prefix, record = CODEC.prefix(b"\0\0"), me.run_of(b"body").data
    frame = hot_frames.reply(0, CODEC.tag, CODEC.version + 1, NS.encode(), name.encode(), len(prefix), 1) + prefix + record
    cluster.processes[-1].owners.crossings["w0"].heed([frame])
    assert asker.bodies("answers") == []
    assert counters(cluster.processes[-1]) == 1
