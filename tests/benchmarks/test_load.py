"""The load generator notices everything that a broker can do wrong, and nothing when it does nothing wrong."""

from __future__ import annotations

import struct

import pytest
from benchmarks.system.latency import Histogram
from benchmarks.system.ledger import Ledger, Stream
from benchmarks.system.load import main
from benchmarks.system.scenario import Options, Result, Run
from faulty_broker import Deliveries, FaultyBroker, ack, frame
from hypothesis import given
from hypothesis import strategies as st

COUNT = 60


def run(broker: FaultyBroker, **options: object) -> Result:
    chosen = {"mode": "both", "url": broker.url, "count": COUNT, "idle": 0.3, "ack_every": 7} | options
    return Run(Options(**chosen)).execute()  # type: ignore[arg-type]


def found(result: Result) -> dict[str, int]:
    return {name: count for name, count in result.errors.items() if count}


@pytest.mark.parametrize(("size", "body_frame_max"), [(16, 131064), (100, 131064), (1000, 300), (300_000, 131064)])
@pytest.mark.parametrize("ack_every", [1, 7])
def test_nothing_wrong(size: int, body_frame_max: int, ack_every: int) -> None:
    with FaultyBroker(body_frame_max=body_frame_max) as broker:
        result = run(broker, size=size, ack_every=ack_every, window=10)
    assert (found(result), result.failures, result.exit_status()) == ({}, [], 0)
    assert (result.published, result.confirmed, result.consumed, broker.acknowledged) == (COUNT, COUNT, COUNT, COUNT)
    assert result.confirm_us is not None
    assert result.end_to_end_us is not None


def once(change: object) -> object:
    """The change to one batch of deliveries alone, the first of several."""
    done = []

    def deliver(deliveries: Deliveries) -> Deliveries:
        if done:
            return deliveries
        done.append(True)
        return change(deliveries)  # type: ignore[operator,no-any-return]

    return deliver


def renumbered(bodies: list[bytes], deliveries: Deliveries) -> Deliveries:
    first = deliveries[0][0]
    return [(first + n, body) for n, body in enumerate(bodies)]


def lose(deliveries: Deliveries) -> Deliveries:
    return renumbered([body for _, body in deliveries[:-1]], deliveries)


def swap(deliveries: Deliveries) -> Deliveries:
    bodies = [body for _, body in deliveries]
    return renumbered([bodies[1], bodies[0], *bodies[2:]], deliveries)


def repeat(deliveries: Deliveries) -> Deliveries:
    bodies = [body for _, body in deliveries]
    return renumbered([bodies[0], bodies[0], *bodies[1:]], deliveries)


def damage(at: int) -> object:
    def change(deliveries: Deliveries) -> Deliveries:
        tag, body = deliveries[1]
        return [deliveries[0], (tag, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]), *deliveries[2:]]

    return change


def shorten(deliveries: Deliveries) -> Deliveries:
    return [deliveries[0], (deliveries[1][0], deliveries[1][1][:-1]), *deliveries[2:]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lose, {"lost", "gaps"}),
        (swap, {"reordered"}),
        (repeat, {"duplicates", "reordered"}),
        (damage(99), {"damaged", "lost", "gaps"}),
        (damage(16), {"damaged", "lost", "gaps"}),
        (damage(15), {"damaged", "lost", "gaps"}),  # a time that is yet to come
        (shorten, {"damaged", "lost", "gaps"}),
    ],
)
def test_deliveries_gone_wrong(change: object, expected: set[str]) -> None:
    with FaultyBroker(deliver=once(change)) as broker:  # type: ignore[arg-type]
        result = run(broker)
    errors = set(found(result)) - {"wrong_tags"}
    # what is lost of the last batch leaves no gap below the last received
    assert errors in (expected, expected - {"gaps"})
    assert result.exit_status() == 3


def test_a_delivery_tag_left_out() -> None:
    with FaultyBroker(deliver=lambda deliveries: [(tag * 2, body) for tag, body in deliveries]) as broker:
        result = run(broker)
    assert found(result) == {"wrong_tags": COUNT}


def test_a_refused_message_may_be_missing() -> None:
    with FaultyBroker(confirm=lambda tag: ack(tag, method=120 if tag == 3 else 80)) as broker:
        result = run(broker)
    assert found(result) == {"refused": 1}
    assert result.confirmed == COUNT - 1


