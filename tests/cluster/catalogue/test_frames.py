"""Frames of the catalogue: what comes back, and what is refused."""

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.calls import administration as a
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.broker.calls.queue_requests import CreateTimedQueue, DeleteTimedQueue, QueueDescription, SetQueuePolicy, TimedPolicy
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared
from entrepot.broker.calls.topic_requests import AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, DescribeTopics, NewProducer, TopicDescription
from entrepot.cluster.catalogue import asking
from entrepot.cluster.catalogue import frames as f
from entrepot.model.errors import CorruptData, OutcomeUnknown, Reason, Refused, Unavailable

START = b"8 octets"
FRAMES = [
    f.Decides(3),
    f.Snapshot(b"change"),
    f.Change(b"change"),
    f.Heard(7, 3),
    f.Answer(9, None, b"result"),
    f.Answer(9, ["Refused", "no", "NOT_FOUND"], b""),
    f.Join(3, START, b"change"),
    f.Applied(3, 8),
    f.Heartbeat(7, 3, 3, 8),
    f.Request(9, "Bind", "me", ["administrator"], "PLAIN", "public/default", START, 4, True, [b"1", b"2"]),
    f.EndHome(10, START, 4),
    f.RemoveUnused(11, "public/default", "q", b"log"),
    f.MakeTimed(12, "public/default", "q", b"log"),
]


def octets(frame):
    return b"".join(f.encode(frame))


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_comes_back(frame):
    data = octets(frame)
    assert f.decode(data) == frame
    assert f.FIRST_KIND <= data[0] <= f.LAST_KIND
    for size in range(len(data)):
        with pytest.raises(CorruptData):
            f.decode(data[:size])
    with pytest.raises(CorruptData):
        f.decode(data + b"\x00")


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_what_a_later_version_adds_is_passed_over(frame):
    data = octets(frame)
    more = msgspec.msgpack.encode([*msgspec.msgpack.decode(data[1:]), "more"])
    assert f.decode(data[:1] + more) == frame


@pytest.mark.parametrize(
    "frame",
    [f.Decides(-1), f.Applied(1 << 63, 0), f.Applied(0, -1), f.Join(1, b"short", b""), f.EndHome(1, b"nine octets", 1), f.Heartbeat(1, -1, 0, 0)],
    ids=repr,
)
def test_numbers_and_starts_that_cannot_be(frame):
    with pytest.raises(CorruptData):
        f.decode(octets(frame))


@given(st.binary(max_size=60), st.integers(0, 255))
def test_whatever_comes_is_a_frame_or_corrupt(data, kind):
    try:
        frame = f.decode(bytes((kind,)) + data)
    except CorruptData:
        return
    assert isinstance(frame, f.Frame)


