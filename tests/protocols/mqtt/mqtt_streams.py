"""Streams of what a client may send, and of what it may not, for the decoder's tests."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st
from mqtt_wire import DISCONNECT, PING, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, alias, connect, expiry, listed, publish, string, subscribe, unsubscribe, user

TOPICS = [b"a", b"a/b", "ü/𝄞".encode(), b"/", b"t" * 200]
ALIAS_MAX = 3
OTHERS = [b"\x01\x01", b"\x03" + string(b"text/plain"), b"\x08" + string(b"re/ply"), b"\x09" + string(b"\0\xff")]

_properties = st.lists(
    st.one_of(
        st.sampled_from([user(b"n", b"v"), user("ä", b""), user(b"", b"x" * 200)]),
        st.builds(user, st.sampled_from([b"k", b"l"]), st.binary(max_size=3).map(lambda value: value.hex())),
    ),
    max_size=3,
)


@st.composite
def publishes_5(draw: st.DrawFn) -> bytes:
    parts = draw(_properties)
    for one in (
        expiry(draw(st.integers(0, 2**32 - 1))),
        b"\x01\x01",
        b"\x03" + string(b"text/plain"),
        b"\x08" + string(b"re/ply"),
        b"\x09" + string(b"\0\xff"),
    ):
        if draw(st.integers(0, 3)) == 0:
            parts.insert(draw(st.integers(0, len(parts))), one)
    topic = draw(st.sampled_from(TOPICS))
    if draw(st.integers(0, 2)) == 0:
        number = TOPICS.index(topic) % ALIAS_MAX + 1
        parts.insert(draw(st.integers(0, len(parts))), alias(number))
    qos = draw(st.integers(0, 2))
    payload = draw(st.binary(max_size=20)) * draw(st.sampled_from([1, 1, 1, 300]))
    return publish(
        topic, payload, qos, draw(st.integers(1, 65535)), retain=draw(st.booleans()), dup=bool(qos) and draw(st.booleans()), properties=listed(*parts)
    )


_publishes_4 = st.builds(
    lambda topic, payload, qos, packet_id, retain: publish(topic, payload, qos, packet_id, retain=retain),
    st.sampled_from(TOPICS),
    st.binary(max_size=30),
    st.integers(0, 2),
    st.integers(1, 65535),
    st.booleans(),
)
_acks = st.builds(ack, st.sampled_from([PUBACK, PUBREC, PUBREL, PUBCOMP]), st.integers(1, 65535))
_acks_5 = st.builds(
    ack, st.sampled_from([PUBACK, PUBREC]), st.integers(1, 9), st.sampled_from([b"", b"\x00", b"\x10", b"\x87", b"\x87\x00", b"\x80" + listed(user("a", "b"))])
)
_others_4 = st.sampled_from([PING, subscribe(7, (b"a/#", 1), (b"+", 0)), unsubscribe(8, b"x", b"y")])
_others_5 = st.sampled_from(
    [PING, subscribe(7, (b"a/#", 1), (b"+", 0x2E), properties=listed(b"\x0b\xff\x01")), unsubscribe(8, b"x", b"y", properties=listed(user("u", "v")))]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A connection from CONNECT on; of version 5 where its seventh octet says so."""
    version = draw(st.sampled_from([3, 4, 5]))
    kinds = (publishes_5(), publishes_5(), _acks, _acks_5, _others_5) if version == 5 else (_publishes_4, _publishes_4, _acks, _others_4)
    packets = draw(st.lists(st.one_of(*kinds).flatmap(lambda one: st.sampled_from([1, 1, 2, 5]).map(lambda times: one * times)), max_size=12))
    if draw(st.integers(0, 3)) == 0:
        packets.append(DISCONNECT)
    return connect(version) + b"".join(packets)


def hostile(seed: int, count: int) -> Iterator[bytes]:
    """Good streams with octets changed, left out, put in or said twice."""
    chance = random.Random(seed)
    for _ in range(count):
        version = chance.choice([3, 4, 5])
        said = listed(*chance.choice([(), (b"\x21\x00\x05",), (b"\x11\x00\x00\x00\x05", user("a", "b"))]))
        data = bytearray(connect(version, properties=said))
        for _ in range(chance.randint(1, 6)):
            data += _packet(chance, version)
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(len(data))
            deed = chance.randrange(4)
            if deed == 0:
                data[at] ^= 1 << chance.randrange(8)
            elif deed == 1:
                data[at] = chance.choice([0, 0x7F, 0x80, 0xFF])
            elif deed == 2:
                del data[at]
            else:
                data[at:at] = data[at : at + chance.randint(1, 4)]
        yield bytes(data)


def _packet(chance: random.Random, version: int) -> bytes:
    five = version == 5
    parts = listed(*chance.sample([expiry(9), alias(chance.randint(0, 4)), user("a", "b"), *OTHERS], chance.randint(0, 4)))
    return chance.choice(
        [
            publish(chance.choice([*TOPICS, b""]), b"xyz", chance.randint(0, 2), chance.randint(0, 3), properties=parts if five else None),
            ack(chance.choice([4, 5, 6, 7]), chance.randint(0, 3), chance.choice([b"", b"\x00"]) if five else b""),
            subscribe(1, (b"a/b", chance.randint(0, 3)), properties=b"\0" if five else b""),
            unsubscribe(1, b"a", properties=b"\0" if five else b""),
            PING,
        ]
    )
