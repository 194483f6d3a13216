"""The pages of settings and limits say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

reference = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "write_reference.py"))


@pytest.mark.parametrize(("file", "now", "wanted"), list(reference["pages"]()), ids=lambda value: value.name if isinstance(value, Path) else "")
def test_page_is_up_to_date(file: Path, now: str, wanted: str) -> None:
    assert now == wanted, "make reference"
