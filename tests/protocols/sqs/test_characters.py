"""Which characters a body may hold: the definition, character by character, beside the code that looks at eight octets at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octets import each_at_each_place

from both_modes import interpreted
from entrepot.protocols.sqs import characters

MODULES = [characters, interpreted("entrepot.protocols.sqs.characters")]


def expected(text: str) -> int:
    """Amazon SQS API reference, SendMessage: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF."""
    at = 0
    for character in text:
        point = ord(character)
        if not (point in (9, 10, 13) or 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD or point >= 0x10000):
            return at
        at += len(character.encode())
    return -1


edges = st.sampled_from("\x00\x08\x09\x0a\x0b\x0d\x1f\x20\x7e\x7f\x80\xff\u0800\ud7ff\ue000\ufffd\ufffe\uffff\U00010000\U0010ffff")
texts = st.lists(st.one_of(st.sampled_from("abcdefgh"), edges, st.characters(exclude_categories=["Cs"])), max_size=40).map("".join)


@pytest.mark.parametrize("module", MODULES)
@given(text=texts)
def test_the_first_character_that_is_not_taken(module: Any, text: str) -> None:
    assert module.illegal_at(text.encode()) == expected(text)


@pytest.mark.parametrize("module", MODULES)
def test_every_octet_below_a_space_at_every_place_of_two_words(module: Any) -> None:
    for text in each_at_each_place():
        assert module.illegal_at(text) == expected(text.decode()), text
