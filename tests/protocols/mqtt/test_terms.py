"""CONNECT and CONNACK for each version, topic aliases towards a client, and when things end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocols.mqtt.aliases import ALIASES_MAX, SIZE_MIN_BYTES, OutgoingAliases
from entrepot.protocols.mqtt.events import Connect
from entrepot.protocols.mqtt.negotiation import Offer, Terms, agree, connack_properties
from entrepot.protocols.mqtt.properties import Properties
from entrepot.protocols.mqtt.property_table import PropertyId as Id
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode
from entrepot.protocols.mqtt.times import NEVER_S, End, changed_expiry, end_of, left_s, silent_after


def connect(version: int = 5, client_id: str = "c", clean: bool = True, keep_alive_s: int = 60, **properties: Any) -> Connect:
    listed = Properties([(Id[name.upper()], value) for name, value in properties.items()])
    return Connect(version, client_id, clean, keep_alive_s, None, None, None, listed)


def agreed(one: Connect, **offer: int) -> tuple[Terms, list[Any]]:
    made = Offer(**offer)
    terms = agree(one, made, "made-up")
    return terms, connack_properties(one, terms, made).items


def test_what_a_client_of_5_that_says_nothing_gets() -> None:
    terms, said = agreed(connect())
    assert (terms.session_expiry_s, terms.keep_alive_s, terms.receive_maximum, terms.packet_max) == (0, 60, 1000, 268_435_460)
    assert (terms.topic_alias_maximum, terms.says_problems, terms.wants_response_information) == (0, True, False)
    assert said == [(Id.RECEIVE_MAXIMUM, 1000), (Id.TOPIC_ALIAS_MAXIMUM, 16)]


def test_what_it_says_holds() -> None:
    said = {"session_expiry_interval": 30, "receive_maximum": 7, "maximum_packet_size": 900, "topic_alias_maximum": 3}
    terms, _ = agreed(connect(**said, request_problem_information=0, request_response_information=1))
    assert (terms.session_expiry_s, terms.receive_maximum, terms.packet_max, terms.topic_alias_maximum) == (30, 7, 900, 3)
    assert (terms.says_problems, terms.wants_response_information) == (False, True)


def test_what_is_cut_is_said() -> None:
    _, said = agreed(connect(session_expiry_interval=NEVER_S, keep_alive_s=0), session_expiry_max_s=3600, keep_alive_max_s=300, packet_max=5000)
    assert dict(said) == {
        Id.SESSION_EXPIRY_INTERVAL: 3600,
        Id.RECEIVE_MAXIMUM: 1000,
        Id.MAXIMUM_PACKET_SIZE: 5000,
        Id.TOPIC_ALIAS_MAXIMUM: 16,
        Id.SERVER_KEEP_ALIVE: 300,
    }
    terms, said = agreed(connect(keep_alive_s=100), keep_alive_max_s=300, receive_maximum=65_535, topic_alias_maximum=0)
    assert (terms.keep_alive_s, said) == (100, [])


def test_our_receive_maximum_is_not_the_clients() -> None:
    terms, said = agreed(connect(receive_maximum=5), receive_maximum=10)
    assert (terms.receive_maximum, dict(said)[Id.RECEIVE_MAXIMUM]) == (5, 10)
    assert agreed(connect(receive_maximum=60_000), in_flight_max=200)[0].receive_maximum == 200


def test_an_identifier_is_made_up_and_told() -> None:
    terms, said = agreed(connect(client_id="", clean=False))
    assert (terms.client_id, terms.is_assigned) == ("made-up", True)
    assert said[-1] == (Id.ASSIGNED_CLIENT_IDENTIFIER, "made-up")
    terms, said = agreed(connect(4, client_id="", clean=True))
    assert (terms.client_id, said) == ("made-up", [])


@pytest.mark.parametrize(("version", "client_id", "clean"), [(4, "", False), (3, "", True), (3, "", False), (5, "x" * 256, True), (4, "ü" * 128, True)])
def test_identifiers_that_are_refused(version: int, client_id: str, clean: bool) -> None:
    with pytest.raises(MqttError) as raised:
        agree(connect(version, client_id, clean), Offer(), "made-up")
    assert raised.value.reason_code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("clean", [False, True])
def test_sessions_of_earlier_versions(version: int, clean: bool) -> None:
    terms, said = agreed(connect(version, clean=clean, keep_alive_s=0), session_expiry_max_s=1000, keep_alive_max_s=300)
    assert (terms.session_expiry_s, terms.clean_start, terms.keep_alive_s, said) == (0 if clean else 1000, clean, 0, [])


# --- aliases ----------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.lists(st.integers(0, 9)))
def test_a_client_reads_the_topic_that_was_meant(maximum: int, numbers: list[int]) -> None:
    aliases = OutgoingAliases(maximum)
    known: dict[int, bytes] = {}  # the client's
    for number in numbers:
        topic = b"topic/%d" % number
        alias, is_known = aliases.of(topic)
        assert 0 <= alias <= maximum
        assert bool(alias) == (maximum > 0)
        if not is_known and alias:
            known[alias] = topic  # the packet has both
        if is_known:
            assert known[alias] == topic


def test_topics_in_use_keep_their_aliases() -> None:
    aliases = OutgoingAliases(2)
    assert [aliases.of(topic) for topic in (b"first/1", b"second/2", b"first/1", b"third/3")] == [(1, False), (2, False), (1, True), (2, False)]
    assert aliases.of(b"first/1") == (1, True)


def test_short_topics_have_none_and_memory_is_bounded() -> None:
    aliases = OutgoingAliases(65_535)
    assert aliases.of(b"a" * (SIZE_MIN_BYTES - 1)) == (0, False)
    assert max(aliases.of(b"topic/%d" % number)[0] for number in range(1000)) == ALIASES_MAX


# --- times ------------------------------------------------------------------------------------------------------------------------


def test_keep_alive_is_one_and_a_half_times_what_is_said() -> None:
    assert (silent_after(100.0, 60), silent_after(100.0, 1), silent_after(100.0, 0)) == (190.0, 101.5, 0.0)


@pytest.mark.parametrize(
    ("expiry_s", "delay_s", "end"),
    [
        (0, None, End(1000, None)),
        (0, 0, End(1000, 1000)),
        (0, 30, End(1000, 1000)),  # the session ends first
        (60, 30, End(61_000, 31_000)),
        (60, 90, End(61_000, 61_000)),
        (60, None, End(61_000, None)),
        (NEVER_S, None, End(None, None)),
        (NEVER_S, 90, End(None, 91_000)),
        (NEVER_S - 1, NEVER_S, End(1000 + 1000 * (NEVER_S - 1), 1000 + 1000 * (NEVER_S - 1))),
    ],
)
def test_what_the_end_of_a_connection_leaves(expiry_s: int, delay_s: int | None, end: End) -> None:
    assert end_of(1000, expiry_s, delay_s) == end


def test_a_session_is_over_at_its_end() -> None:
    end = end_of(1000, 60, None)
    assert (end.is_over(60_999), end.is_over(61_000)) == (False, True)
    assert not end_of(1000, NEVER_S, None).is_over(2**62)


@pytest.mark.parametrize(("agreed_s", "wanted_s", "after"), [(5, None, 5), (0, None, 0), (0, 0, 0), (0, 1, None), (5, 0, 0), (5, 50, 50), (5, NEVER_S, 100)])
def test_disconnect_changes_the_expiry(agreed_s: int, wanted_s: int | None, after: int | None) -> None:
    assert changed_expiry(agreed_s, wanted_s, 100) == after


def test_what_is_left_of_an_expiry() -> None:
    assert [left_s(10, age_ms) for age_ms in (0, 999, 1000, 9999, 10_000, 10**9)] == [10, 10, 9, 1, 0, 0]
