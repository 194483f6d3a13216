"""Writes docs/configuration.md and docs/limits.md from the configuration's own lines; the text around the tables stays as it is.

`--check` writes nothing, and exits with 1 if a page is not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from entrepot.config import keys
from entrepot.settings import Key, User, keys_of

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- made by tools/write_reference.py -->\n", "<!-- end -->\n"


def shown(value: Any, unit: str) -> str:
    """A default as a person would write it."""
    if unit == "bytes":
        for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value and value % size == 0:
                return f"{value // size} {name}"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    if isinstance(value, str):
        return f"`{value}`" if value else "not set"
    return f"{value:,} {unit}".strip().replace(",", " ") if isinstance(value, int) and not isinstance(value, bool) else str(value).lower()


def configuration() -> Iterator[str]:
    for section, found in groupby(keys(), key=lambda one: one.name.rpartition(".")[0]):
        yield f"\n### `[{section}]`\n\n" if section else "\n### at the top\n\n"
        yield "| key | default | what it is | allowed |\n|---|---|---|---|\n"
        for one in found:
            allowed = one.allowed.replace("|", "\\|")
            yield f"| `{one.name.rpartition('.')[2]}` | {shown(one.default, one.extra['unit'])} | {one.meta.description} | {allowed} |\n"
    yield "\n### `[users.NAME]`\n\n| key | default | what it is |\n|---|---|---|\n"
    for one in keys_of(User):
        yield f"| `{one.name}` | {'must be given' if one.name == 'password' else shown(one.default, '')} | {one.meta.description} |\n"
    yield "\n"


def limits() -> Iterator[str]:
    yield "\n| limit | default | of what | at the limit | how much is in use |\n|---|---|---|---|---|\n"
    for one in keys():
        if one.name.startswith("limits.") or one.extra["metric"]:
            yield limit_row(one)
    yield "\n"


def limit_row(one: Key) -> str:
    metric = f"`{one.extra['metric']}`" if one.extra["metric"] else ""
    return f"| `{one.name}` | {shown(one.default, one.extra['unit'])} | {one.meta.description} | {one.extra['at'] or 'see left'} | {metric} |\n"


PAGES = {"configuration.md": configuration, "limits.md": limits}


def pages() -> Iterator[tuple[Path, str, str]]:
    """(file, as it is, as it should be)."""
    for name, make in PAGES.items():
        file = DOCS / name
        now = file.read_text("utf-8")
        before, _, rest = now.partition(BEGIN)
        after = rest.partition(END)[2]
        yield file, now, before + BEGIN + "".join(make()) + END + after


def main() -> None:
    stale = [(file, wanted) for file, now, wanted in pages() if now != wanted]
    if "--check" in sys.argv:
        sys.exit(f"make reference: {', '.join(file.name for file, _ in stale)}" if stale else 0)
    for file, wanted in stale:
        file.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
