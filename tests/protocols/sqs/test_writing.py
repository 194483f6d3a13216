"""The writer against what Python's own libraries write, in both modes."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octets import each_at_each_place

from both_modes import interpreted
from entrepot.protocols.sqs import writing

MODULES = [writing, interpreted("entrepot.protocols.sqs.writing")]
texts = st.lists(st.one_of(st.sampled_from('abcdefgh"\\\n\t\x00\x1f !]\x7f\u0080\u2028'), st.characters(exclude_categories=["Cs"])), max_size=60).map("".join)


@pytest.mark.parametrize("module", MODULES)
@given(text=texts, before=st.integers(0, 9))
def test_a_string_is_the_json_that_it_stands_for(module: Any, text: str, before: int) -> None:
    source = b'"' * before + text.encode()
    writer = module.Writer()
    writer.string(source, before, len(source) - before)
    written = writer.take()
    assert json.loads(b'"' + written + b'"') == text
    assert len(written) == module.string_size(source, before, len(source) - before)


@pytest.mark.parametrize("module", MODULES)
def test_each_octet_at_each_place_of_a_word_is_escaped_or_not(module: Any) -> None:
    for text in each_at_each_place():
        writer = module.Writer()
        writer.string(text, 0, 17)
        written = writer.take()
        assert json.loads(b'"' + written + b'"') == text.decode(), text
        assert (len(written) > 17) == any(octet < 32 or octet in b'"\\' for octet in text), text


@pytest.mark.parametrize("module", MODULES)
@given(data=st.binary(min_size=16, max_size=60))
def test_digits(module: Any, data: bytes) -> None:
    writer = module.Writer()
    writer.hexadecimal(data, 0, len(data))
    assert writer.take() == data.hex().encode()
    writer.uuid(data, len(data) - 16)
    assert writer.take() == str(uuid.UUID(bytes=data[-16:])).encode()
    writer.base64(data, 1, len(data) - 1)
    assert writer.take() == base64.b64encode(data[1:])
