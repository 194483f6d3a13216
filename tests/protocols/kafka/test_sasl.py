"""Logging in: PLAIN and SCRAM over SaslAuthenticate and over raw messages, the ways to fail, and who comes in without."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka_bench import PEER, Client, done

from entrepot.broker.calls.port import UNKNOWN
from entrepot.broker.users.credentials import SCRAM_SHA_256, SCRAM_SHA_512, derive
from entrepot.broker.users.scram import ScramError, ScramServer
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal
from entrepot.protocols.kafka.error_codes import ErrorCode

METADATA = {"topics": None, "allow_auto_topic_creation": True, "include_cluster_authorized_operations": False, "include_topic_authorized_operations": False}
HASHES = {SCRAM_SHA_256: "sha256", SCRAM_SHA_512: "sha512"}


@pytest.fixture
def client() -> Client:
    return Client(needs_login=True)


class ScramClient:
    """RFC 5802, the other side."""

    def __init__(self, mechanism, name, password, header=b"n,,"):
        self.hash, self.password, self.header = HASHES[mechanism], password, header
        self.bare = b"n=%s,r=clientnonce" % name.replace("=", "=3D").replace(",", "=2C").encode()

    def first(self):
        return self.header + self.bare

    def final(self, server_first):
        fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
        assert fields[b"r"].startswith(b"clientnonce")
        assert len(fields[b"r"]) > len(b"clientnonce") + 20
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        client_key = hmac.digest(salted, b"Client Key", self.hash)
        without_proof = b"c=" + base64.b64encode(self.header) + b",r=" + fields[b"r"]
        message = self.bare + b"," + server_first + b"," + without_proof
        signature = hmac.digest(hashlib.new(self.hash, client_key).digest(), message, self.hash)
        self.expected = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", self.hash), message, self.hash))
        return without_proof + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))


def handshake(client, mechanism, version=1):
    return client.ask(17, version, {"mechanism": mechanism})


def say(client, token, version=2):
    return client.ask(36, version, {"auth_bytes": token})


def is_in(client, name):
    client.send(3, 9, METADATA)
    done(client.port.take(), [])
    assert client.answer()["cluster_id"] == "entrepot"
    return client.port.principal.name == name


# ---- PLAIN


@pytest.mark.parametrize("version", [0, 1, 2])
def test_plain(client, version):
    assert handshake(client, "PLAIN") == {"error_code": 0, "mechanisms": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]}
    client.send(36, version, {"auth_bytes": b"\0ada\0lovelace"})
    client.send(3, 9, METADATA)
    assert client.answers() == []
    ((name, password, checked),) = client.authenticator.checks
    assert (name, password) == ("ada", "lovelace")
    checked(Principal("ada"))
    assert client.answer()["error_code"] == 0
    done(client.port.take(), [])
    assert len(client.answers()) == 1
    assert client.port.principal.name == "ada"
    assert client.session.framing.produce_size_max == 100 * 1024 * 1024


def test_a_wrong_password_is_told_and_ends_the_connection(client):
    handshake(client, "PLAIN")
    client.send(36, 2, {"auth_bytes": b"\0ada\0byron"})
    client.authenticator.checks[0][2](None)
    answer = client.answer()
    assert answer["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert "ada" not in answer["error_message"]
    assert client.session.closing
    assert "'ada'" in client.notes[0]
    assert "byron" not in client.notes[0]


@pytest.mark.parametrize("token", [b"", b"ada", b"\0ada", b"\0a\0b\0c", b"\0\xff\0b", b"other\0ada\0lovelace"])
def test_what_is_no_plain(client, token):
    handshake(client, "PLAIN")
    assert say(client, token)["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert client.session.closing
    assert client.authenticator.checks == []


def test_a_password_that_is_checked_after_the_end(client):
    handshake(client, "PLAIN")
    client.send(36, 2, {"auth_bytes": b"\0ada\0lovelace"})
    client.session.lost("gone")
    client.authenticator.checks[0][2](Principal("ada"))
    assert client.port.principal is None


def test_a_namespace_that_is_not_the_users(client):
    client.port.refusal = Refused(Reason.NOT_PERMITTED, "not yours")
    handshake(client, "PLAIN")
    client.send(36, 2, {"auth_bytes": b"\0ada\0lovelace"})
    client.authenticator.checks[0][2](Principal("ada"))
    assert client.answer()["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert client.session.closing


# ---- SCRAM


@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize("header", [b"n,,", b"y,,", b"n,a=ada,"])
def test_scram(client, mechanism, header):
    handshake(client, mechanism)
    other = ScramClient(mechanism, "ada", "lovelace", header)
    first = say(client, other.first())
    assert first["error_code"] == 0
    final = say(client, other.final(first["auth_bytes"]))
    assert (final["error_code"], final["auth_bytes"]) == (0, other.expected)
    assert is_in(client, "ada")
    assert client.port.principal.mechanism == mechanism


@pytest.mark.parametrize(("name", "password"), [("ada", "byron"), ("nobody", "lovelace")])
def test_a_wrong_proof_ends_the_connection(client, name, password):
    handshake(client, SCRAM_SHA_256)
    other = ScramClient(SCRAM_SHA_256, name, password)
    first = say(client, other.first())
    assert say(client, other.final(first["auth_bytes"]))["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert client.session.closing
    assert client.port.principal is None


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"p=tls-unique,,n=ada,r=x",
        b"n,,r=x",
        b"n,,n=ada",
        b"n,,n=ada,r=",
        b"n,,m=ext,n=ada,r=x",
        b"n,a=bob,n=ada,r=x",
        b"n,,n=a=da,r=x",
        b"n,,n=ada\xff,r=x",
        b"n,,n=a\0da,r=x",
    ],
)
def test_first_messages_that_are_none(client, first):
    handshake(client, SCRAM_SHA_256)
    assert say(client, first)["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
    assert client.session.closing


def server(nonce="N" * 24):
    return ScramServer(lambda name: derive(SCRAM_SHA_256, "lovelace", b"salt" * 4, 4096), nonce)


@pytest.mark.parametrize(
    "change",
    [
        lambda final: final.replace(b"c=biws", b"c=eSws"),
        lambda final: final.replace(b"NNNN", b"MMMM"),
        lambda final: final[:-8] + b"AAAAAAA=",
        lambda final: final.partition(b",p=")[0],
        lambda final: final.partition(b",p=")[0] + b",p=!!",
        lambda final: b"c=biws,p=AAAA",
        lambda final: b"",
        lambda final: final + b",x=1",
    ],
)
def test_final_messages_that_are_none(change):
    other, ours = ScramClient(SCRAM_SHA_256, "ada", "lovelace"), server()
    final = other.final(ours.first(other.first()))
    with pytest.raises(ScramError):
        ours.final(change(final))


def test_names_are_unescaped():
    ours = server()
    ours.first(b"n,,n=a=2Cb=3Dc,r=x")
    assert ours.name == "a,b=c"


@given(st.binary(max_size=60))
def test_any_message_is_answered_or_an_error(data):
    for message in (data, b"n,,n=ada,r=" + data):
        ours = server()
        try:
            ours.first(message)
            ours.final(data)
        except ScramError:
            continue


# ---- order


def test_mechanisms_that_are_not_there(client):
    answer = handshake(client, "GSSAPI")
    assert answer["error_code"] == ErrorCode.UNSUPPORTED_SASL_MECHANISM
    assert answer["mechanisms"] == ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    assert client.session.closing


def test_authenticate_without_handshake(client):
    assert say(client, b"\0ada\0lovelace")["error_code"] == ErrorCode.ILLEGAL_SASL_STATE
    assert client.session.closing


def test_a_second_handshake(client):
    handshake(client, "PLAIN")
    assert handshake(client, "PLAIN")["error_code"] == ErrorCode.ILLEGAL_SASL_STATE
    assert client.session.closing


def test_nothing_else_before_the_login(client):
    client.send(3, 9, METADATA)
    assert client.session.closing
    assert client.octets() == b""
    assert "Metadata before authentication" in client.notes[0]
    assert client.port.calls == []


def test_nothing_else_during_the_login():
    client = Client()
    handshake(client, "PLAIN")
    client.send(3, 9, METADATA)
    assert client.session.closing


def test_a_login_that_takes_too_long(client):
    client.session.deadline_reached(100.0)
    assert client.session.next_deadline == 110.0
    client.session.deadline_reached(110.0)
    assert client.session.closing


def test_who_needs_no_login_may_log_in():
    client = Client()
    handshake(client, "PLAIN")
    client.send(36, 2, {"auth_bytes": b"\0ada\0lovelace"})
    client.authenticator.checks[0][2](Principal("ada"))
    assert client.answer()["error_code"] == 0
    assert is_in(client, "ada")


def test_guest_comes_in_without():
    client = Client()
    client.send(3, 9, METADATA)
    assert (client.port.principal.name, client.port.namespace) == ("guest", "public/default")
    assert client.port.take().outcome != UNKNOWN
    assert PEER.is_loopback


# ---- messages without header, after SaslHandshake version 0


def raw(client, token):
    client.feed(len(token).to_bytes(4, "big") + token)
    data = client.octets()
    assert data == b"" or int.from_bytes(data[:4], "big") == len(data) - 4
    return data[4:] if data else None


def test_raw_plain(client):
    handshake(client, "PLAIN", 0)
    client.feed(b"\0\0\0\x0d\0ada\0lovelace")
    client.authenticator.checks[0][2](Principal("ada"))
    assert client.octets() == b"\0\0\0\0"
    assert is_in(client, "ada")


def test_raw_scram(client):
    handshake(client, SCRAM_SHA_512, 0)
    other = ScramClient(SCRAM_SHA_512, "ada", "lovelace")
    assert raw(client, other.final(raw(client, other.first()))) == other.expected
    assert is_in(client, "ada")


def test_raw_failures_are_silent(client):
    handshake(client, "PLAIN", 0)
    assert raw(client, b"") is None
    assert client.session.closing


def test_raw_messages_have_a_limit(client):
    handshake(client, "PLAIN", 0)
    client.feed(b"\0\2\0\0")
    assert client.session.closing
    assert "at most 16384 are allowed" in client.notes[0]
