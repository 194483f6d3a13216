"""AUTH: SCRAM at CONNECT, and again on a connection that is open (4.12)."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from mqtt_bench import Bench, Client
from mqtt_wire import PING, connect, listed, packet, string

METHODS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class Scram:
    """The client's side, by RFC 5802."""

    def __init__(self, method: str, name: str, password: str) -> None:
        self.hash = method.removeprefix("SCRAM-").replace("-", "").lower()
        self.password = password.encode()
        self.bare = f"n={name},r=abc".encode()

    def first(self) -> bytes:
        return b"n,," + self.bare

    def final(self, server_first: bytes) -> bytes:
        fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        key = hmac.digest(salted, b"Client Key", self.hash)
        without_proof = b"c=biws,r=" + fields[b"r"]
        message = b",".join((self.bare, server_first, without_proof))
        signature = hmac.digest(hashlib.new(self.hash, key).digest(), message, self.hash)
        self.expected = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", self.hash), message, self.hash))
        return without_proof + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


def said(method: str, data: bytes | None) -> bytes:
    return listed(b"\x15" + string(method), *([] if data is None else [b"\x16" + string(data)]))


def auth(reason: int, method: str, data: bytes | None) -> bytes:
    return packet(0xF0, bytes((reason,)) + said(method, data))


def data_in(octets: bytes, method: str) -> bytes:
    """Authentication data behind its method."""
    at = octets.index(b"\x15" + string(method)) + 3 + len(method)
    assert octets[at] == 0x16
    size = int.from_bytes(octets[at + 1 : at + 3], "big")
    return octets[at + 3 : at + 3 + size]


def heard(client: Client) -> bytes:
    client.bench.run()
    data, client.received = client.received, b""
    return data


@pytest.fixture
def bench() -> Bench:
    return Bench()


def entered(bench: Bench, method: str, name: str = "bob", at_once: bool = True) -> Client:
    client, scram = bench.client(5), Scram(method, name, name)
    client.feed(connect(5, "x", properties=said(method, scram.first() if at_once else None)))
    if not at_once:
        assert data_in(heard(client), method) == b""
        client.feed(auth(0x18, method, scram.first()))
    answer = heard(client)
    assert answer[0] == 0xF0
    assert answer[2] == 0x18
    client.feed(auth(0x18, method, scram.final(data_in(answer, method))))
    connack = heard(client)
    assert connack[:1] == b"\x20"
    assert data_in(connack, method) == scram.expected
    client.feed(PING)
    assert heard(client) == b"\xd0\0"
    return client


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at_once", [True, False])
def test_login(bench: Bench, method: str, at_once: bool) -> None:
    client = entered(bench, method, at_once=at_once)
    assert client.session.principal.name == "bob"
    assert client.session.user == "bob"


@pytest.mark.parametrize(("name", "code"), [("bob", 0), ("eve", 0x87)])
def test_login_again(bench: Bench, name: str, code: int) -> None:
    method = METHODS[0]
    client, scram = entered(bench, method), Scram(method, name, name)
    client.feed(auth(0x19, method, scram.first()))
    client.feed(auth(0x18, method, scram.final(data_in(heard(client), method))))
    answer = heard(client)
    if code:
        assert (answer[0], answer[2]) == (0xE0, code)
    else:
        assert (answer[0], answer[2]) == (0xF0, 0)
        assert data_in(answer, method) == scram.expected


def test_a_wrong_password(bench: Bench) -> None:
    method = METHODS[0]
    client, scram = bench.client(5), Scram(method, "bob", "wrong")
    client.feed(connect(5, "x", properties=said(method, scram.first())))
    client.feed(auth(0x18, method, scram.final(data_in(heard(client), method))))
    assert [one[:3] for one in client.hear()] == [("CONNACK", 0, 0x87)]
    assert client.session.attachment is None


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (auth(0x18, METHODS[1], b"x"), 0x82),  # another method
        (auth(0x19, METHODS[0], b"x"), 0x82),  # not yet
        (auth(0x18, METHODS[0], b"nonsense"), 0x87),
        (PING, 0x82),
    ],
)
def test_what_is_wrong_amid_it(bench: Bench, octets: bytes, code: int) -> None:
    client = bench.client(5)
    client.feed(connect(5, "x", properties=said(METHODS[0], Scram(METHODS[0], "bob", "bob").first())))
    heard(client)
    client.feed(octets)
    assert [one[:3] for one in client.hear()] == [("CONNACK", 0, code)]
    assert client.ended


@pytest.mark.parametrize("octets", [auth(0x18, METHODS[0], b"x"), auth(0x19, METHODS[1], b"x")])
def test_what_is_wrong_afterwards(bench: Bench, octets: bytes) -> None:
    client = entered(bench, METHODS[0])
    client.feed(octets)
    assert client.hear() == [("DISCONNECT", 0x82)]


def test_who_began_with_a_password_has_no_auth(bench: Bench) -> None:
    client = bench.connected("x")
    client.feed(auth(0x19, METHODS[0], b"x"))
    assert client.hear() == [("DISCONNECT", 0x82)]
