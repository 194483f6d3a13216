"""Outgoing flights and incoming identifiers against models that keep a message each; stored, and loaded again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from both_modes import examples
from entrepot.model.errors import CorruptData
from entrepot.protocols.mqtt import flights, incoming
from entrepot.protocols.mqtt.flights import OWN_IDS, RELEASED, SENT, Flights, Span, in_order
from entrepot.protocols.mqtt.incoming import NEW, TAKEN, UNDER_WAY, Incoming, ids_of, pack_ids
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode

ID_MAX = 65_535


def single(spans: list[Span]) -> list[tuple[int, int, int, int, int]]:
    """Message by message: source, offset, identifier, QoS, state."""
    return [(span.source, span.first + at, span.first_id + at, span.qos, span.state) for span in spans for at in range(span.count)]


class FlightsMachine(RuleBasedStateMachine):
    """The model: messages in the order in which they were sent first, each [source, offset, identifier, QoS, state, whether it is out on this connection]."""

    def __init__(self) -> None:
        super().__init__()
        self.flights = Flights(20)
        self.maximum = 20
        self.model: list[list[Any]] = []
        self.offset = 0
        self.own_offset = OWN_IDS - 20
        self.restarts = 0

    def out(self) -> list[list[Any]]:
        return [one for one in self.model if one[5]]

    def find(self, packet_id: int, qos: int, state: int) -> list[Any] | None:
        return next((one for one in self.model if one[2:6] == [packet_id, qos, state, True]), None)

    @rule(count=st.integers(1, 9), qos=st.integers(1, 2), source=st.integers(0, 2), gap=st.integers(0, 2))
    def begin(self, count: int, qos: int, source: int, gap: int) -> None:
        count = min(count, self.flights.room())
        if count <= 0:
            return
        first = self.offset + gap
        self.offset = first + count
        sent = single(self.flights.begin(source, first, count, qos))
        assert [(one[0], one[1], one[3], one[4]) for one in sent] == [(source, first + at, qos, SENT) for at in range(count)]
        used = {one[2] for one in self.model}
        ids = [one[2] for one in sent]
        assert len(set(ids)) == count
        assert used.isdisjoint(ids)
        assert all(OWN_IDS < packet_id <= ID_MAX for packet_id in ids)
        self.model += [[*one, True] for one in sent]

    @rule(count=st.integers(1, 9), qos=st.integers(1, 2), jump=st.sampled_from([0, 0, 1, 40_000]))
    def begin_own(self, count: int, qos: int, jump: int) -> None:
        count = min(count, self.flights.room())
        if count <= 0:
            return
        first = self.own_offset + jump
        used = {one[2] for one in self.model}
        wanted = []
        for offset in range(first, first + count):
            packet_id = 1 + offset % OWN_IDS
            if packet_id in used:
                break
            wanted.append((7, offset, packet_id, qos, SENT))
        assert single(self.flights.begin_own(7, first, count, qos)) == wanted
        self.own_offset = first + len(wanted)
        self.model += [[*one, True] for one in wanted]

    def drawn(self, data: st.DataObject) -> tuple[int, int]:
        """Identifiers that are mostly in flight."""
        known = [one[2] for one in self.model]
        first = (
            data.draw(st.sampled_from(known))
            if known and data.draw(st.integers(0, 5))
            else data.draw(st.sampled_from([1, 9, OWN_IDS, OWN_IDS + 1, OWN_IDS + 9, ID_MAX]))
        )
        return first, data.draw(st.integers(1, min(6, ID_MAX + 1 - first)))

    @rule(data=st.data(), qos=st.integers(1, 2))
    def acknowledged(self, data: st.DataObject, qos: int) -> None:
        first, count = self.drawn(data)
        ended, unknown = self.flights.acknowledged(first, count, qos)
        wanted = [self.find(packet_id, qos, SENT) for packet_id in range(first, first + count)]
        assert unknown == wanted.count(None)
        assert single(ended) == [tuple(one[:5]) for one in wanted if one is not None]
        self.model = [one for one in self.model if one not in wanted]

    @rule(data=st.data())
    def received(self, data: st.DataObject) -> None:
        first, count = self.drawn(data)
        settled, unknown = self.flights.received(first, count)
        wanted = [self.find(packet_id, 2, SENT) for packet_id in range(first, first + count)]
        released = [self.find(packet_id, 2, RELEASED) for packet_id in range(first, first + count)]
        assert unknown == sum(a is None and b is None for a, b in zip(wanted, released, strict=True))
        assert single(settled) == [tuple(one[:5]) for one in wanted if one is not None]
        for one in wanted:
            if one is not None:
                one[4] = RELEASED

    @rule(data=st.data())
    def completed(self, data: st.DataObject) -> None:
        first, count = self.drawn(data)
        wanted = [self.find(packet_id, 2, RELEASED) for packet_id in range(first, first + count)]
        assert self.flights.completed(first, count) == wanted.count(None)
        self.model = [one for one in self.model if one not in wanted]

    @rule(maximum=st.sampled_from([1, 3, 20, ID_MAX]), stored=st.booleans())
    def resume(self, maximum: int, stored: bool) -> None:
        if stored:
            self.flights = flights.unpack(self.flights.pack())
        self.flights.resume(maximum)
        self.maximum = maximum
        for one in self.model:
            one[5] = False

    @rule()
    def again(self) -> None:
        found = single(self.flights.again())
        wanted = []
        for one in self.model:
            if one[5]:
                continue
            if one[4] == SENT and len(self.out()) >= self.maximum:
                break
            one[5] = True
            wanted.append(tuple(one[:5]))
        assert found == wanted

    @rule(source=st.integers(0, 2))
    def give_up(self, source: int) -> None:
        given = single(self.flights.give_up(source))
        assert given == [tuple(one[:5]) for one in self.model if one[0] == source and one[4] == SENT]
        self.model = [one for one in self.model if one[0] != source or one[4] != SENT]

    @precondition(lambda self: not self.restarts)
    @rule(next_id=st.sampled_from([OWN_IDS + 1, 65_530, ID_MAX]))
    def near_the_end(self, next_id: int) -> None:
        self.restarts += 1
        self.flights._next_id = next_id

    @invariant()
    def same(self) -> None:
        assert single(list(self.flights.spans())) == [tuple(one[:5]) for one in self.model]
        assert self.flights.count == len(self.model)
        waiting = len(self.out()) < len(self.model)
        assert self.flights.room() == (0 if waiting else max(0, self.maximum - len(self.model)))
        assert single(list(flights.unpack(self.flights.pack()).spans())) == [tuple(one[:5]) for one in self.model]


TestFlights = FlightsMachine.TestCase
TestFlights.settings = settings(max_examples=examples(40), stateful_step_count=40, deadline=None)


def test_identifiers_skip_those_in_use_and_wrap() -> None:
    made = Flights()
    made._next_id = 65_534
    first = made.begin(0, 0, 5, 1)
    assert [(span.first_id, span.count) for span in first] == [(65_534, 2), (49_152, 3)]
    made.acknowledged(65_535, 1, 1)
    made._next_id = 65_533
    assert [(span.first_id, span.count) for span in made.begin(0, 5, 4, 1)] == [(65_533, 1), (65_535, 1), (49_155, 2)]


def test_identifiers_by_offset() -> None:
    made = Flights()
    assert [(span.first_id, span.count) for span in made.begin_own(0, OWN_IDS - 2, 4, 2)] == [(OWN_IDS - 1, 2), (1, 2)]
    assert [(span.first_id, span.count) for span in made.begin_own(0, OWN_IDS + 2, OWN_IDS - 3, 2)] == [(3, OWN_IDS - 4)]  # one is left out
    assert made.begin_own(0, 2 * OWN_IDS - 2, 1, 2) == []
    made.received(OWN_IDS - 1, 1)
    assert made.begin_own(0, 2 * OWN_IDS - 2, 1, 2) == []
    made.completed(OWN_IDS - 1, 1)
    assert [span.first_id for span in made.begin_own(0, 2 * OWN_IDS - 2, 1, 2)] == [OWN_IDS - 1]


def test_all_identifiers_may_be_in_use() -> None:
    made = Flights()
    others = ID_MAX - OWN_IDS
    made.begin(0, 0, 1, 1)
    made._next_id = 60_000
    assert sum(span.count for span in made.begin(0, 1, others, 1)) == others - 1
    assert made.begin(0, others, 9, 1) == []
    made.acknowledged(50_777, 1, 1)
    assert [(span.first_id, span.count) for span in made.begin(0, others, 9, 1)] == [(50_777, 1)]
    assert made.count == others


def test_flights_that_go_on_are_one_span() -> None:
    """However many acknowledgements come in order, nothing grows."""
    made = Flights()
    made.begin(0, 0, 1000, 2)
    for packet_id in range(OWN_IDS + 1, OWN_IDS + 1001):
        made.received(packet_id, 1)
        assert len(list(made.spans())) <= 2
    assert [(span.state, span.count) for span in made.spans()] == [(RELEASED, 1000)]
    assert len(made.pack()) == 3 + 17


def test_what_the_client_has_is_not_given_up() -> None:
    made = Flights()
    made.begin(3, 0, 4, 2)
    made.received(OWN_IDS + 2, 1)
    assert single(made.give_up(3)) == [(3, at, OWN_IDS + 1 + at, 2, SENT) for at in (0, 2, 3)]
    assert single(list(made.spans())) == [(3, 1, OWN_IDS + 2, 2, RELEASED)]
    assert (made.count, made.completed(OWN_IDS + 2, 1), made.count) == (1, 0, 0)


GOOD = bytes.fromhex("01 c005" + "00 00000000 0000000000000007 0001 0002" + "81 00000000 0000000000000003 0003 0001")


def test_stored_flights_are_read_as_written() -> None:
    made = flights.unpack(GOOD)
    assert single(list(made.spans())) == [(0, 7, 1, 1, SENT), (0, 8, 2, 1, SENT), (0, 3, 3, 2, RELEASED)]
    assert made.pack() == GOOD
    assert made.room() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        b"\x02" + GOOD[1:],
        b"\x01\x00\x00",
        GOOD[:3] + b"\x02" + GOOD[4:],
        GOOD[:3] + b"\x01" + GOOD[4:],  # PUBREL of QoS 1
        GOOD[:-2] + b"\0\0",
        GOOD[:-4] + b"\0\0" + GOOD[-2:],
        GOOD[:-4] + b"\xff\xff\x00\x02",
        GOOD[:-4] + b"\x00\x02\x00\x01",  # in use twice
    ],
)
def test_stored_flights_that_are_none(data: bytes) -> None:
    with pytest.raises(CorruptData):
        flights.unpack(data)


# --- incoming ---------------------------------------------------------------------------------------------------------------------


class IncomingMachine(RuleBasedStateMachine):
    """The model: what a server has to do with each identifier, and how many messages it has not answered to the end."""

    ids = st.lists(st.integers(1, 12), min_size=1, max_size=6)

    def __init__(self) -> None:
        super().__init__()
        self.incoming = Incoming(15)
        self.states: dict[int, int] = {}
        self.unanswered = 0
        self.published = 0

    def total(self) -> int:
        return self.unanswered + len(self.states)

    @rule(ids=ids)
    def exactly_once(self, ids: list[int]) -> None:
        after = self.total() + len(set(ids) - set(self.states))
        if after > 15:
            with pytest.raises(MqttError) as raised:
                self.incoming.exactly_once(pack_ids(ids))
            assert raised.value.reason_code == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED
            for packet_id in ids:
                self.states.setdefault(packet_id, UNDER_WAY)
            self.end()
            return
        wanted = []
        for packet_id in ids:
            wanted.append(self.states.get(packet_id, NEW))
            self.states.setdefault(packet_id, UNDER_WAY)
        assert self.incoming.exactly_once(pack_ids(ids)) == wanted

    def end(self) -> None:
        """The connection ends; what was under way is stored, or not."""
        self.incoming.refused(pack_ids(packet_id for packet_id, state in self.states.items() if state == UNDER_WAY))
        self.states = {packet_id: state for packet_id, state in self.states.items() if state == TAKEN}
        self.resume(False)

    @rule(count=st.integers(1, 5))
    def at_least_once(self, count: int) -> None:
        self.unanswered += count
        if self.total() > 15:
            with pytest.raises(MqttError):
                self.incoming.at_least_once(count)
            self.end()
        else:
            self.incoming.at_least_once(count)

    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(0, self.unanswered))
        self.unanswered -= count
        self.incoming.answered(count)

    @rule(ids=ids)
    def stored(self, ids: list[int]) -> None:
        self.incoming.stored(pack_ids(ids))
        for packet_id in ids:
            if packet_id in self.states:
                self.states[packet_id] = TAKEN

    @rule(ids=ids)
    def refused(self, ids: list[int]) -> None:
        self.incoming.refused(pack_ids(ids))
        for packet_id in ids:
            if self.states.get(packet_id) == UNDER_WAY:
                del self.states[packet_id]

    @rule(ids=ids)
    def released(self, ids: list[int]) -> None:
        known, unknown = self.incoming.released(pack_ids(ids))
        wanted: tuple[list[int], list[int]] = ([], [])
        for packet_id in ids:
            taken = self.states.get(packet_id) == TAKEN
            wanted[0 if taken else 1].append(packet_id)
            if taken:
                del self.states[packet_id]
        assert (list(ids_of(known)), list(ids_of(unknown))) == wanted

    @rule(stored=st.booleans())
    def resume(self, stored: bool) -> None:
        if stored:
            self.incoming = incoming.unpack(self.incoming.pack(), 15)
            self.states = {packet_id: state for packet_id, state in self.states.items() if state == TAKEN}
        self.incoming.resume(15)
        self.unanswered = 0

    @invariant()
    def same(self) -> None:
        assert self.incoming.count == self.total()
        taken = sorted(packet_id for packet_id, state in self.states.items() if state == TAKEN)
        assert self.incoming.pack() == b"\x01" + pack_ids(taken)


TestIncoming = IncomingMachine.TestCase
TestIncoming.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)


def test_an_identifier_is_free_when_it_is_released() -> None:
    made = Incoming(10)
    assert made.exactly_once(pack_ids([5, 6])) == [NEW, NEW]
    assert made.exactly_once(pack_ids([5])) == [UNDER_WAY]
    made.stored(pack_ids([5, 6]))
    assert made.exactly_once(pack_ids([5])) == [TAKEN]
    assert made.released(pack_ids([5, 7])) == (pack_ids([5]), pack_ids([7]))
    assert made.released(pack_ids([5])) == (b"", pack_ids([5]))
    assert made.exactly_once(pack_ids([5, 6])) == [NEW, TAKEN]


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x01\x00", b"\x01\x00\x00", b"\x01\x00\x02\x00\x01", b"\x01\x00\x01\x00\x01"])
def test_stored_identifiers_that_are_none(data: bytes) -> None:
    with pytest.raises(CorruptData):
        incoming.unpack(data, 10)


def test_who_knows_no_maximum_has_none() -> None:
    made = Incoming(incoming.UNLIMITED)
    made.at_least_once(1_000_000)
    assert made.exactly_once(pack_ids(range(1, ID_MAX + 1))) == [NEW] * ID_MAX
    assert made.count == 1_000_000 + ID_MAX


@pytest.mark.parametrize(
    ("runs", "ordered"),
    [
        ([], []),
        ([(5, 3)], [(5, 3)]),
        ([(5, 3), (20, 1)], [(5, 3), (20, 1)]),
        ([(1, 19), (OWN_IDS - 129, 130)], [(OWN_IDS - 129, 130), (1, 19)]),
        ([(2, 1), (9, 2), (OWN_IDS - 9, 4), (OWN_IDS - 1, 2)], [(OWN_IDS - 9, 4), (OWN_IDS - 1, 2), (2, 1), (9, 2)]),
        ([(1, 2), (OWN_IDS, 3)], [(OWN_IDS, 1), (1, 2), (OWN_IDS + 1, 2)]),
        ([(OWN_IDS + 7, 2)], [(OWN_IDS + 7, 2)]),
    ],
)
def test_released_ones_come_again_as_they_were_sent(runs: list[tuple[int, int]], ordered: list[tuple[int, int]]) -> None:
    assert in_order(runs) == ordered
