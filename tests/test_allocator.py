"""The allocator keeps what is free, where it is glibc's and nobody has set it otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from entrepot.allocator import keep_free_memory
kept = sys.argv[1] == "keep" and keep_free_memory()
held = [bytes(2 << 20) for _ in range(8)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    held = [bytearray(2 << 20) for _ in range(8)]
    del held
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def run(word: str, **environment: str) -> tuple[int, int]:
    """Whether free memory is kept, and how many pages were mapped anew for buffers of 800 MiB, 16 MiB at a time."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    output = subprocess.run([sys.executable, "-c", PROGRAM, word], env=plain | environment, capture_output=True, text=True, check=True, timeout=60).stdout
    kept, faults = map(int, output.split())
    return kept, faults


@pytest.mark.skipif(not GLIBC, reason="the C library is another one")
def test_what_is_free_is_not_mapped_anew() -> None:
    kept, faults = run("keep")
    _, faults_before = run("leave")
    assert kept
    assert faults < 10_000 < faults_before


@pytest.mark.parametrize("environment", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}])
def test_the_environment_goes_first(environment: dict[str, str]) -> None:
    assert run("keep", **environment)[0] == 0