@pytest.mark.parametrize(
    "error",
    [None, Refused(Reason.LOCKED, "no"), Unavailable("later"), OutcomeUnknown("who knows"), PolicyChanged("another", 3, "policy", "public/default")],
    ids=repr,
)
def test_errors_come_back(error):
    found = f.heard(f.said(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert getattr(found, "__dict__", None) == getattr(error, "__dict__", None)


def test_errors_that_are_not_known_are_the_nearest():
    assert f.heard(["Refused", "text", "A_LATER_REASON"]).reason is Reason.INVALID
    assert f.heard(["Refused", "text"]).reason is Reason.INVALID
    assert isinstance(f.heard(["Another", "text", 1]), OutcomeUnknown)
    assert isinstance(f.heard(["PolicyChanged", "text", 1]), OutcomeUnknown)


@pytest.mark.parametrize("words", [[], [1, "text"], ["Refused"], ["Refused", 1]])
def test_what_is_no_error(words):
    with pytest.raises(CorruptData):
        f.heard(words)


# ---- requests

POLICY = TimedPolicy(visibility_ms=5, sources_allowed=("a", "b"), dead_letter_queue="dead", receive_max=3)
TOPIC = TopicDescription("t", bytes(16), 3, 1)
QUEUE = QueueDescription("q", bytes(16), POLICY, {"a": "1"}, {}, 1, 2, 3)
VERIFIER = ("SCRAM-SHA-256", b"salt", 4096, b"\x00stored", b"\xffserver")
ASKED = [
    (r.DeclareQueue("q", False, True, False, True, {"x-max-length": 3, "t": {"\udcff": [None, 1.5]}}), ("q", 3, 1)),
    (r.DeclareQueue("\udcff"), ("\udcff", 0, 0)),
    (r.DeleteQueue("q", True, True), 3),
    (r.DeclareExchange("e", "topic", arguments={"alternate-exchange": "x"}), None),
    (r.DeleteExchange("e", True), None),
    (r.Bind("e", "q", "queue", "\udcfe", {"x": b"\x00"}, True), None),
    (CreateTopic("t", 3, {"a": None, "b": "1"}), TOPIC),
    (CreatePartitions("t", 3), TOPIC),
    (DeleteTopic("", bytes(16)), TOPIC),
    (AlterTopicConfig("t", [("set", "a", "1"), ("delete", "b", None)]), None),
    (NewProducer(5, 1), (5, 2)),
    (DescribeTopics(["t", "u"], create_missing=True), [TOPIC, TOPIC]),
    (CreateTimedQueue(name="q", policy=POLICY, given=frozenset({"visibility_ms"}), attributes={"a": "1"}, tags={}), (QUEUE, True)),
    (SetQueuePolicy(name="q", expected=POLICY, tags={"a": "b"}, policy_version=3, granted=True), QUEUE),
    (DeleteTimedQueue(name="q"), None),
    (JoinShared("g", "a.#", "q", {"x": 1}, {"x-max-length": 3}), None),
    (LeaveShared("g", "q"), None),
    (a.MakeNamespace("acme/new", is_new=True), None),
    (a.DeleteNamespace("acme/new"), None),
    (a.AddUser("ann", [VERIFIER], ["acme/new"], True), None),
    (a.SetPassword("ann", [VERIFIER, VERIFIER]), None),
    (a.DeleteUser("ann"), None),
    (a.SetPermission("ann", "*", ".*", "", "x.*"), None),
    (a.ClearPermission("ann", "acme/new"), None),
    (a.AddAccessKey("ann"), "ENTK1"),
    (a.DeleteAccessKey("ENTK1"), None),
]


@pytest.mark.parametrize(("request_", "result"), ASKED, ids=lambda value: type(value).__name__)
def test_requests_and_results_come_back(request_, result):
    fields = asking.request_fields(request_)
    assert asking.request_of(type(request_).__name__, fields) == request_
    assert asking.result_of(request_, asking.pack_result(request_, result)) == result
    with pytest.raises(CorruptData):
        asking.request_of(type(request_).__name__, [b"\xc1", *fields[1:]])
    with pytest.raises(CorruptData):
        asking.request_of(type(request_).__name__, [asking._packed({"another": "kind"}), *fields[1:]])


def test_every_request_that_is_carried_is_among_these():
    assert {type(request) for request, _ in ASKED} == set(typing.cast("typing.Any", asking)._REQUESTS.values())


def test_fields_of_earlier_and_later_versions():
    fields = asking.request_fields(r.DeleteQueue("q", True, True))
    assert asking.request_of("DeleteQueue", fields[:1]) == r.DeleteQueue("q")
    assert asking.request_of("DeleteQueue", [*fields, b"\x01"]) == r.DeleteQueue("q", True, True)
    with pytest.raises(CorruptData):
        asking.request_of("DeleteQueue", [])
    with pytest.raises(CorruptData):
        asking.request_of("Consume", fields)


def test_each_of_described_topics_may_be_an_error():
    request = DescribeTopics(["t", "u"], create_missing=True)
    found = asking.result_of(request, asking.pack_result(request, [TOPIC, Refused(Reason.INVALID, "no")]))
    assert found[0] == TOPIC
    assert (found[1].reason, str(found[1])) == (Reason.INVALID, "no")


@pytest.mark.parametrize("request_", [request for request, _ in ASKED], ids=lambda request: type(request).__name__)
def test_what_is_no_result(request_):
    for data in (b"", b"\xc1", asking._packed({"another": "kind"})):
        with pytest.raises(CorruptData):
            asking.result_of(request_, data)


def test_numbers_that_no_message_has_are_refused():
    with pytest.raises(Refused):
        asking.request_fields(r.DeclareQueue("q", arguments={"x": 1 << 70}))