def test_confirms_out_of_order_and_multiple() -> None:
    def confirm(tag: int) -> bytes:
        if tag % 10 == 1:
            return b""
        return ack(tag, multiple=True) if tag % 10 == 0 else ack(tag)

    with FaultyBroker(confirm=confirm) as broker:
        result = run(broker, window=20)
    assert (found(result), result.confirmed) == ({}, COUNT)


@pytest.mark.parametrize("wrong", [0, 3, COUNT + 1, 1 << 63])
def test_confirms_of_nothing(wrong: int) -> None:
    with FaultyBroker(confirm=lambda tag: ack(tag) + (ack(wrong) if tag == 5 else b"")) as broker:
        result = run(broker)
    assert found(result) == {"unexpected_confirms": 1}


def test_a_confirm_that_does_not_come() -> None:
    with FaultyBroker(confirm=lambda tag: b"" if tag == 5 else ack(tag)) as broker:
        result = run(broker)
    assert found(result) == {"unconfirmed": 1}
    assert result.exit_status() == 3


def test_a_closed_channel_fails() -> None:
    text = b"PRECONDITION_FAILED"
    close = frame(1, 1, struct.pack(">HHHB", 20, 40, 406, len(text)) + text + bytes(4))
    with FaultyBroker(confirm=lambda tag: ack(tag) if tag < 9 else close) as broker:
        result = run(broker)
    assert result.failures == ["closed by the broker: 406 PRECONDITION_FAILED"]
    assert result.exit_status() == 1


@pytest.mark.parametrize("bad", [b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\x00", b"\x01\x00\x01\xff\xff\xff\xff\x00", b"\x09\x00\x01\x00\x00\x00\x00\xce"])
def test_broken_framing_fails(bad: bytes) -> None:
    with FaultyBroker(confirm=lambda tag: bad if tag == 9 else ack(tag)) as broker:
        result = run(broker)
    assert len(result.failures) == 1
    assert result.exit_status() == 1


@pytest.mark.parametrize(("fault", "expected"), [("gap", {"gaps"}), ("duplicate", {"lost", "duplicates", "reordered"}), ("reorder", {"reordered"})])
def test_its_own_faults_are_found(fault: str, expected: set[str]) -> None:
    with FaultyBroker() as broker:
        result = run(broker, fault=fault, count=1100)
    assert set(found(result)) == expected


def test_an_open_load_is_stamped_with_its_due_times() -> None:
    with FaultyBroker() as broker:
        result = run(broker, rate=1000.0, ack_every=1)
    assert (found(result), result.published) == ({}, COUNT)
    assert result.seconds >= (COUNT - 1) / 1000


def test_several_routes_of_one_publisher() -> None:
    with FaultyBroker() as broker:
        result = run(broker, mode="publish", queues=7)
    assert (found(result), result.confirmed) == ({}, COUNT)
    heads = [struct.unpack_from("<Q", broker.bodies.get())[0] for _ in range(COUNT)]
    assert [(head >> 48, head & 0xFFFF_FFFF) for head in heads] == [(n % 7, n // 7) for n in range(COUNT)]


def test_wrong_usage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.system.build.ensure", lambda: None)
    assert main(["publish", "--size", "15"]) == 2
    assert "15" in capsys.readouterr().err


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=30))
def test_a_stream_is_a_set(notes: list[tuple[int, int]]) -> None:
    stream, numbers, duplicates = Stream(), set[int](), 0
    for first, count in notes:
        assert stream.note(first, count) == 0
        for number in range(first, first + count):
            duplicates += number in numbers
            numbers.add(number)
    assert (stream.distinct, stream.duplicates) == (len(numbers), duplicates)
    assert {number for number in range(400) if stream.has(number)} == numbers
    if numbers:
        assert stream.gaps() == max(numbers) + 1 - min(numbers) - len(numbers)


def test_a_number_far_ahead_is_not_believed() -> None:
    ledger = Ledger()
    stream = ledger.stream(3)
    assert stream.note(1 << 40, 1) == 1
    assert (len(ledger.streams), stream.distinct) == (4, 0)
    assert stream.note(1_000_000, 1) == 0
    assert stream.has(1_000_000)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.sampled_from([0.5, 0.99, 1.0]))
def test_percentiles_are_right_to_a_sixtieth(durations: list[int], part: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration, 1)
    rank = max(1, -int(-part * len(durations) // 1))
    exact = sorted(durations)[rank - 1]
    assert exact <= histogram.percentile_ns(part) <= exact + exact // 60 + 1
    assert histogram.max_ns == max(durations)
