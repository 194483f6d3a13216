"""What a request costs beyond a turn's budget of steps is done in later turns, and others have theirs between."""

from __future__ import annotations

from itertools import pairwise

import kafka_batches
import pytest
from kafka_bench import Client, batch, done, produce, refuse
from kafka_forms import REFUSED, REFUSED_HERE, TAKEN

from entrepot.broker.calls.group_requests import JoinResult
from entrepot.broker.calls.partition_calls import CloseParts
from entrepot.model.errors import Reason
from entrepot.net import turns as turns_module
from entrepot.net.leftovers import Leftovers
from entrepot.net.turns import LEFTOVERS, TURN_STEPS
from entrepot.protocols.kafka import checking
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, InvalidBatch
from entrepot.protocols.kafka.checking import FAILED, NOT_CHECKED, Check
from entrepot.protocols.kafka.compression import UNPACKED_MAX_BYTES, Unpacker
from entrepot.protocols.kafka.exchange import ASK_STEPS
from entrepot.protocols.kafka.groups import ANSWER_STEPS
from entrepot.protocols.kafka.produce_codec import COPIED_AT_ONCE, REWRITTEN_AT_ONCE, STEP_BYTES
from entrepot.protocols.kafka.record_batch import PLAIN_BYTES, BatchValidator

