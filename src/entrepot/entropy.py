"""Chance: the only module that draws random bytes. Everything else is handed an Entropy, so that a seed can decide a whole run."""

from __future__ import annotations

import os
from typing import Protocol


class Entropy(Protocol):
    """Where ids, salts and nonces come from."""

    def octets(self, count: int) -> bytes:
        """`count` unpredictable bytes."""

    def below(self, bound: int) -> int:
        """A number in [0, bound), each as likely; `bound` is at least 1."""


class SystemEntropy:
    """The operating system's generator."""

    def octets(self, count: int) -> bytes:
        """Fit for keys and salts."""
        return os.urandom(count)

    def below(self, bound: int) -> int:
        """Drawn by rejection, so that no number is favoured."""
        size = (bound.bit_length() + 7) // 8
        ceiling = 256**size // bound * bound
        while True:
            drawn = int.from_bytes(os.urandom(size), "big")
            if drawn < ceiling:
                return drawn % bound
