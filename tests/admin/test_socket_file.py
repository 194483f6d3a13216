"""The socket file: where it can be, what its mode is, and what may lie there before it."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.admin import socket_file
from entrepot.net import short_path

LONG = "d" * 150


@pytest.fixture(params=["short", "long"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "long" and not short_path.DESCRIPTORS.exists():
        pytest.skip("this system has no /proc/self/fd")
    found = tmp_path if request.param == "short" else tmp_path / LONG
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture
def listening(directory: Path) -> Iterator[socket.socket]:
    sock = socket_file.bind(directory, 1)
    yield sock
    sock.close()


def test_it_is_its_owners_alone(directory: Path, listening: socket.socket) -> None:
    mode = (directory / socket_file.NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_who_connects_is_heard(directory: Path, listening: socket.socket) -> None:
    with socket_file.connect(directory, 10) as client:
        accepted, _ = listening.accept()
        client.sendall(b"hello")
        accepted.setblocking(True)
        assert accepted.recv(5) == b"hello"
        accepted.close()


@pytest.mark.parametrize("left", ["socket", "file", "link"])
def test_what_a_crash_has_left_is_replaced(directory: Path, left: str) -> None:
    path, other = directory / socket_file.NAME, directory / "other"
    if left == "socket":
        socket_file.bind(directory, 1).close()
        with pytest.raises(ConnectionRefusedError):
            socket_file.connect(directory, 10)
    elif left == "file":
        path.write_text("x", "utf-8")
    else:
        other.write_text("kept", "utf-8")
        path.symlink_to(other)
    listening = socket_file.bind(directory, 1)
    socket_file.connect(directory, 10).close()
    listening.close()
    assert left != "link" or other.read_text("utf-8") == "kept"


def test_nothing_is_left_open(directory: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    socket_file.bind(directory, 1).close()
    with pytest.raises(ConnectionRefusedError):
        socket_file.connect(directory, 10)
    socket_file.remove(directory)
    with pytest.raises(FileNotFoundError):
        socket_file.connect(directory, 10)
    socket_file.remove(directory)
    assert (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0) == before


def test_where_directories_have_no_short_name_a_long_path_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_path, "DESCRIPTORS", tmp_path / "nothing")
    (tmp_path / LONG).mkdir()
    with pytest.raises(OSError, match="too long for a socket"):
        socket_file.bind(tmp_path / LONG, 1)


def test_a_directory_of_its_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / socket_file.NAME).mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        socket_file.bind(tmp_path, 1)
