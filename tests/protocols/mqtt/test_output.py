"""Packed records to PUBLISHes, runs of acknowledgements, single packets: read back octet by octet; compiled and source agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_wire import Server, expiry, read_variable, record, u16, user, variable

from both_modes import both, examples
from entrepot.net.output_buffer import PART_BYTES, REFERENCED_BODY_MIN_BYTES
from entrepot.protocols.mqtt import answers, packing
from entrepot.protocols.mqtt.output import RETAIN_AS_PUBLISHED, RETAIN_CLEAR
from entrepot.protocols.mqtt.properties import Properties
from entrepot.protocols.mqtt.property_table import PropertyId

MODULES = both("entrepot.protocols.mqtt.output")
PACKINGS = both("entrepot.protocols.mqtt.packing")
output = MODULES[0]
SUBSCRIBED = b"\x0b\x07"  # subscription identifier 7

records = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 4, 5, 6, 0x10, 0x11, 0x16]),
        st.sampled_from([0, 1, 100, 240, REFERENCED_BODY_MIN_BYTES + 1]),
        st.sampled_from([b"", user("a", "b"), user("a", "b" * 200)]),
        st.sampled_from([-1, -1, 0, 10, 2**32 - 1]),
    ),
    max_size=8,
)


def with_payloads(listed: list[Any]) -> list[Any]:
    """Of the sizes that were drawn, each of an octet of its own."""
    return [(flags, bytes([number]) * size, *rest) for number, (flags, size, *rest) in enumerate(listed)]


def deliver(module: Any, data: bytes, count: int, first_id: int = 1, age_s: int = 0, **how: Any) -> tuple[bytes, int, int]:
    out = module.Output()
    template = module.make_template(how.pop("topic", b"t/x"), how.pop("qos", 0), **{"has_properties": True, **how})
    pos = out.deliver(data, 0, count, template, first_id, age_s)
    size, parts = out.size, out.take()
    assert size == sum(map(len, parts))
    return b"".join(parts), pos, out.written


@settings(max_examples=examples(200), deadline=None)
@given(records, st.integers(0, 2), st.integers(0, 1), st.booleans(), st.booleans(), st.integers(0, 12), st.integers(1, 65527), st.sampled_from([0, 40, 300]))
def test_deliveries_say_what_the_records_do(
    listed: list[Any], qos: int, retain: int, five: bool, again: bool, age_s: int, first_id: int, packet_max: int
) -> None:
    listed = with_payloads(listed)
    data = b"".join(record(*one) for one in listed)
    how = {"qos": qos, "retain": retain, "has_properties": five, "is_repeated": again, "packet_max": packet_max, "properties": SUBSCRIBED if five else b""}
    found = [deliver(module, data, len(listed), first_id, age_s, **how) for module in MODULES]
    assert found[0] == found[1]
    octets, pos, written = found[0]
    assert pos == packing.skip(data, 0, written)
    wanted = []
    for flags, payload, properties, expiry_s in listed:
        left = expiry(max(expiry_s - age_s, 0)) if expiry_s >= 0 else b""
        one = {"topic": b"t/x", "qos": qos, "retain": bool(flags & 0x10 or (retain == RETAIN_AS_PUBLISHED and flags & 4)), "dup": again}
        if qos:
            one["id"] = first_id + len(wanted)
        if five:
            one["properties"] = left + SUBSCRIBED + properties
        wanted.append({**one, "payload": payload})
    sent = Server(octets, 5 if five else 4).publishes()
    assert sent == wanted[:written]
    assert all(not 0 <= one[3] <= age_s for one in listed[:written])
    assert not packet_max or all(1 + len(variable(len(rest))) + len(rest) <= packet_max for _, _, rest in Server(octets, 5).packets)
    if written < len(listed):  # there is a reason to stop
        _, payload, properties, expiry_s = listed[written]
        longest = 5 + 5 + 2 + 4 + 5 + 2 + len(properties) + len(payload)
        assert 0 <= expiry_s <= age_s or (packet_max and longest > packet_max)


@pytest.mark.parametrize("size", [0, 118, 119, 120, 121, 122, 123, 124, 16_370, 16_371, 16_372, 16_373, 16_374, 16_375, 16_376, 16_377, 16_378, 2_097_150])
@pytest.mark.parametrize("five", [False, True])
def test_sizes_about_where_the_length_grows(size: int, five: bool) -> None:
    octets, _, _ = deliver(output, record(0, bytes(size)), 1, has_properties=five)
    rest, at = read_variable(octets[1:])
    assert rest == len(octets) - 1 - at == 5 + size + five
    assert deliver(output, record(0, bytes(size)), 1, has_properties=five, packet_max=len(octets))[2] == 1
    assert deliver(output, record(0, bytes(size)), 1, has_properties=five, packet_max=len(octets) - 1) == (b"", 0, 0)


def test_a_topic_may_be_an_alias() -> None:
    (sent,) = Server(deliver(output, record(0, b"x"), 1, topic=b"", properties=b"\x23\x00\x05")[0], 5).publishes()
    assert (sent["topic"], sent["properties"]) == (b"", b"\x23\x00\x05")


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("first_id", "count", "qos"), [(0, 1, 1), (65535, 2, 2), (-1, 1, 0)])
def test_identifiers_that_there_are_not(module: Any, first_id: int, count: int, qos: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        deliver(module, record(2, b"") * count, count, first_id, qos=qos)
    assert deliver(module, record(2, b""), 1, 65535, qos=2)[2] == 1


@pytest.mark.parametrize("module", MODULES)
def test_records_that_end_early_are_not_read_beyond(module: Any) -> None:
    whole = record(1, bytes(30), user("a", "b"), 9)
    for cut in range(len(whole)):
        with pytest.raises(IndexError):
            deliver(module, whole[:cut], 1, qos=1)
    large = record(1, bytes(20_000))
    with pytest.raises(IndexError):
        deliver(module, large[:-1], 1, qos=1)


def test_large_payloads_are_not_copied() -> None:
    data = record(0, bytes(REFERENCED_BODY_MIN_BYTES)) + record(0, b"x")
    out = output.Output()
    out.deliver(data, 0, 2, output.make_template(b"t", 0, has_properties=False), 0, 0)
    parts = out.take()
    assert [type(part) for part in parts] == [bytes, memoryview, bytes]
    assert parts[1].obj is data
    assert out.size == 0


@pytest.mark.parametrize("module", MODULES)
def test_runs_of_acknowledgements(module: Any) -> None:
    out = module.Output()
    out.acks(4, u16(1) + u16(65535), 0)
    out.acks(5, u16(3), 0x10)
    out.acks(6, u16(4), 0)
    out.acks(7, u16(5), 0x92)
    out.acks(7, b"", 0)
    out.pings(2)
    assert Server(out.take_joined(), 5).packets == [
        (4, 0, u16(1)),
        (4, 0, u16(65535)),
        (5, 0, u16(3) + b"\x10"),
        (6, 2, u16(4)),
        (7, 0, u16(5) + b"\x92"),
        (13, 0, b""),
        (13, 0, b""),
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_buffer_that_is_of_little_use_goes(module: Any) -> None:
    out = module.Output()
    out.raw(bytes(100_000))
    assert len(out.take_joined()) == 100_000
    assert out.buffer_bytes >= 100_000
    for _ in range(64):
        out.pings(1)
        out.take()
    assert out.buffer_bytes < 1024
    out.raw(bytes(PART_BYTES))
    out.raw(b"\xd0\x00")
    assert out.size == PART_BYTES + 2
    assert [len(part) for part in out.take()] == [PART_BYTES, 2]
    out.release()
    assert out.buffer_bytes == 0


# --- packing ----------------------------------------------------------------------------------------------------------------------


@given(records, st.integers(0, 2))
def test_packed_records(listed: list[Any], qos_max: int) -> None:
    listed = with_payloads(listed)
    data = b"".join(record(*one) for one in listed)
    for module in PACKINGS:
        assert data == b"".join(module.pack_record(flags, expiry_s, properties, payload) for flags, payload, properties, expiry_s in listed)
        pos = 0
        for flags, payload, properties, expiry_s in listed:
            assert module.flags_of(data, pos) & ~8 == flags
            assert (module.expiry_of(data, pos), module.properties_of(data, pos), module.payload_of(data, pos)) == (expiry_s, properties, payload)
            assert module.qos_of(data, pos, qos_max) == min(flags & 3, qos_max)
            pos = module.skip(data, pos, 1)
        assert pos == len(data)
        qualities = [(min(flags & 3, qos_max), flags & 0x10) for flags, *_ in listed]
        alike = next((at for at, qos in enumerate(qualities) if qos != qualities[0]), len(qualities))
        assert module.alike_count(data, 0, len(listed), qos_max) == alike


# --- single packets ---------------------------------------------------------------------------------------------------------------


def read(octets: bytes, version: int) -> tuple[int, int, bytes]:
    (one,) = Server(octets, version).packets
    return one


def test_connack() -> None:
    properties = Properties([(PropertyId.RECEIVE_MAXIMUM, 20), (PropertyId.ASSIGNED_CLIENT_IDENTIFIER, "me"), (PropertyId.USER_PROPERTY, ("a", "b"))])
    assert read(answers.connack(5, True, 0, properties), 5) == (2, 0, b"\x01\x00\x0f\x21\x00\x14\x12\x00\x02me" + user("a", "b"))
    assert read(answers.connack(5, True, 0x87), 5) == (2, 0, b"\x00\x87\x00")
    assert read(answers.connack(4, True, 0), 4) == (2, 0, b"\x01\x00")
    assert read(answers.connack(3, True, 0), 3) == (2, 0, b"\x00\x00")
    assert read(answers.connack(4, True, 0x85), 4) == (2, 0, b"\x00\x02")
    assert answers.connack(4, False, 0x81) == b""


def test_suback_and_its_kin() -> None:
    why = Properties([(PropertyId.REASON_STRING, "so")])
    assert read(answers.suback(5, 7, [0, 2, 0x8F], why), 5) == (9, 0, u16(7) + b"\x05\x1f\x00\x02so\x00\x02\x8f")
    assert read(answers.suback(4, 7, [0, 2, 0x8F], why), 4) == (9, 0, u16(7) + b"\x00\x02\x80")
    assert read(answers.unsuback(5, 7, [0, 0x11]), 5) == (11, 0, u16(7) + b"\x00\x00\x11")
    assert read(answers.unsuback(4, 7, [0, 0x11]), 4) == (11, 0, u16(7))
    assert read(answers.acknowledgement(6, 7, 0x92, why), 5) == (6, 2, u16(7) + b"\x92\x05\x1f\x00\x02so")
    assert read(answers.disconnect(0x8E), 5) == (14, 0, b"\x8e\x00")
    assert read(answers.auth(0x18, Properties([(PropertyId.AUTHENTICATION_METHOD, "m")])), 5) == (15, 0, b"\x18\x04\x15\x00\x01m")


def test_what_a_client_takes_no_packet_as_long_for_is_left_out() -> None:
    both_of = Properties([(PropertyId.USER_PROPERTY, ("a", "b" * 50)), (PropertyId.REASON_STRING, "c" * 20), (PropertyId.SERVER_REFERENCE, "s")])
    sizes = [len(answers.disconnect(0x9C, both_of, most)) for most in (0, 200, 40, 10, 1)]
    assert sizes[0] == sizes[1] == 4 + 56 + 23 + 4
    assert sizes[2] == 4 + 23 + 4
    assert sizes[3] == sizes[4] == 4 + 4


def test_every_property_is_written_as_it_is_read() -> None:
    from entrepot.protocols.mqtt.packets import PacketType
    from entrepot.protocols.mqtt.properties import Reader, read_properties, write_properties
    from entrepot.protocols.mqtt.property_table import PROPERTIES, PropertyType

    values: dict[PropertyType, Any] = {
        PropertyType.BINARY: b"\0\xff",
        PropertyType.STRING: "ü",
        PropertyType.STRING_PAIR: ("", "x"),
        PropertyType.VARIABLE: 300,
    }
    for packet in PacketType:
        items = [(one.id, values.get(one.type, 1)) for one in PROPERTIES if packet in one.packets and packet not in one.client_must_not]
        written = write_properties(Properties(items))
        reader = Reader(written)
        assert read_properties(reader, packet).items == items
        assert reader.left == 0


@pytest.mark.parametrize("retain", [RETAIN_CLEAR, RETAIN_AS_PUBLISHED])
def test_retain(retain: int) -> None:
    sent = Server(deliver(output, record(4, b"") + record(0, b"") + record(0x10, b""), 3, retain=retain)[0], 5).publishes()
    assert [one["retain"] for one in sent] == [retain == RETAIN_AS_PUBLISHED, False, True]
