"""LinkFigures: what there is to tell of the links that a process has with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """Of one, to the process `name`. `since_s`: for how long it has been connected, or not; `held_bytes`: of memory, for what the other has not acknowledged.

    `sent` and `received`: frames, since both starts began.
    """

    name: str
    is_connected: bool
    since_s: float
    held_bytes: int
    sent: int
    received: int


class HasLinks(Protocol):
    """Who keeps them."""

    def figures(self) -> list[LinkFigures]:
        """Of each, now."""
