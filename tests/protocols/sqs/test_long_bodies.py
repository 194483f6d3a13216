"""Bodies that are looked at in pieces: what is found is what is found in one go."""

import base64
import hashlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.logs.hub import LARGE_BYTES, Hub
from entrepot.model.entry import CODEC_AMQP_091, CODEC_SQS, restore_entry, stored_entry
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.sqs.from_neutral import is_text
from entrepot.protocols.sqs.long_bodies import PIECE_BYTES, base64_of, base64_pieces, text_end, text_pieces
from entrepot.protocols.sqs.records import SqsEntryCodec

CHARACTERS = [b"a", b"\n", "\u0436".encode(), "\u4e2d".encode(), "\U0001f600".encode(), b"\xf4\x8f\xbf\xbd", b"\xee\x80\x80", b"\xed\x9f\xbf"]
OTHERS = [
    b"\0",
    b"\x1f",
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xef\xbf\xbe",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xe4",
    b"\xf0\x9f",
]


@given(st.lists(st.sampled_from([*CHARACTERS * 2, *OTHERS]), max_size=6) | st.lists(st.binary(max_size=4), max_size=4))
@example([])
@settings(max_examples=examples(400))
def test_text_is_what_is_text_in_one_go(parts):
    body = b"".join(parts)
    found = text_pieces(memoryview(body))
    assert (found is not None) == is_text(body)
    if found is not None:
        assert (b"".join(found[0]), found[1]) == (body, hashlib.md5(body).digest())


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a_character_may_lie_over_the_end_of_a_piece(character, before):
    body = b"x" * before + character * (2 * PIECE_BYTES // len(character))
    pieces, digest = text_pieces(memoryview(body))
    assert len(pieces) > 1
    assert (b"".join(pieces), digest) == (body, hashlib.md5(body).digest())
    assert all(is_text(piece) and len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("at", [0, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES])
def test_one_octet_that_is_no_text_is_found_wherever_it_is(other, at):
    assert text_pieces(memoryview(b"x" * at + other)) is None


@pytest.mark.parametrize("size", [0, 1, 2, 3, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 2])
def test_base64(size):
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    pieces, digest = base64_pieces(memoryview(body))
    assert b"".join(pieces) == base64.b64encode(body)
    assert digest == hashlib.md5(base64.b64encode(body)).digest()


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4)])
def test_outside_the_body(start, stop):
    for function in (text_end, base64_of):
        with pytest.raises(IndexError):
            function(memoryview(b"abc"), start, stop)


class Loop:
    def call_soon(self, function):
        pass


def message(body, properties=b"\0\0"):
    record = len(properties).to_bytes(4, "big") + len(body).to_bytes(4, "big") + properties + body
    data = AmqpEntryCodec().prefix(b"\x01e\x01k") + record
    entry = restore_entry(CODEC_AMQP_091, 1, 0, 1, 1, data)
    entry.append_time_ms = 1_700_000_000_000
    return stored_entry(7, entry)


@pytest.mark.parametrize("properties", [b"\0\0", b"\x00\x80\x24" + b"01234567-89ab-cdef-0123-456789abcdef", b"\x00\x80\x03abc", b"\x80\x00\x0atext/plain"])
@pytest.mark.parametrize("start", [b"", b'quoted "', "\u4e2d".encode(), b"\0", b"\xff"])
def test_a_long_message_is_translated_as_a_short_one(start, properties, monkeypatch):
    """Its body cut out and looked at in pieces, or as it is: the same record."""
    stored = message(start + b"y" * (3 * LARGE_BYTES), properties)
    found = []
    for takes_value in (True, False):
        monkeypatch.setattr(Codec, "cuts", takes_value)
        hub = Hub(Loop(), None)
        hub.register(AmqpEntryCodec())
        hub.register(Codec())
        found.append(hub.translated(stored, CODEC_SQS))
    assert found[0] == found[1]
    assert len(found[0]) > 3 * LARGE_BYTES


class Codec(SqsEntryCodec):
    cuts = True

    def takes_value(self):
        return self.cuts
