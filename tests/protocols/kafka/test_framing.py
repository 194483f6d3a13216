"""The receive buffer: whole requests whatever the pieces, and no more memory than what has arrived."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES, BUFFER_MIN_BYTES

MODES = both("entrepot.protocols.kafka.framing", "entrepot.net.receive_buffer", "entrepot.protocols.kafka.primitives")


def fill(framing, data, step):
    """Feed bytes, at most `step` at a time; what was taken out whenever something was there."""
    taken = []
    while data:
        room = framing.writable()
        size = min(len(room), step, len(data))
        assert size > 0
        room[:size] = data[:size]
        data = data[size:]
        framing.received(size)
        while framing.next():
            reader = framing.reader()
            taken.append(reader.octets(reader.end - reader.pos))
            framing.consume()
    return taken


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
@given(requests=st.lists(st.binary(min_size=8, max_size=30_000), max_size=8), step=st.integers(1, 50_000))
@settings(max_examples=examples(60))
def test_any_split_gives_the_same_requests(module, requests, step):
    framing = module.Framing(1 << 20, 1 << 20)
    data = b"".join(len(request).to_bytes(4, "big") + request for request in requests)
    assert fill(framing, data, max(step, len(data) // 300)) == requests
    framing.shrink()
    assert framing.buffer_bytes == BUFFER_MIN_BYTES


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_a_large_request_takes_what_it_needs_and_gives_it_back(module):
    framing = module.Framing(64 << 20, 1 << 20)
    request = b"\0\0" + bytes(20 << 20)
    assert fill(framing, len(request).to_bytes(4, "big") + request, 1 << 20) == [request]
    assert framing.buffer_bytes <= len(request) + 4
    framing.writable()
    assert framing.buffer_bytes == BUFFER_MAX_BYTES


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_memory_follows_the_bytes_not_the_claim(module):
    framing = module.Framing(100 << 20, 1 << 20)
    fill(framing, (100 << 20).to_bytes(4, "big") + b"\0\0" + bytes(10_000), 1000)
    assert framing.buffer_bytes < 40_000


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_what_is_not_taken_stays_and_there_is_always_room(module):
    framing = module.Framing(1 << 20, 1 << 20)
    data = (b"\0\0\0\x08" + b"12345678") * 40_000
    while data:
        room = framing.writable()
        size = min(len(room), len(data))
        assert size > 0
        room[:size] = data[:size]
        data = data[size:]
        framing.received(size)
    for _ in range(40_000):
        assert framing.next()
        framing.consume()
    assert not framing.next()


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_a_quiet_connection_gives_memory_back(module):
    framing = module.Framing(1 << 20, 1 << 20)
    fill(framing, (200_000).to_bytes(4, "big") + bytes(200_000), 100_000)
    assert framing.buffer_bytes > 100_000
    for _ in range(1000):
        fill(framing, b"\0\0\0\x08" + b"12345678", 12)
    assert framing.buffer_bytes < 10_000


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_raw_messages_have_no_header(module):
    framing = module.Framing(1 << 20, 1 << 20)
    framing.raw = True
    framing.writable()[:7] = b"\0\0\0\3abc"
    framing.received(7)
    assert framing.next()
    assert (framing.api_key, framing.token()) == (-1, b"abc")


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
@given(size=st.integers(100, 300_000), behind=st.integers(0, 400_000), more=st.integers(1, 400_000), seed=st.integers(0, 99))
@settings(max_examples=examples(60))
def test_what_is_lent_stays_whatever_comes_behind_it(module, size, behind, more, seed):
    chance = random.Random(seed)
    framing = module.Framing(1 << 20, 1 << 20)
    requests = [chance.randbytes(length) for length in (size, behind + 8, more + 8)]
    data = b"".join(len(request).to_bytes(4, "big") + request for request in requests)
    at = 4 + size + behind // 2
    begun = data[:at]
    while begun:
        room = framing.writable()
        step = min(len(room), len(begun))
        room[:step] = begun[:step]
        begun = begun[step:]
        framing.received(step)
    assert framing.next()
    reader = framing.reader()
    framing.lend()
    framing.consume()
    again = framing.reader() if framing.next() else None
    if again is not None:
        framing.lend()
        framing.consume()
        framing.give_back()
        assert again.octets(again.end - again.pos) == requests[1]
        del requests[1]
    assert fill(framing, data[at:], 50_000) == requests[1:]
    if chance.random() < 0.5:
        framing.shrink()
    assert reader.octets(reader.end - reader.pos) == requests[0]
    framing.give_back()
    assert fill(framing, data, 50_000)[-1] == requests[-1]


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_a_large_buffer_grows_where_it_lies_unless_somebody_looks_at_it(module):
    framing = module.Framing(64 << 20, 64 << 20)
    request = b"\0\0" + bytes(range(256)) * (20 << 12)
    data = len(request).to_bytes(4, "big") + request
    views, at = [], 0
    while at < len(data):
        room = framing.writable()
        if at % 3:
            views = [room]  # somebody holds on to it
        size = min(len(room), len(data) - at, 1_000_001)
        room[:size] = data[at : at + size]
        framing.received(size)
        at += size
    assert framing.next()
    assert views
    reader = framing.reader()
    assert reader.octets(reader.end - reader.pos) == request
