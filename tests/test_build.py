"""What is tested is what is meant: the compiled modules, or with ENTREPOT_PURE=1 the sources."""

from __future__ import annotations

import importlib
import os
import runpy
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

build = runpy.run_path(str(Path(__file__).parents[1] / "setup.py"))
MODULES = [".".join(path.relative_to(build["SOURCE"]).with_suffix("").parts) for path in build["hot_modules"]()]


@pytest.mark.parametrize("name", MODULES)
def test_hot_module_is_loaded_as_meant(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    is_compiled = file.endswith(tuple(EXTENSION_SUFFIXES))
    assert is_compiled == (build["have_compiler"]() and not os.environ.get("ENTREPOT_PURE"))


def test_there_are_hot_modules() -> None:
    assert len(MODULES) >= 3


def test_what_is_compiled_for_speed_is_there() -> None:
    assert build["PER_RECORD"] <= set(build["hot_modules"]())


def test_what_modules_have_in_common_is_built_once() -> None:
    assert "\nstatic CYTHON_INLINE PyObject *__Pyx_PyUnicode_Join(" not in "".join(path.read_text("utf-8") for path in Path("build").glob("cython-*/src/**/*.c"))
