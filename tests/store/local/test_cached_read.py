"""What is in the system's cache is read without another thread; what is not there, or not all there, is left to one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from both_modes import interpreted
from entrepot.store.local import cached_read

NAME = "entrepot.store.local.cached_read"


@pytest.fixture(params=["as built", "interpreted"])
def module(request: pytest.FixtureRequest) -> Any:
    return cached_read if request.param == "as built" else interpreted(NAME)


@pytest.fixture(params=["whole", "apart"])
def read(module: Any, request: pytest.FixtureRequest) -> Any:
    if request.param == "whole":
        return module.read_cached

    def read(fd: int, position: int, size: int) -> bytes | None:
        found = {module.read_apart_cached(fd, position, head_size, size) for head_size in (0, size // 3, size)}
        assert None in found or {len(head) for head, _ in found} == {0, size // 3, size}
        (data,) = {None if pieces is None else b"".join(pieces) for pieces in found}
        return data

    return read


def test_it_is_the_file_s_octets_or_nothing(read: Any, tmp_path: Path) -> None:
    data = bytes(range(256)) * 64
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        for position, size in [(0, len(data)), (5, 100), (len(data) - 1, 1)]:
            assert read(fd, position, size) in (None, data[position : position + size])  # None where the file system cannot tell
        assert read(fd, len(data) - 10, 11) is None
        assert read(fd, len(data) + 10, 11) is None
    finally:
        os.close(fd)
    assert read(fd, 0, 1) is None