BY_NAME = {api.name: key for key, api in APIS.items()}
MANY = 3000
NAMES = [f"t{number}" for number in range(MANY)]
NEW = {"num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
METADATA = {"include_cluster_authorized_operations": False, "include_topic_authorized_operations": False, "allow_auto_topic_creation": False}


def in_one(**fields):
    return [{"name": "t0", "partitions": [{"partition_index": number, **fields} for number in range(MANY)]}]


def elements(call):
    """How many of the request's elements a call is about."""
    request = call.request
    for field in ("names", "ids", "offsets", "partitions", "members"):
        found = getattr(request, field, None)
        if isinstance(found, (list, dict)):
            return len(found)
    return 1


REQUESTS = {
    "Metadata by name": ("Metadata", 9, {"topics": [{"name": name} for name in NAMES], **METADATA}),
    "Metadata by id": ("Metadata", 12, {"topics": [{"topic_id": number.to_bytes(16, "big"), "name": None} for number in range(1, MANY + 1)], **METADATA}),
    "DescribeTopicPartitions": ("DescribeTopicPartitions", 0, {"topics": [{"name": name} for name in NAMES], "response_partition_limit": 9, "cursor": None}),
    "CreateTopics": ("CreateTopics", 5, {"topics": [{"name": name, **NEW} for name in NAMES], "timeout_ms": 1000, "validate_only": False}),
    "DeleteTopics": ("DeleteTopics", 5, {"topic_names": NAMES, "timeout_ms": 1000}),
    "CreatePartitions": (
        "CreatePartitions",
        2,
        {"topics": [{"name": name, "count": 2, "assignments": None} for name in NAMES], "timeout_ms": 1000, "validate_only": False},
    ),
    "DeleteRecords": ("DeleteRecords", 2, {"topics": in_one(offset=0), "timeout_ms": 1000}),
    "ListOffsets": ("ListOffsets", 7, {"replica_id": -1, "isolation_level": 0, "topics": in_one(timestamp=-1, current_leader_epoch=-1)}),
    "OffsetCommit": (
        "OffsetCommit",
        8,
        {
            "group_id": "g",
            "generation_id_or_member_epoch": -1,
            "member_id": "",
            "group_instance_id": None,
            "topics": in_one(committed_offset=1, committed_leader_epoch=-1, committed_metadata=""),
        },
    ),
    "OffsetFetch": ("OffsetFetch", 7, {"group_id": "g", "topics": [{"name": "t0", "partition_indexes": list(range(MANY))}], "require_stable": False}),
    "OffsetDelete": ("OffsetDelete", 0, {"group_id": "g", "topics": in_one()}),
    "DescribeGroups": ("DescribeGroups", 5, {"groups": NAMES, "include_authorized_operations": False}),
    "DeleteGroups": ("DeleteGroups", 2, {"groups_names": NAMES}),
    "LeaveGroup": (
        "LeaveGroup",
        5,
        {"group_id": "g", "members": [{"member_id": name, "group_instance_id": None, "reason": None} for name in NAMES]},
    ),
    "DescribeConfigs": (
        "DescribeConfigs",
        4,
        {
            "resources": [{"resource_type": 2, "resource_name": name, "configuration_keys": None} for name in NAMES],
            "include_synonyms": False,
            "include_documentation": False,
        },
    ),
    "IncrementalAlterConfigs": (
        "IncrementalAlterConfigs",
        1,
        {"resources": [{"resource_type": 2, "resource_name": name, "configs": []} for name in NAMES], "validate_only": True},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_long_request_is_asked_in_turns(name):
    client = Client()
    other = Client(beside=client)
    api, version, values = REQUESTS[name]
    client.send(BY_NAME[api], version, values)
    other.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    found, answered_at, turns = [], None, 0
    while True:
        calls, client.port.calls = client.port.calls, []
        assert sum(map(elements, calls)) <= TURN_STEPS // 2
        assert len(calls) <= 1 + TURN_STEPS // ASK_STEPS
        found += calls
        if other.port.calls and answered_at is None:
            answered_at = turns
        if not client.turn():
            break
        turns += 1
    assert sum(map(elements, found)) == MANY
    assert turns >= 4
    assert answered_at is not None
    assert answered_at < turns / 2


def test_a_long_answer_is_written_in_turns():
    client = Client()
    client.send(BY_NAME["FindCoordinator"], 4, {"key_type": 0, "coordinator_keys": [f"g{number}" for number in range(20_000)]})
    turns = 0
    while not client.session.output.size:
        assert client.turn()
        turns += 1
    assert turns >= 10
    assert len(client.answer()["coordinators"]) == 20_000


def test_a_fetch_of_very_many_partitions_is_read_and_answered_in_turns():
    client = Client()
    topics = [
        {
            "topic": name,
            "partitions": [
                {"partition": number, "current_leader_epoch": -1, "fetch_offset": 0, "log_start_offset": -1, "partition_max_bytes": 9} for number in range(4)
            ],
        }
        for name in NAMES
    ]
    head = {"replica_id": -1, "max_wait_ms": 0, "min_bytes": 1, "max_bytes": 9, "isolation_level": 0, "session_id": 0, "rack_id": ""}

    def fetch(epoch, topics):
        client.send(BY_NAME["Fetch"], 11, {**head, "session_epoch": epoch, "topics": topics, "forgotten_topics_data": []})
        turns = 0
        while client.turn():
            turns += 1
            assert sum(len(call.parts) for call in client.port.calls if isinstance(call, CloseParts)) <= 2 * TURN_STEPS * (turns + 1)
        *closed, read = client.port.calls
        client.port.calls = []
        assert turns >= (len(topics) * 4 + sum(len(call.parts) for call in closed)) // TURN_STEPS
        done(read)
        other = Client(beside=client)
        other.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
        turns = 0
        while not client.session.output.size:
            assert client.turn()
            turns += 1
        assert turns >= len(read.parts) // TURN_STEPS - 1
        client.turn()
        assert other.port.take()
        return client.answer()["responses"]

    assert [len(topic["partitions"]) for topic in fetch(0, topics)] == [4] * MANY
    assert [topic["topic"] for topic in fetch(-1, topics[:2])] == NAMES[:2]


def test_fetches_that_are_answered_at_once_count_by_their_partitions(monkeypatch):
    client = Client()
    client.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    done(client.port.take(), [])
    asked = []
    monkeypatch.setattr(client.port, "calls", Answering(asked))
    head = {"replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 9, "isolation_level": 0, "session_id": 0, "session_epoch": -1, "rack_id": ""}
    fields = {"current_leader_epoch": -1, "fetch_offset": 0, "log_start_offset": -1, "partition_max_bytes": 9}
    topics = [{"topic": "t", "partitions": [{"partition": number, **fields} for number in range(200)]}]
    frame = client.frame(BY_NAME["Fetch"], 11, {**head, "topics": topics, "forgotten_topics_data": []})
    client.feed(frame * 30)
    counts = [len(asked)]
    while client.turn():
        counts.append(len(asked))
    assert counts[-1] == 30
    assert max(after - before for before, after in pairwise([0, *counts])) <= 1 + TURN_STEPS // 200


class Answering:
    """Answers calls as they come."""

    def __init__(self, asked):
        self.asked = asked

    def append(self, call):
        self.asked.append(call)
        done(call)


def test_all_connections_have_one_budget_of_what_is_unpacked():
    clients = [Client()]
    clients += [Client(beside=clients[0]) for _ in range(9)]
    packed = kafka_batches.batch([batch(value=bytes(500_000))[61:]], kafka_batches.LZ4)
    for client in clients:
        client.feed(client.frame(0, 9, produce({"t": {0: packed}})) * 3)
    before, counts = 0, []
    while True:
        count = sum(len(client.port.calls) for client in clients)
        counts.append(count - before)
        before = count
        if not clients[0].turn():
            break
    assert before == 30
    assert max(counts) <= 1 + TURN_STEPS * STEP_BYTES // 500_000


@pytest.mark.parametrize("codec", [kafka_batches.NONE, kafka_batches.GZIP, kafka_batches.SNAPPY, kafka_batches.LZ4, kafka_batches.ZSTD])
def test_a_large_batch_is_checked_elsewhere_and_keeps_its_place(codec):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    other = Client(beside=client)
    large = kafka_batches.batch([batch(value=bytes(PLAIN_BYTES + 100_000))[61:]], codec)
    client.send(0, 9, produce({"t": {0: large}}))
    client.send(0, 9, produce({"t": {0: batch(value=b"behind it")}}))
    other.send(0, 9, produce({"t": {0: batch(value=b"other")}}))
    assert (len(elsewhere), len(client.port.calls), len(other.port.calls)) == (1, 0, 1)
    run, then = elsewhere.pop()
    run()
    then()
    while client.turn():
        pass
    assert [call.parts[0].data[61:] == large[61:] for call in client.port.calls] == [True, False]


def test_what_waits_to_be_checked_has_so_much_room_and_the_rest_stays_where_it_arrived():
    elsewhere = []
    clients = [Client(elsewhere=lambda run, done: elsewhere.append((run, done)))]
    clients += [Client(beside=clients[0]) for _ in range(3)]
    room = clients[0].shared.room
    room.limit_bytes = PLAIN_BYTES - 1000
    large = kafka_batches.batch([batch(value=bytes(PLAIN_BYTES))[61:]], kafka_batches.NONE)
    for client in clients:
        client.send(0, 9, produce({"t": {0: large}}))
    assert len(elsewhere) == 1
    assert PLAIN_BYTES < room.held_bytes < 2 * PLAIN_BYTES
    assert [client.session.framing.waiting_bytes > PLAIN_BYTES for client in clients] == [False, True, True, True]
    assert clients[1].session.paused
    small = Client(beside=clients[0])
    small.send(0, 9, produce({"t": {0: batch()}}))
    assert small.port.take()
    clients[0].session.lost("gone")  # its batch is held until the thread is done with it
    clients[2].session.lost("gone")
    assert len(elsewhere) == 1
    for client in (clients[0], clients[1], clients[3]):
        run, then = elsewhere.pop()
        run()
        then()
        while client.turn():
            pass
        assert len(client.port.calls) == (client is not clients[0])
    assert (room.held_bytes, room.is_full, elsewhere) == (0, False, [])


@pytest.mark.parametrize("name", ["Metadata by name", "OffsetCommit"])
def test_a_long_request_takes_up_room_until_it_is_read_or_its_connection_has_ended(name):
    for ends in (False, True):
        client = Client()
        api, version, values = REQUESTS[name]
        client.send(BY_NAME[api], version, values)
        room = client.shared.room
        assert room.held_bytes > MANY
        if ends:
            client.session.lost("gone")
        while client.turn():
            pass
        assert room.held_bytes == 0


def test_a_long_request_that_is_malformed_gives_up_its_room():
    client = Client()
    api, version, values = REQUESTS["Metadata by name"]
    frame = client.frame(BY_NAME[api], version, values)
    client.feed(frame[:-9] + b"\xff" * 9)
    while client.turn():
        pass
    assert client.session.closing
    assert client.shared.room.held_bytes == 0


@pytest.mark.parametrize("behind", [0, 1])
def test_a_very_large_batch_leaves_where_it_arrived_in_pieces(behind):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    other = Client(beside=client)
    value = bytes(range(256)) * (10 * COPIED_AT_ONCE // 256)
    large = batch(value=value)
    client.send(0, 9, produce({"t": {0: batch(value=b"before"), 1: large}, "u": {2: batch(value=b"after")}}))
    if behind:
        client.send(0, 9, produce({"t": {0: batch(value=bytes(100_000))}}))  # it arrives while the one before it is still read
    turns = answered_at = 0
    other.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    while not elsewhere:
        assert client.turn()
        turns += 1
        if other.port.calls and not answered_at:
            answered_at = turns
    assert turns >= 10 * COPIED_AT_ONCE // STEP_BYTES // TURN_STEPS
    assert answered_at < turns / 2
    run, then = elsewhere.pop()
    run()
    then()
    while client.turn():
        pass
    parts = [part for call in client.port.calls for part in call.parts]
    assert [(part.topic, part.partition) for part in parts] == [("t", 0), ("t", 1), ("u", 2)] + behind * [("t", 0)]
    assert parts[1].data[61:] == large[61:]
    assert client.shared.room.held_bytes == 0


class Noting(Leftovers):
    """Notes how many elements it is given, and how many go at a time."""

    def __init__(self):
        super().__init__()
        self.elements = []
        self.most = 0

    def add(self, containers):
        found = [element for container in containers if isinstance(container, (list, dict)) for element in container]
        found += [element for values in containers if isinstance(values, dict) for value in values.values() if isinstance(value, list) for element in value]
        self.elements.append(len(found))
        super().add(containers)

    def let_go(self, count):
        gone = super().let_go(count)
        self.most = max(self.most, gone)
        return gone


@pytest.mark.parametrize("ends", ["answered", "lost", "malformed"])
@pytest.mark.parametrize("name", ["Metadata by name", "DescribeGroups", "CreateTopics", "LeaveGroup"])
def test_what_a_long_request_was_read_into_is_let_go_of_in_turns(monkeypatch, name, ends):
    made = []
    monkeypatch.setattr(turns_module, "Leftovers", lambda: made.append(Noting()) or made[-1])
    client = Client()
    api, version, values = REQUESTS[name]
    frame = client.frame(BY_NAME[api], version, values)
    client.feed(frame[:-9] + b"\xff" * 9 if ends == "malformed" else frame)
    if ends == "lost":
        for _ in range(4):
            client.turn()
        client.session.lost("gone")
    while client.turn():
        calls, client.port.calls = client.port.calls, []
        for call in calls:
            refuse(call, Reason.NOT_FOUND)
    if ends == "malformed":
        client.session.lost("ended")
        while client.turn():
            pass
    (leftovers,) = made
    assert max(leftovers.elements) >= (200 if ends == "lost" else MANY - 20)
    assert len(leftovers) == 0
    assert leftovers.most <= LEFTOVERS


def test_a_batch_that_could_not_be_checked_is_not_said_to_be_taken():
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    client.send(0, 9, produce({"t": {0: kafka_batches.batch([batch(value=bytes(PLAIN_BYTES))[61:]], kafka_batches.NONE)}}))
    elsewhere.pop()[1]()  # run() has failed
    while client.turn():
        pass
    assert client.port.calls == []
    assert client.answer()["responses"][0]["partition_responses"][0]["error_code"] == NOT_CHECKED


def large_batch(client, codec=kafka_batches.NONE):
    """Sent, and what is to be done elsewhere."""
    client.send(0, 9, produce({"t": {0: kafka_batches.batch([batch(value=bytes(PLAIN_BYTES))[61:]], codec), 1: batch()}}))


def buggy(*_):
    raise TypeError("a bug")


def test_a_batch_that_a_bug_keeps_from_being_compressed_anew_is_answered_so(monkeypatch):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    client.port.compression = kafka_batches.GZIP
    monkeypatch.setattr(checking, "pack", buggy)
    large_batch(client)
    run, then = elsewhere.pop()
    with pytest.raises(TypeError):
        run()  # where it is logged
    then()
    while client.turn():
        pass
    (call,) = client.port.calls
    done(client.port.take())
    assert [part.partition for part in call.parts] == [1]
    answers = {part["index"]: part["error_code"] for part in client.answer()["responses"][0]["partition_responses"]}
    assert answers == {0: FAILED, 1: 0}


@pytest.mark.parametrize("where", ["checked", "submit"])
def test_a_bug_after_a_large_batch_was_checked_ends_its_connection(monkeypatch, where):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    large_batch(client)
    run, then = elsewhere.pop()
    run()
    if where == "checked":
        monkeypatch.setattr(run.__self__, "unpacked_bytes", None)
        with pytest.raises(TypeError):
            then()
    else:
        then()
        monkeypatch.setattr(client.port, "calls", None)
        with pytest.raises(AttributeError):
            client.turn()
    assert client.session.closing
    assert "bug" in client.notes[0]


def test_an_answer_that_fails_by_a_bug_ends_its_connection(monkeypatch):
    client = Client()
    client.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    (exchange,) = client.session.pending
    call = client.port.take()
    call.result = None  # which cannot be answered
    with pytest.raises(TypeError):
        done(call)
    assert exchange.parts is None
    assert client.session.closing


def test_a_request_that_fails_by_a_bug_ends_its_connection():
    client = Client()
    client.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    (exchange,) = client.session.pending

    def failing():
        yield TURN_STEPS
        raise AssertionError("a bug")

    exchange.run(failing())
    with pytest.raises(AssertionError):
        client.turn()
    assert client.session.closing
    assert "bug" in client.notes[0]


def test_a_request_that_fails_by_a_bug_in_a_later_turn_ends_its_connection(monkeypatch):
    client = Client()
    client.send(BY_NAME["ListGroups"], 4, {"states_filter": []})
    done(client.port.take(), [])
    monkeypatch.setattr(client.port, "calls", None)
    client.shared.turns.spend(TURN_STEPS)
    client.send(0, 9, produce({"t": {0: batch()}}))
    with pytest.raises(AttributeError):
        client.turn()
    assert client.session.closing


def test_a_large_batch_that_is_damaged_is_its_partitions_error():
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    large = bytearray(kafka_batches.batch([batch(value=bytes(PLAIN_BYTES))[61:]], kafka_batches.NONE))
    large[100] ^= 1
    client.send(0, 9, produce({"t": {0: bytes(large), 1: batch()}}))
    run, then = elsewhere.pop()
    run()
    then()
    while client.turn():
        pass
    done(client.port.take())
    answers = {part["index"]: part["error_code"] for part in client.answer()["responses"][0]["partition_responses"]}
    assert answers == {0: CORRUPT_MESSAGE, 1: 0}


@pytest.mark.parametrize("sent", [kafka_batches.NONE, kafka_batches.LZ4])
@pytest.mark.parametrize("wanted", [kafka_batches.GZIP, kafka_batches.SNAPPY, kafka_batches.ZSTD])
def test_a_large_batch_is_compressed_anew_elsewhere(sent, wanted):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    client.port.compression = wanted
    records = batch(value=bytes(PLAIN_BYTES))[61:]
    client.send(0, 9, produce({"t": {0: kafka_batches.batch([records], sent)}}))
    run, then = elsewhere.pop()
    run()
    then()
    while client.turn():
        pass
    (part,) = client.port.take().parts
    assert part.data[22] == wanted
    assert BatchValidator().validate(part.data).count == 1
    assert Unpacker().unpack(wanted, part.data[61:]) == records


@pytest.mark.parametrize(("wanted", "each"), [(kafka_batches.GZIP, 1), (-1, 8)])
def test_much_that_is_compressed_anew_is_appended_batch_by_batch(wanted, each):
    client = Client()
    client.port.compression = wanted
    packed = kafka_batches.batch([batch(value=bytes(REWRITTEN_AT_ONCE - 100))[61:]], kafka_batches.LZ4)
    client.send(0, 9, produce({"t": dict.fromkeys(range(8), packed)}))
    while client.turn():
        pass
    assert [len(call.parts) for call in client.port.calls] == [each] * (8 // each)


@pytest.mark.parametrize(
    ("wanted", "sent", "goes"),
    [
        (kafka_batches.GZIP, kafka_batches.NONE, True),
        (kafka_batches.GZIP, kafka_batches.ZSTD, True),
        (kafka_batches.GZIP, kafka_batches.GZIP, False),
        (-1, kafka_batches.ZSTD, False),
        (kafka_batches.NONE, kafka_batches.NONE, False),
    ],
)
def test_what_is_not_large_is_compressed_anew_elsewhere_if_it_is_not_little(wanted, sent, goes):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    client.port.compression = wanted
    little = batch(value=bytes(REWRITTEN_AT_ONCE - 200))[61:]
    records = batch(value=bytes(REWRITTEN_AT_ONCE + 100))[61:]
    client.send(0, 9, produce({"t": {0: kafka_batches.batch([little], sent), 1: kafka_batches.batch([records], sent)}}))
    assert len(elsewhere) == goes
    for run, then in elsewhere:
        run()
        then()
    while client.turn():
        pass
    parts = [part for call in client.port.calls for part in call.parts]
    assert [part.partition for part in parts] == [0, 1]
    assert parts[1].data[22] == (wanted if goes else sent)
    assert Unpacker().unpack(parts[1].data[22], parts[1].data[61:]) == records


@pytest.mark.parametrize("form", [*TAKEN, *REFUSED, *REFUSED_HERE])
def test_elsewhere_the_same_forms_are_taken(form):
    codec, packed = (TAKEN | REFUSED | REFUSED_HERE)[form]
    data = kafka_batches.batch([packed], attributes=codec, count=4, last_delta=3)
    check = Check(data, UNPACKED_MAX_BYTES)
    check.run()
    if form in TAKEN:
        head = BatchValidator().validate(data)
        assert (check.error, check.batch, check.head.max_time_ms) == (None, head.data, head.max_time_ms)
    else:
        with pytest.raises(InvalidBatch) as refused:
            BatchValidator().validate(data)
        assert (check.head, check.error.code) == (None, refused.value.code)


@pytest.mark.parametrize(
    ("api", "version", "values", "result"),
    [
        (
            "JoinGroup",
            5,
            {
                "group_id": "g",
                "session_timeout_ms": 10_000,
                "rebalance_timeout_ms": 10_000,
                "member_id": "m",
                "group_instance_id": None,
                "protocol_type": "consumer",
                "protocols": [{"name": "range", "metadata": b""}],
            },
            JoinResult(1, "consumer", "range", "m", "m", []),
        ),
        ("SyncGroup", 3, {"group_id": "g", "generation_id": 1, "member_id": "m", "group_instance_id": None, "assignments": []}, ("consumer", "range", b"")),
    ],
)
def test_members_of_a_group_that_are_answered_together_are_told_in_turns(api, version, values, result):
    clients = [Client()]
    clients += [Client(beside=clients[0]) for _ in range(2 * TURN_STEPS // ANSWER_STEPS)]
    calls = []
    for client in clients:
        client.send(BY_NAME[api], version, values)
        while not client.port.calls:
            assert clients[0].turn()
        calls.append(client.port.take())
    while clients[0].turn():
        pass
    for call in calls:
        done(call, result)
    told = []
    while sum(told) < len(clients):
        told.append(sum(len(client.answers()) for client in clients))
        clients[0].turn()
    assert max(told) <= 2 + TURN_STEPS // ANSWER_STEPS
