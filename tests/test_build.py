"""What is tested is what is meant: the compiled modules, or with ENTREPOT_PURE=1 the sources."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
build = runpy.run_path(str(ROOT / "setup.py"))
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
    assert build["PER_BYTE"] | build["PER_RECORD"] <= set(build["hot_modules"]())
    assert not build["PER_BYTE"] & build["PER_RECORD"]


def test_what_modules_have_in_common_is_built_once() -> None:
    if build["have_compiler"]() and not os.environ.get("ENTREPOT_PURE"):
        importlib.import_module(MODULES[0])
        assert build["SHARED"] in sys.modules


def test_none_is_looked_for_in_what_is_not_self(tmp_path: Path) -> None:
    """If this fails with a new Cython, see believe_in_self() of setup.py: two thirds of the checks are for nothing."""
    from Cython.Compiler.Main import CompilationOptions
    from Cython.Compiler.Main import compile as translate

    build["believe_in_self"]()
    (tmp_path / "pair.pxd").write_text("cdef class Pair:\n    cdef int left\n    cdef Pair next\n    cdef int both(self, Pair other)\n")
    source = tmp_path / "pair.py"
    source.write_text(
        "class Pair:\n"
        "    def both(self, other):\n"
        "        return self.left + other.left\n"
        "    def moved(self):\n"
        "        self = self.next\n"
        "        return self.left\n"
    )
    translate(str(source), CompilationOptions(compiler_directives=build["DIRECTIVES"]))
    checks = [line.strip() for line in source.with_suffix(".c").read_text().splitlines() if "== Py_None" in line and "__pyx_v_" in line]
    assert [sum(name in line for line in checks) for name in ("__pyx_v_other", "__pyx_v_self)")] == [1, 2]  # of `self` only where it is assigned


def test_an_error_says_its_file_and_line() -> None:
    recovery = importlib.import_module("entrepot.store.local.recovery")
    with pytest.raises(IndexError) as raised:
        recovery.Replay(None, 0, 0).commit("journal", b"", 0, 1, 1, 0)
    places = [(Path(entry.filename), entry.lineno) for entry in traceback.extract_tb(raised.tb)[1:]]
    lines = (ROOT / "src/entrepot/store/local/recovery.py").read_text().splitlines()
    assert places[-1][0].stem == "octets" or places[-2][0].stem == "octets"  # what is interpreted asks one function more there
    assert any(path.stem == "recovery" and "get_u32_le(data, pos + 32)" in lines[line - 1] for path, line in places)


_TYPES = re.compile(r"^cdef class (\w+)|^(cp?def)|^( *)@cython\.locals\(([^)]*)\)\s*(?:cpdef|cdef|def)\s+(?:inline\s+)?[^\n(]*?(\w+)\(", re.MULTILINE)


def typed_names(types: str) -> Iterator[tuple[str, set[str]]]:
    """Of each function, as CLASS.NAME or NAME, the local names that a .pxd gives types to."""
    owner = ""
    for found in _TYPES.finditer(types):
        if found[1] is not None:
            owner = f"{found[1]}."
        elif found[4] is not None:
            yield (owner if found[3] else "") + found[5], set(re.findall(r"(\w+)=", found[4]))


def local_names(source: str) -> dict[str, set[str]]:
    """Of each function what it assigns, and its parameters."""
    names: dict[str, set[str]] = {}

    def walk(node: ast.AST, owner: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                walk(child, f"{child.name}.")
            elif isinstance(child, ast.FunctionDef):
                assigned = {one.id for one in ast.walk(child) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
                names[owner + child.name] = assigned | {one.arg for one in child.args.args}

    walk(ast.parse(source), "")
    return names


def test_types_are_given_to_names_that_the_function_has() -> None:
    """Else they stand over another function than they are meant for, which then works with objects: nothing but a measurement would tell."""
    wrong = []
    for path in build["hot_modules"]():
        names = local_names(path.read_text())
        for function, typed in typed_names(path.with_suffix(".pxd").read_text()):
            missing = typed - names.get(function, set())
            wrong += [f"{path.with_suffix('.pxd')}: {function} has no {name}" for name in sorted(missing)]
    assert wrong == []
    assert list(typed_names("cdef class A:\n    @cython.locals(\n        a=int, b=str)\n    cdef int f(self) except -1\n")) == [("A.f", {"a", "b"})]


def test_what_is_run_once_is_about_nothing_compiled() -> None:
    """The Makefile's ONCE: folders of tests whose package has no types, and files about the sources themselves. Of cluster BY_FRAME is run both ways."""
    makefile = (ROOT / "Makefile").read_text()
    (names,) = re.findall(r"^ONCE := ([\w ]+)", makefile, re.MULTILINE)
    folders = [name for name in names.split() if (Path(__file__).parent / name).is_dir()]
    assert "parent" in folders
    assert [module for module in MODULES if module.split(".")[1] in folders] == []
    (files,) = re.findall(r"^BY_FRAME := (.+)", makefile, re.MULTILINE)
    assert all((ROOT / file).exists() for file in files.split())
    compiled = {module for module in MODULES if module.split(".")[1] == "cluster"}
    assert compiled == {f"entrepot.cluster.{name}" for name in ("link", "link_frames", "owners.hot_frames", "owners.outlet")}


def test_what_has_types_has_a_source() -> None:
    assert [str(types) for types in Path("src").rglob("*.pxd") if not types.with_suffix(".py").exists()] == []


def test_little_is_compiled_to_run_faster_than_that() -> None:
    """What building costs is in the lines that are compiled, and in how hard: what grows over these is looked at, and either measured or left interpreted."""
    lines = dict.fromkeys(("-O2", "-O1", "-Og"), 0)
    for path in build["hot_modules"]():
        lines[build["optimization"](path)] += len((Path(__file__).parents[1] / path).read_bytes().splitlines())
    assert lines["-O2"] <= 2_700
    assert lines["-O2"] + lines["-O1"] <= 24_900
    assert sum(lines.values()) <= 34_000
