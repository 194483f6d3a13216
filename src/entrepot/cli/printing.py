"""What lists look like: columns for people, one JSON document for programs. Whatever strangers have named is escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import typer

from entrepot.model.printable import printable

CELL_MAX = 255  # characters


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    """See table()."""
    typer.echo(table(heads, rows))


def table(heads: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Columns as wide as they must be, numbers to the right. The heads alone where there is nothing."""
    cells = [[str(cell) if isinstance(cell, int) else printable(cell, CELL_MAX) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [bool(rows) and all(isinstance(cell, int) for cell in column) for column in zip(*rows, strict=True)] or [False] * len(heads)
    lines = []
    for row in (heads, *cells):
        parts = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric, strict=True)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def print_rows(what: str, rows: Sequence[object], as_json: bool, heads: Sequence[str], cells: Sequence[Sequence[str | int]]) -> None:
    """A list: a document with the rows under that name, or a table of their cells."""
    if as_json:
        print_json({what: rows})
    else:
        print_table(heads, cells)


def print_json(document: object) -> None:
    """In ASCII, so that no name in it does anything to a terminal."""
    typer.echo(json.dumps(msgspec.to_builtins(document), indent=2).replace("\x7f", "\\u007f"))
