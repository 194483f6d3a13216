"""What differs between systems, forced on this one."""

from __future__ import annotations

import logging
import resource
import socket
import sys
from typing import Any

import pytest

from entrepot import figures, server
from entrepot.net import listener
from entrepot.settings import Config, Limits


def test_without_uvloop_the_standard_loop_runs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert server.loop_factory() is None
    assert "uvloop is not installed" in caplog.text


def test_without_proc_memory_comes_from_the_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(*_: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(figures, "open", no_proc, raising=False)
    assert figures._resident_bytes() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Recorder:
    """A socket that remembers its options."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[option] = value


def test_keepalive_has_another_name_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(socket, "TCP_KEEPALIVE", 0x10, raising=False)
    sock = Recorder()
    listener._tune(sock, 60_000)
    assert sock.options == {socket.TCP_NODELAY: 1, socket.SO_KEEPALIVE: 1, 0x10: 30}


@pytest.mark.parametrize(
    ("limits", "fails", "expected", "warns"),
    [
        ((1024, 5000), False, (2000, 5000), False),
        ((1024, 1500), False, (1500, 1500), True),
        ((1024, resource.RLIM_INFINITY), False, (2000, resource.RLIM_INFINITY), False),
        ((1024, resource.RLIM_INFINITY), True, None, True),
        ((4096, 4096), False, None, False),
    ],
)
def test_the_limit_on_open_files_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limits: tuple[int, int], fails: bool, expected: tuple[int, int] | None, warns: bool
) -> None:
    made: list[tuple[int, int]] = []

    def set_limit(_: int, to: tuple[int, int]) -> None:
        if fails:
            raise ValueError
        made.append(to)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    with caplog.at_level(logging.WARNING):
        config = server.within_descriptors(Config(limits=Limits(connections=2000 - server.FILES_OF_OUR_OWN)))
    assert made == ([expected] if expected else [])
    assert ("ulimit -n" in caplog.text) == warns
    files = expected[0] if expected else limits[0]
    assert config.limits.connections == min(2000, files) - server.FILES_OF_OUR_OWN
