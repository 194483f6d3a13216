"""Homes: which start of which process each home is of, as everybody knows it: what is not kept goes when the start is dead in which it lives.

A row under HOME_KEY and the start's id, never kept: {"name": of the process}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from entrepot.broker.catalogue.changes import Revision, Row
from entrepot.broker.state import CATALOGUE_PREFIX

HOME_KEY = CATALOGUE_PREFIX + b"h"


class Homes:
    """A part of the catalogue (stream.Part). `names`: of processes, by the id of the start."""

    prefixes: tuple[bytes, ...] = (HOME_KEY,)

    def __init__(self) -> None:
        self.names: dict[bytes, str] = {}

    def apply(self, revision: Revision, rows: list[Row], *, more: bool = False) -> None:
        """See snapshots.Part."""
        for row in rows:
            if not row.key.startswith(HOME_KEY):
                continue
            start_id = row.key[len(HOME_KEY) :]
            if row.gone:
                self.names.pop(start_id, None)
            else:
                self.names[start_id] = row.fields["name"]

    def rows(self) -> Iterator[Row]:
        """See snapshots.Part."""
        for start_id in list(self.names):
            if start_id in self.names:
                yield home_row(start_id, self.names[start_id])

    def snapshot(self) -> list[Row]:
        """All of rows()."""
        return list(self.rows())

    def value(self, key: bytes, kept: bytes) -> Any:
        """See snapshots.Part: nothing is kept."""
        raise AssertionError(key)


def home_row(start_id: bytes, name: str, *, gone: bool = False) -> Row:
    """A start is there, or is dead."""
    return Row(HOME_KEY + start_id, {"name": name}, gone, kept=False)
