"""Secrets that must be recoverable (an access key's, which signs requests): AES-256-GCM under the key of a file in the data directory.

    sealed secret   version u8 (1), nonce (12 bytes), ciphertext and tag; the additional data is what the secret belongs to
    key file        magic "ENTKEY" (6), version u8 (1), minimum reader version u8 (1), key (32), CRC-32C of the 40 bytes before (u32 LE)

A copy of the data directory without the key file reveals no secret; with it, all.
"""

from __future__ import annotations

import crc32c
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData

KEY_FILE_NAME = "secrets.key"
KEY_SIZE = 32  # bytes
KEY_FILE_SIZE = 44  # bytes

_MAGIC = b"ENTKEY"
_VERSION = 1
_NONCE_SIZE = 12


class SecretBox:
    """Seals and opens secrets under one key."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def seal(self, secret: bytes, belongs_to: str) -> bytes:
        """The secret in a form that may be stored; opens only for the same `belongs_to`."""
        nonce = self._entropy.octets(_NONCE_SIZE)
        return bytes((_VERSION,)) + nonce + self._cipher.encrypt(nonce, secret, belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> bytes:
        """The secret. Raises CorruptData where it was sealed under another key, for another owner, or is damaged."""
        try:
            if sealed[:1] != bytes((_VERSION,)):
                raise InvalidTag
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE_SIZE], sealed[1 + _NONCE_SIZE :], belongs_to.encode())
        except (InvalidTag, ValueError):
            raise CorruptData(
                f"the secret of {belongs_to} does not open with the key of secrets_key_file, or else this data directory's {KEY_FILE_NAME}"
            ) from None


def make_key_file(entropy: Entropy) -> bytes:
    """The content of a new key file; to be readable by the broker's user alone (mode 0600)."""
    body = _MAGIC + bytes((_VERSION, _VERSION)) + entropy.octets(KEY_SIZE)
    return body + crc32c.crc32c(body).to_bytes(4, "little")


def read_key_file(data: bytes) -> bytes:
    """The key in a key file's content. Raises CorruptData where it is none."""
    if len(data) != KEY_FILE_SIZE or data[:6] != _MAGIC or crc32c.crc32c(data[:40]) != int.from_bytes(data[40:], "little"):
        raise CorruptData(f"{KEY_FILE_NAME} is damaged: {len(data)} bytes that are no key file; restore it from a copy")
    if data[7] > _VERSION:
        raise CorruptData(f"{KEY_FILE_NAME} needs a reader of version {data[7]}; this one is {_VERSION}")
    return data[8:40]
