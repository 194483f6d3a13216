"""Credentials: SCRAM verifiers (RFC 5802, RFC 7677) and what is checked against them.

Of a password only verifiers are kept, one for each mechanism: salt, iterations, StoredKey, ServerKey. PLAIN is checked by deriving
the same keys from the password that was sent.

ITERATIONS is 15,000: above the 4,096 that RFC 7677 asks for at least, below the 16,384 that some clients' tools take at most, and about
5 ms of one core, which a client pays at each connection and the broker at each uncached PLAIN.
"""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import unicodedata
from dataclasses import dataclass

from entrepot.model.errors import Reason, Refused

ITERATIONS = 15_000
ITERATIONS_MIN = 4096
SALT_SIZE = 16  # bytes
PASSWORD_SIZE_MAX = 1024  # bytes of UTF-8, as they are given
USER_NAME_SIZE_MAX = 255  # bytes of UTF-8

SCRAM_SHA_256 = "SCRAM-SHA-256"
SCRAM_SHA_512 = "SCRAM-SHA-512"
HASHES = {SCRAM_SHA_256: "sha256", SCRAM_SHA_512: "sha512"}

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What is kept of a password for one mechanism."""

    mechanism: str
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def is_password(self, password: str) -> bool:
        """Whether this is the password. Takes as long as `iterations` say; touches nothing else, so that any thread may run it."""
        try:
            derived = derive(self.mechanism, password, self.salt, self.iterations)
        except Refused:
            return False
        return hmac.compare_digest(derived.stored_key, self.stored_key)

    def check_proof(self, auth_message: bytes, proof: bytes) -> bytes | None:
        """The ServerSignature if `proof` is the ClientProof of who knows the password (RFC 5802 section 3), else None."""
        name = HASHES[self.mechanism]
        signature = hmac.digest(self.stored_key, auth_message, name)
        if len(proof) != len(signature):
            return None
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(name, client_key).digest(), self.stored_key):
            return None
        return hmac.digest(self.server_key, auth_message, name)


def derive(mechanism: str, password: str, salt: bytes, iterations: int) -> ScramVerifier:
    """The verifier of a password. Refused (INVALID) for a password that SASLprep does not take."""
    name = HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(name, saslprep(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    return ScramVerifier(mechanism, salt, iterations, hashlib.new(name, client_key).digest(), hmac.digest(salted, b"Server Key", name))


def check_password(password: str) -> str:
    """`password` itself if it may be one: not empty, not over PASSWORD_SIZE_MAX bytes, and SASLprep takes it. Refused (INVALID) otherwise."""
    if not password:
        raise Refused(Reason.INVALID, "the password is empty")
    saslprep(password)
    return password


def may_be_right(name: str, password: str) -> bool:
    """Whether their sizes allow that these are anybody's name and password: looked at before anything else, since what follows costs by size."""
    return _size(name) <= USER_NAME_SIZE_MAX and _size(password) <= PASSWORD_SIZE_MAX


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def saslprep(text: str) -> str:
    """RFC 4013: what two spellings of one password have in common.

    Refused (INVALID) for control and other prohibited characters, and for more than PASSWORD_SIZE_MAX bytes: normalising takes the square of its length.
    """
    if (size := _size(text)) > PASSWORD_SIZE_MAX:
        raise Refused(Reason.INVALID, f"the password has {size} bytes; at most {PASSWORD_SIZE_MAX} are allowed")
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(" " if stringprep.in_table_c12(character) else character for character in text if not stringprep.in_table_b1(character))
    normal = unicodedata.normalize("NFKC", mapped)
    for character in normal:
        if any(prohibited(character) for prohibited in _PROHIBITED):
            raise Refused(Reason.INVALID, f"the password has the character U+{ord(character):04X}, which RFC 4013 does not allow")
    if any(stringprep.in_table_d1(character) for character in normal):
        if any(stringprep.in_table_d2(character) for character in normal):
            raise Refused(Reason.INVALID, "the password mixes right-to-left and left-to-right letters, which RFC 4013 does not allow")
        if not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[len(normal) - 1])):
            raise Refused(Reason.INVALID, "the password has right-to-left letters and does not begin and end with one, as RFC 4013 demands")
    return normal
