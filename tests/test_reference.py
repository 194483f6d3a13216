"""The pages of settings and limits say what the code says, and the tests that a page names are there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

reference = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "write_reference.py"))


@pytest.mark.parametrize(("file", "now", "wanted"), list(reference["pages"]()), ids=lambda value: value.name if isinstance(value, Path) else "")
def test_page_is_up_to_date(file: Path, now: str, wanted: str) -> None:
    assert now == wanted, "make reference"


NAMED_TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (Path(__file__).parents[1] / "docs" / "compatibility.md").read_text("utf-8"))))


def test_tests_are_named() -> None:
    assert len(NAMED_TESTS) > 50


@pytest.mark.parametrize(("file", "name"), NAMED_TESTS)
def test_a_test_that_a_page_names_is_there(file: str, name: str) -> None:
    assert re.search(rf"^ *(async )?def {name}\(", (Path(__file__).parents[1] / file).read_text("utf-8"), re.MULTILINE), f"{file} has no {name}"
