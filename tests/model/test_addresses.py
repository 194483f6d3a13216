"""Addresses: short ones are two short strings, wide ones say their key to the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.front.parting import make_address, split_address
from entrepot.model.addresses import ADDRESS_MAX_BYTES, KEY_MAX_BYTES, is_address, is_wide, key_in, narrow, pack_address

NAMES = st.binary(max_size=255)
KEYS = st.one_of(st.binary(max_size=300), st.integers(0, KEY_MAX_BYTES).map(lambda size: b"k" * size))


@given(NAMES, KEYS)
def test_what_is_packed_is_an_address_and_says_what_it_was_made_of(name: bytes, key: bytes) -> None:
    address = pack_address(name, key)
    assert is_address(address)
    assert len(address) <= ADDRESS_MAX_BYTES
    assert address[1 : 1 + address[0]] == name
    assert key_in(address) == key
    assert is_wide(address) == (len(key) > 255)
    assert narrow(address) == pack_address(name, b"")
    assert make_address(*split_address(address)) == address
    if len(key) <= 255:
        assert address == bytes((len(name),)) + name + bytes((len(key),)) + key


@pytest.mark.parametrize(
    "octets", [b"", b"\0", b"\1", b"\1a", b"\0\1", b"\0\1ab", b"\0\xff", b"\0\xff" + b"k" * 254, b"\0\xfe" + b"k" * 255, b"\0\xff" + b"k" * 65_534]
)
def test_what_is_none(octets: bytes) -> None:
    assert not is_address(octets)
