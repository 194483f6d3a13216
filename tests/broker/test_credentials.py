import base64
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.users import credentials
from entrepot.broker.users.credentials import ITERATIONS_MIN, SCRAM_SHA_256, SCRAM_SHA_512, check_password, derive, saslprep
from entrepot.broker.users.secret_box import SecretBox, make_key_file, read_key_file
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, Refused


def test_rfc_7677_example():
    verifier = derive(SCRAM_SHA_256, "pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert verifier.check_proof(message, proof) == base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert verifier.check_proof(message + b"x", proof) is None
    assert verifier.check_proof(message, proof[1:]) is None
    assert verifier.check_proof(message, b"\x00" * 32) is None


@pytest.mark.parametrize("mechanism", [SCRAM_SHA_256, SCRAM_SHA_512])
def test_a_password_is_known_by_its_verifier(mechanism):
    verifier = derive(mechanism, "correct horse", b"salt" * 4, ITERATIONS_MIN)
    assert verifier.is_password("correct horse")
    assert not verifier.is_password("correct  horse")
    assert not verifier.is_password("")
    assert not verifier.is_password("\x00")
    assert derive(mechanism, "correct horse", b"tlas" * 4, ITERATIONS_MIN).stored_key != verifier.stored_key


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b"), ("\u0627\u0628", "\u0627\u0628")],
)
def test_saslprep_as_rfc_4013_section_3_shows(text, prepared):
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "a\nb", "\u0627\u0031", "\u0627a", "\ud800"])
def test_saslprep_refuses(text):
    with pytest.raises(Refused):
        saslprep(text)


def test_passwords_have_limits():
    assert check_password("x" * 1024)
    with pytest.raises(Refused, match="1025 bytes"):
        check_password("x" * 1025)
    with pytest.raises(Refused, match="empty"):
        check_password("")


@given(st.text(max_size=20))
def test_saslprep_refuses_or_is_stable(text):
    try:
        prepared = saslprep(text)
    except Refused:
        return
    assert saslprep(prepared) == prepared


class TestSecretBox:
    box = SecretBox(b"k" * 32, SystemEntropy())

    def test_a_secret_opens_for_its_owner_alone(self):
        sealed = self.box.seal(b"secret", "key1")
        assert b"secret" not in sealed
        assert self.box.open(sealed, "key1") == b"secret"
        assert self.box.seal(b"secret", "key1") != sealed
        for wrong, owner in (
            (sealed, "key2"),
            (sealed[:20], "key1"),
            (b"", "key1"),
            (b"\x02" + sealed[1:], "key1"),
            (sealed[:14] + b"\x00" + sealed[15:], "key1"),
        ):
            if wrong != sealed or owner != "key1":
                with pytest.raises(CorruptData, match=f"secret of {owner} does not open"):
                    self.box.open(wrong, owner)
        with pytest.raises(CorruptData):
            SecretBox(b"j" * 32, SystemEntropy()).open(sealed, "key1")

    def test_the_key_file(self):
        data = make_key_file(SystemEntropy())
        assert len(read_key_file(data)) == 32
        assert data[8:40] == read_key_file(data)
        for position in range(len(data)):
            with pytest.raises(CorruptData):
                read_key_file(data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :])
        with pytest.raises(CorruptData):
            read_key_file(data + b"\x00")

    def test_the_golden_key_file_reads(self):
        golden = bytes.fromhex("454e544b45590101" + "00112233445566778899aabbccddeeff" * 2 + "e87beb1f")
        assert read_key_file(golden) == bytes.fromhex("00112233445566778899aabbccddeeff" * 2)


@pytest.mark.parametrize("text", ["\u0301\u0323" * 20_000, "a" * 1025, "é" * 513], ids=["marks", "ascii", "letters"])
def test_what_is_too_long_is_refused_before_anything_reads_it(monkeypatch, text):
    def none(*given):
        raise AssertionError("normalising takes the square of the length")

    monkeypatch.setattr(credentials, "unicodedata", SimpleNamespace(normalize=none))
    for take in (credentials.saslprep, credentials.check_password):
        with pytest.raises(Refused, match="at most 1024"):
            take(text)
    assert not credentials.may_be_right("ann", text)
    assert not credentials.may_be_right(text, "x")
    assert not credentials.may_be_right("a" * 256, "x")
    assert credentials.may_be_right("a" * 255, "a" * 1024)
