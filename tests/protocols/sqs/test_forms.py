"""Forms of the Query protocol, against what Python's own parser says of them."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocols.sqs.characters import percent_decoded
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.query_protocol import FORM_MAX_BYTES, PARAMETERS_MAX, parse_form
from entrepot.protocols.sqs.wrong_input import LOOKED_AT_BYTES, SEARCHED_BYTES, why_wrong

PIECES = st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%c3%a9", b"%C3%A9", b"%zz", b"%2", b"%25", b"+", b"=", b"&", b"a", b"Attribute.1", b"\xc3\xa9"]))


@given(st.one_of(st.binary(max_size=50), PIECES.map(b"".join)))
def test_octets_as_python_decodes_them(text: bytes) -> None:
    assert percent_decoded(text) == unquote_to_bytes(text.replace(b"+", b" "))


@given(PIECES.map(b"".join))
def test_forms_as_python_reads_them(text: bytes) -> None:
    try:
        expected = dict(parse_qsl(text.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        with pytest.raises(SqsError, match="no form of UTF-8"):
            parse_form(text)
        return
    assert parse_form(text) == expected


def test_how_many_parameters_there_may_be() -> None:
    assert len(parse_form(b"&".join(b"%x=" % number for number in range(PARAMETERS_MAX)))) == PARAMETERS_MAX
    with pytest.raises(SqsError, match=f"at most {PARAMETERS_MAX} parameters"):
        parse_form(b"&" * PARAMETERS_MAX)


def test_a_long_value_is_decoded_by_compiled_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own parser took half a second for 8 MB of escapes, piece by piece."""
    monkeypatch.setattr("urllib.parse.unquote_to_bytes", None)
    assert parse_form(b"Action=SendMessage&MessageBody=" + b"%41" * 10_000) == {"Action": "SendMessage", "MessageBody": "A" * 10_000}


def test_a_form_may_have_a_message_of_which_every_octet_is_escaped_and_no_more() -> None:
    begin = b"Action=SendMessage&MessageBody="
    assert len(parse_form(begin + b"%41" * (1 << 20))["MessageBody"]) == 1 << 20
    with pytest.raises(SqsError, match=f"at most {FORM_MAX_BYTES} are taken"):
        parse_form(begin + b"%41" * (FORM_MAX_BYTES // 3))


def test_of_much_that_is_no_json_a_part_is_searched_for_halves_of_characters() -> None:
    half = b"\\ud83d "
    wrong = ValueError("JSON is malformed: it is not")
    for before, seen in ((0, True), (SEARCHED_BYTES - len(half), True), (SEARCHED_BYTES, False)):
        assert ("surrogate" in why_wrong(wrong, b"x" * before + half)) == seen
    for before, seen in ((LOOKED_AT_BYTES // 24, True), (LOOKED_AT_BYTES // 12 + 1, False)):
        assert ("surrogate" in why_wrong(wrong, b"\\ud83d\\ude00" * before + half)) == seen
