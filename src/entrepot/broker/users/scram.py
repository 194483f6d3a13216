"""SCRAM, the server's side (RFC 5802, RFC 7677), as a state machine: two messages of the client, two answers. Sans-IO.

    client-first   gs2-header "n=" name ",r=" nonce        ->  "r=" both nonces ",s=" salt ",i=" iterations
    client-final   "c=" gs2-header ",r=" both ",p=" proof  ->  "v=" server signature

Channel binding is not offered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from entrepot.broker.users.credentials import ScramVerifier
from entrepot.model.errors import ProtocolError


class ScramError(ProtocolError):
    """The exchange has failed; the text is for the log, and never for the client."""


class ScramServer:
    """One exchange. find(name) gives what the user's proof is checked against, for a name that nobody has too. `nonce`: printable, without commas."""

    def __init__(self, find: Callable[[str], ScramVerifier], nonce: str) -> None:
        self.name = ""
        self._find = find
        self._nonce = nonce
        self.verifier: ScramVerifier | None = None
        self._header = b""  # gs2, of client-first
        self._first = ""  # client-first-bare and server-first, which both sides sign

    def first(self, message: bytes) -> bytes:
        """server-first for client-first. Raises ScramError."""
        text = _text(message)
        parts = text.split(",", 2)
        if len(parts) != 3 or parts[0] not in ("n", "y"):
            raise ScramError("client-first does not begin with 'n,' or 'y,': channel binding is not offered")
        bare = parts[2]
        self._header = f"{parts[0]},{parts[1]},".encode()
        fields = bare.split(",")
        if len(fields) < 2 or not fields[0].startswith("n=") or not fields[1].startswith("r="):
            raise ScramError("client-first is not 'n=name,r=nonce'")
        self.name = _unescaped(fields[0][2:])
        if parts[1] and _unescaped(parts[1].removeprefix("a=")) != self.name:
            raise ScramError("an authorization identity other than the user is not possible")
        client_nonce = fields[1][2:]
        if not client_nonce:
            raise ScramError("the client's nonce is empty")
        self.verifier = verifier = self._find(self.name)
        self._nonce = client_nonce + self._nonce
        answer = f"r={self._nonce},s={base64.b64encode(verifier.salt).decode()},i={verifier.iterations}"
        self._first = f"{bare},{answer}"
        return answer.encode()

    def final(self, message: bytes) -> bytes:
        """server-final for client-final: the client knows the password. Raises ScramError."""
        assert self.verifier is not None, "first() comes first"
        text = _text(message)
        without_proof, comma, proof_text = text.rpartition(",p=")
        fields = without_proof.split(",")
        if not comma or len(fields) < 2:
            raise ScramError("client-final is not 'c=binding,r=nonce,p=proof'")
        if not fields[0].startswith("c=") or _decoded(fields[0][2:]) != self._header:
            raise ScramError("the channel binding is not the one that client-first said")
        if fields[1] != f"r={self._nonce}":
            raise ScramError("the nonce is not the one that was agreed")
        signature = self.verifier.check_proof(f"{self._first},{without_proof}".encode(), _decoded(proof_text))
        if signature is None:
            raise ScramError("the proof is not right")
        return b"v=" + base64.b64encode(signature)


def _text(message: bytes) -> str:
    try:
        text = message.decode()
    except UnicodeDecodeError:
        raise ScramError("a message is not UTF-8") from None
    if "\0" in text:
        raise ScramError("a message has a NUL")
    return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        raise ScramError("not base64") from None


def _unescaped(name: str) -> str:
    """A name with its `=2C` and `=3D` undone; any other `=` is an error (RFC 5802 section 5.1)."""
    parts = name.split("=")
    text = parts[0]
    for part in parts[1:]:
        if part.startswith("2C"):
            text += "," + part[2:]
        elif part.startswith("3D"):
            text += "=" + part[2:]
        else:
            raise ScramError("a name with an '=' that is not escaped")
    return text
