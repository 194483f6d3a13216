"""The specification's tables, held against those that paho-mqtt has, and against themselves."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode as PahoReason

from entrepot.protocols.mqtt.packets import PACKETS, Packet, PacketType
from entrepot.protocols.mqtt.property_table import BY_ID, PROPERTIES, PropertyId, PropertyType
from entrepot.protocols.mqtt.reason_codes import BY_CLIENT, REASONS, RETURN_CODES_311, ReasonCode

PAHO_TYPES = {
    "Byte": PropertyType.BYTE,
    "Two Byte Integer": PropertyType.TWO_BYTE,
    "Four Byte Integer": PropertyType.FOUR_BYTE,
    "Variable Byte Integer": PropertyType.VARIABLE,
    "Binary Data": PropertyType.BINARY,
    "UTF-8 Encoded String": PropertyType.STRING,
    "UTF-8 String Pair": PropertyType.STRING_PAIR,
}


def test_packets_are_those_of_paho() -> None:
    theirs = {name: number for name, number in vars(PacketTypes).items() if isinstance(number, int) and name != "WILLMESSAGE"}
    assert {packet.type.name: int(packet.type) for packet in PACKETS} == theirs


def test_properties_are_those_of_paho() -> None:
    theirs = Properties(PacketTypes.PUBLISH)
    found = {}
    for number, (kind, packets) in theirs.properties.items():
        found[number] = (PAHO_TYPES[theirs.types[kind]], {PacketType(0 if one == PacketTypes.WILLMESSAGE else one) for one in packets})
    assert found == {one.id: (one.type, set(one.packets)) for one in PROPERTIES}
    assert {name.upper().replace(" ", "_"): number for name, number in theirs.names.items()} == {one.name: int(one) for one in PropertyId}


def test_what_may_stand_several_times() -> None:
    assert [one.id for one in PROPERTIES if one.repeated_in] == [PropertyId.SUBSCRIPTION_IDENTIFIER, PropertyId.USER_PROPERTY]
    assert all(set(one.repeated_in) <= set(one.packets) and set(one.client_must_not) <= set(one.packets) for one in PROPERTIES)


def test_each_place_of_a_property_has_its_section() -> None:
    for one in PROPERTIES:
        if one.id != PropertyId.USER_PROPERTY:
            assert len(one.sections.split(", ")) == len(one.packets), one


def test_reason_codes_are_those_of_paho_but_for_one() -> None:
    theirs: dict[PacketType, set[int]] = {}
    for number, names in PahoReason(PacketTypes.CONNACK).names.items():
        for packets in names.values():
            for packet in packets:
                theirs.setdefault(PacketType(packet), set()).add(number)
    ours = {packet: {int(one) for one in codes} for packet, codes in REASONS.items()}
    ours[PacketType.CONNACK].discard(ReasonCode.PAYLOAD_FORMAT_INVALID)  # table 3-1 has it, for the will's payload
    assert ours == theirs


def test_what_clients_may_send_is_among_what_may_be_sent() -> None:
    assert all(codes <= REASONS[packet] for packet, codes in BY_CLIENT.items())
    assert set(RETURN_CODES_311) <= REASONS[PacketType.CONNACK]
    assert set(RETURN_CODES_311.values()) == set(range(6))


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: packet.type.name)
def test_sections_follow_the_types(packet: Packet) -> None:
    assert packet.section == f"3.{int(packet.type)}"


def test_identifiers_fit_one_octet() -> None:
    """What a variable byte integer of one octet holds: readers of lists look at one."""
    assert all(0 < int(one) < 0x80 for one in BY_ID)
