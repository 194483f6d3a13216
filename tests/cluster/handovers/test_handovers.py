"""What dies in one process and goes to another: two and three whole brokers, joined by links."""

import random
from functools import partial

import msgspec
import pytest
from broker_bench import CODEC, address_of, record_of, table_of
from letter_brokers import LetterCluster

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.queue_requests import ListMoves, StartMove
from entrepot.broker.catalogue.shards import HOME, HOMES_FIRST
from entrepot.broker.outbox.handover import GONE, LETTER, MOVE, NOT_NOW, REDRIVE, TAKEN, Answer, Handover
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.queue import Queue
from entrepot.cluster import handover_frames as f
from entrepot.model.entry import HAS_EXPIRY, OPAQUE
from entrepot.model.errors import CorruptData


@pytest.fixture
def cluster():
    return LetterCluster(2)


@pytest.fixture
def me(cluster):
    """A connection with the process that has the sources."""
    return cluster.processes[1].connect()


@pytest.fixture
def q(cluster):
    return cluster.name_at(1)


@pytest.fixture
def grave(cluster):
    """A queue of the other process."""
    name = cluster.name_at(0)
    cluster.processes[0].connect().declare(name)
    return name


def dying(me, q, grave, **arguments):
    me.declare(q, x_dead_letter_exchange="", x_dead_letter_routing_key=grave, **arguments)


def rejected(cluster, me, q, grave):
    dying(me, q, grave)
    me.consume(queue=q, limit=2)
    me.put(b"a", b"b", key=q)
    cluster.run()
    me.reject()


def expired(cluster, me, q, grave):
    dying(me, q, grave, x_message_ttl=100)
    me.put(b"a", b"b", key=q)
    cluster.run(0.2)


def over_the_length(cluster, me, q, grave):
    dying(me, q, grave, x_max_length=1)
    me.put(b"a", b"b", b"c", key=q)


def delivered_too_often(cluster, me, q, grave):
    dying(me, q, grave, x_queue_type="quorum", x_delivery_limit=1)
    me.consume(queue=q, limit=2)
    me.put(b"a", b"b", key=q)
    for _ in range(2):
        cluster.run()
        me.release()


WAYS = {"rejected": rejected, "expired": expired, "maxlen": over_the_length, "delivery_limit": delivered_too_often}


@pytest.mark.parametrize("reason", WAYS)
def test_every_death_leads_over_the_link(cluster, me, q, grave, reason):
    WAYS[reason](cluster, me, q, grave)
    cluster.run()
    assert cluster.bodies(grave) == [b"a", b"b"]
    assert cluster.bodies(q) == ([b"c"] if reason == "maxlen" else [])
    assert (cluster.figure("intents"), cluster.handed_over) == (0, 1)
    reader = cluster.processes[0].connect().consume("d", grave)
    cluster.run()
    (death,) = table_of(reader.headers[-1][1]["x-death"])
    assert (death["queue"], death["reason"], death["count"]) == (q, reason, 1)


def test_what_a_full_queue_refuses_is_sent_directly(cluster, me, q, grave):
    dying(me, q, grave, x_max_length=1, x_overflow="reject-publish-dlx")
    assert me.put(b"a", b"b", key=q).nacked == [1]
    cluster.run()
    assert (cluster.bodies(q), cluster.bodies(grave)) == ([b"a"], [b"b"])
    assert (cluster.processes[1].direct, cluster.handed_over) == (1, 0)


def test_what_a_full_queue_refuses_waits_while_the_other_is_gone(cluster, me, q, grave):
    dying(me, q, grave, x_max_length=1, x_overflow="reject-publish-dlx")
    cluster.processes[0].link_down = True
    me.put(b"a", b"b", key=q)
    cluster.run(3)
    assert cluster.bodies(grave) == []
    cluster.processes[0].link_down = False
    cluster.run(3)
    assert cluster.bodies(grave) == [b"b"]


def test_what_lies_in_memory_alone_is_sent_directly_and_in_order(cluster, me, q, grave):
    dying(me, "passing", grave, durable=False)
    me.consume(queue="passing", limit=10)
    for body in (b"a", b"b", b"c"):
        me.put(body, key="passing")
    cluster.run()
    me.reject()
    cluster.run()
    assert cluster.bodies(grave) == [b"a", b"b", b"c"]
    assert (cluster.processes[1].direct, cluster.handed_over) == (3, 0)
    assert me.ask(r.PurgeQueue("passing")) == 0


