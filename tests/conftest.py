"""ENTREPOT_PURE=1 imports the .py sources even where a compiled .so lies beside them. Helpers of the tests are imported by their bare names."""

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
SRC, BENCHMARKS = str(ROOT / "src"), str(ROOT / "benchmarks")
sys.path[:0] = [SRC, str(ROOT)]
TESTS = Path(__file__).parent
sys.path.extend(str(folder) for folder in (TESTS, *sorted(TESTS.rglob("*"))) if folder.is_dir() and folder.name != "__pycache__")  # helpers beside the tests

# A test that says how long it may take, or making up what is tried in it, says something of the machine.
settings.register_profile("entrepot", deadline=None, suppress_health_check=(HealthCheck.too_slow,), max_examples=33 if os.environ.get("ENTREPOT_PURE") else 100)
settings.load_profile("entrepot")


def _source_only(path: str) -> FileFinder:
    if not path.startswith((SRC, BENCHMARKS)):
        raise ImportError
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


if os.environ.get("ENTREPOT_PURE"):
    sys.path_hooks.insert(0, _source_only)
    sys.path_importer_cache.clear()
