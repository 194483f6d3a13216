"""Settings of SQS connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What all SQS connections of a listener share: limits in bytes and seconds."""

    request_size_max: int = 4 << 20
    request_timeout_s: float = 30.0
    idle_s: float = 120.0