def test_to_a_queue_that_lives_in_the_other_process(cluster, me, q):
    other = cluster.processes[0]
    there = other.connect()
    there.declare("passing", durable=False)
    there.consume("d", "passing")
    rejected(cluster, me, q, "passing")
    cluster.run()
    assert there.bodies("d") == [b"a", b"b"]
    assert (cluster.figure("intents"), cluster.handed_over) == (0, 1)
    assert other.handovers.home_shard(other.broker.start_id) == HOME
    assert cluster.processes[1].handovers.home_shard(other.broker.start_id) == HOMES_FIRST


def test_its_home_starts_again_and_what_was_for_it_is_settled(cluster, me, q, grave):
    other = cluster.processes[0]
    other.connect().declare("passing", durable=False)
    me.ask(r.DeclareExchange("both", "fanout", durable=True))
    for name in ("passing", grave):
        me.ask(r.Bind("both", name, "queue"))
    me.declare(q, x_dead_letter_exchange="both")
    me.consume(queue=q, limit=2)
    me.put(b"a", key=q)
    cluster.run()
    cluster.wires[0, 1].break_off()
    me.reject()
    cluster.run()
    assert cluster.figure("intents") == 1
    cluster.restart(0)
    cluster.settle()
    cluster.run(2)
    assert cluster.figure("intents") == 0
    assert cluster.bodies(grave) == [b"a"]


def test_while_the_other_is_gone_they_wait_and_keep_their_order(cluster, me, q, grave):
    rejected(cluster, me, q, grave)
    cluster.run()
    cluster.wires[0, 1].break_off()
    for body in (b"c", b"d"):
        me.put(body, key=q)
        cluster.run()
        me.reject()
    cluster.run()
    assert cluster.figure("intents") == 2
    cluster.wires[0, 1].begin()
    cluster.run()
    assert cluster.bodies(grave) == [b"a", b"b", b"c", b"d"]


def test_nothing_is_sent_to_who_has_not_said_that_it_is_open(cluster, me, q, grave):
    handovers, other = cluster.processes[1].handovers, cluster.processes[0]
    shard = other.broker.shards.shard("queue", "public/default", grave)
    handovers._peers["w0"].open.clear()
    rejected(cluster, me, q, grave)
    cluster.run()
    assert (handovers.is_open(shard), cluster.handed_over, cluster.figure("intents")) == (False, 0, 1)
    told = []
    handovers._on_opened = lambda link, shards: told.append((link.name, set(shards)))
    assert not handovers.has_opened(handovers._peers["w0"].link)
    other.handovers.opened_here(other.shards_open)
    cluster.run()
    assert told == [("w0", other.shards_open)]
    assert handovers.has_opened(handovers._peers["w0"].link)
    assert (handovers.is_open(shard), cluster.handed_over, cluster.figure("intents")) == (True, 1, 0)
    assert cluster.bodies(grave) == [b"a", b"b"]


def test_nothing_is_sent_over_a_link_that_is_full_or_away(cluster, me, q, grave):
    handovers = cluster.processes[1].handovers
    link = handovers._peers["w0"].link
    handovers.away(link)
    rejected(cluster, me, q, grave)
    cluster.run(3)
    assert (cluster.handed_over, cluster.figure("intents")) == (0, 1)
    link.held_max = -1
    handovers.back(link)
    cluster.run(3)
    assert (cluster.handed_over, cluster.figure("intents")) == (0, 1)
    link.held_max = 1 << 20
    cluster.run()
    assert (cluster.handed_over, cluster.figure("intents")) == (1, 0)


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_killed_amid_it(cluster, me, q, grave, number):
    rejected(cluster, me, q, grave)
    sent = cluster.handed_over
    cluster.loop.run_until(lambda: cluster.handed_over > sent, 5)
    cluster.restart(number)
    cluster.settle()
    cluster.run(3)
    assert cluster.bodies(grave) == [b"a", b"b"]
    assert (cluster.bodies(q), cluster.figure("intents")) == ([], 0)


def test_nothing_lives_in_a_shard_that_is_still_loaded(cluster, me, q, grave):
    """What a new start has in its shards comes to life only with what is on its way from there."""
    rejected(cluster, me, q, grave)
    cluster.wires[0, 1].break_off()
    cluster.run()
    cluster.restart(1)
    process = cluster.processes[1]
    outbox = process.broker.outbox
    outbox.loaded_per_tick = 1
    shard = process.broker.shards.shard("queue", "public/default", q)
    away = 0
    while shard in outbox.loading:
        definition = process.space.queues.get(q)
        if definition is not None:
            assert isinstance(definition.runtime, AwayQueue)
            away += 1
        cluster.loop.step()
    assert away > 0
    queue = process.space.queues[q].runtime
    assert isinstance(queue, Queue)
    assert (outbox.has_any(queue.log), queue.subscription.ready_count) == (True, 0)


def test_whoever_is_behind_takes_it_when_he_has_caught_up():
    cluster = LetterCluster(3)
    grave, q = cluster.name_at(2), cluster.name_at(1)
    cluster.wires[0, 2].break_off()
    me = cluster.processes[1].connect()
    me.ask(r.DeclareExchange("x", "fanout", durable=True))  # answered when who is away is waited for no more
    here = cluster.processes[0].connect()
    here.declare(grave)
    assert grave not in cluster.processes[2].space.queues
    rejected(cluster, me, q, grave)
    cluster.run()
    assert (cluster.handed_over, cluster.figure("intents"), cluster.figure("handovers_gone_total")) == (1, 1, 0)
    cluster.wires[0, 2].begin()
    cluster.run(2)
    assert cluster.bodies(grave) == [b"a", b"b"]


def test_a_queue_with_timed_leases_redrives_and_moves_back(cluster, me, q, grave):
    there = cluster.processes[0].connect()
    dead = cluster.name_at(0, (grave,))
    there.create(dead)
    me.create(q, visibility_ms=100, dead_letter_queue=dead, receive_max=1)
    me.send(b"a", b"b", queue=q)
    assert me.received_bodies(queue=q) == [b"a", b"b"]
    cluster.run(0.2)
    assert me.received_bodies(queue=q) == []
    cluster.run()
    assert (cluster.bodies(dead), cluster.bodies(q)) == ([b"a", b"b"], [])
    assert [message.deliveries for message in there.receive(queue=dead, visibility_ms=0)] == [2, 2]
    cluster.run()
    there.ask(StartMove(dead))
    cluster.run(2)
    assert (cluster.bodies(dead), cluster.bodies(q)) == ([], [b"a", b"b"])
    (task,) = there.ask(ListMoves(dead))
    assert (task.moved, task.status) == (2, "COMPLETED")
    assert cluster.figure("intents") == 0


# ---- what comes over a link is looked at


def handover(**but):
    to = {"source": 1, "target": 2, "sequence": 5, "first_waited": 3, "kind": LETTER, "logs": (bytes(16), bytes(range(16)))}
    what = {"address": address_of("", "q"), "hidden": b"h", "tag": CODEC.tag, "version": 1, "flags": HAS_EXPIRY}
    return Handover(**{**to, **what, "data": record_of(b"a") + record_of(b"bc"), "count": 2, "carried": (), **but})


def as_frame(*frame):
    return b"".join(frame)


def codec_of(tag):
    return CODEC if tag == CODEC.tag else None


@pytest.mark.parametrize(
    "one",
    [
        handover(),
        handover(kind=REDRIVE, address=b"", carried=((1, 2), (3, 4))),
        handover(kind=MOVE, address=b"", data=record_of(b"a"), count=1, target=HOMES_FIRST),
        handover(count=0, data=b"", address=b""),
    ],
)
def test_a_handover_comes_as_it_goes(one):
    assert f.decode_handover(as_frame(*f.encode_handover(one, (7, 9))), codec_of) == (one, (7, 9))


def test_the_other_frames_too():
    assert f.decode_answer(as_frame(*f.encode_answer(Answer(1, 2, 3, NOT_NOW)))) == Answer(1, 2, 3, NOT_NOW)
    assert f.decode_open(as_frame(*f.encode_open([1, 3]))).shards == [1, 3]


def test_of_a_later_version_more_is_passed_over():
    kind, head, data = f.encode_handover(handover(), (7, 9))
    fields = [*msgspec.msgpack.decode(head), "more"]
    head = msgspec.msgpack.encode(fields)
    assert f.decode_handover(kind[:1] + len(head).to_bytes(4, "big") + head + data, codec_of) == (handover(), (7, 9))


DAMAGED = {
    "records that are fewer": {"count": 3},
    "records that are more": {"count": 1},
    "half a record": {"data": record_of(b"abc")[:-1], "count": 1},
    "another codec": {"tag": 77},
    "no logs": {"logs": ()},
    "a log's id": {"logs": (b"short",)},
    "a kind": {"kind": 77},
    "flags": {"flags": OPAQUE},
    "no sequence": {"sequence": 0, "first_waited": 0},
    "waited for behind it": {"first_waited": 6},
    "too many under way": {"sequence": 11},
    "no address": {"address": b""},
    "half an address": {"address": address_of("e", "key")[:-1]},
    "received before": {"carried": ((1, 1), (1, 1))},
    "received too often before": {"kind": REDRIVE, "carried": ((1, 1),) * 3},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_handover(damage):
    with pytest.raises(CorruptData):
        f.decode_handover(as_frame(*f.encode_handover(handover(**DAMAGED[damage]), (0, 0))), codec_of)


def test_whatever_is_cut_or_changed_decodes_or_is_corrupt():
    chance = random.Random(5)
    frames = [(as_frame(*f.encode_handover(handover(), (1, 2))), partial(f.decode_handover, codec_of=codec_of))]
    frames += [(as_frame(*f.encode_answer(Answer(1, 2, 3, TAKEN))), f.decode_answer), (as_frame(*f.encode_open([1, 300])), f.decode_open)]
    corrupt = 0
    for frame, decode in frames:
        changed = [frame[:size] for size in range(1, len(frame))]
        for _ in range(2000):
            octets = bytearray(frame)
            octets[chance.randrange(1, len(octets))] = chance.randrange(256)
            changed.append(bytes(octets))
        for one in changed:
            try:
                decode(one)
            except CorruptData:
                corrupt += 1
    assert corrupt > 1000


def heard(cluster, *frame):
    """Process 1 hears that from process 0."""
    handovers = cluster.processes[1].handovers
    handovers.frame(handovers._peers["w0"].link, as_frame(*frame))


@pytest.mark.parametrize(
    "frame",
    [
        f.encode_open([1]),  # shards of process 1
        f.encode_open([0, 60_000]),
        f.encode_handover(handover(source=1, target=3), (0, 0)),
        f.encode_handover(handover(source=0, target=2), (0, 0)),
        f.encode_handover(handover(source=0, target=HOMES_FIRST), (0, 0)),
        f.encode_handover(handover(source=0, target=HOME), (0, 0)),
        f.encode_handover(handover(source=60_000, target=3), (0, 0)),
        f.encode_answer(Answer(0, 2, 1, TAKEN)),
        f.encode_answer(Answer(1, 3, 1, TAKEN)),
        f.encode_answer(Answer(1, HOME, 1, TAKEN)),
        (bytes((f.LAST_KIND,)),),
    ],
)
def test_what_is_not_his(cluster, frame):
    with pytest.raises(CorruptData):
        heard(cluster, *frame)


def test_to_nobodys_home_it_is_gone(cluster, me, q):
    handovers = cluster.processes[1].handovers
    answers = []
    cluster.processes[1].broker.outbox.answered = answers.append
    for target in (HOMES_FIRST - 1, HOMES_FIRST - 7):  # what was this process's own, in another start, and that of none
        assert handovers.is_open(target)
        handovers.hand_over(handover(target=target))
    cluster.run()
    assert [(answer.target, answer.status) for answer in answers] == [(HOMES_FIRST - 1, GONE), (HOMES_FIRST - 7, GONE)]


def test_to_a_shard_that_is_not_open_not_now(cluster, q):
    process = cluster.processes[1]
    closed = []
    process.broker.shard_moves.close(3, lambda: closed.append(True))
    cluster.loop.run_until(lambda: bool(closed))
    link = process.handovers._peers["w0"].link
    sent = link.sent
    heard(cluster, *f.encode_handover(handover(source=0, target=3), (0, 0)))
    assert link.sent == sent + 1
    assert f.decode_answer(b"".join(link._ahead[-1][2])) == Answer(0, 3, 5, NOT_NOW)


def test_what_cannot_be_carried_out_ends_the_other_start(cluster, me, q, monkeypatch):
    me.declare(q)
    monkeypatch.setattr(cluster.processes[1].broker.inbox, "_append", lambda *_: 1 // 0)
    definition = cluster.processes[1].space.queues[q]
    to = {"source": 0, "target": definition.shard, "sequence": 1, "first_waited": 1, "logs": (definition.log_id,)}
    with pytest.raises(CorruptData):
        heard(cluster, *f.encode_handover(handover(**to), (0, 0)))
