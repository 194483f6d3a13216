"""The administration's socket file, `admin.sock` in the data directory: where it is, though the directory's path be longer than a socket's may be.

Mode 0600, in a directory that is its owner's alone. Who has the directory's lock owns the name, too: what lies there when a broker starts is what one that
crashed has left.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from entrepot.net.short_path import short_path

NAME = "admin.sock"


def bind(directory: Path, backlog: int) -> socket.socket:
    """A listening socket there, in place of what was left there. The directory's lock is held. OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(directory / NAME) as path:
            remove(directory)
            sock.bind(path)
            os.chmod(path, 0o600)  # before anybody can connect
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def remove(directory: Path) -> None:
    """The file goes; nothing where there is none. The directory's lock is held."""
    (directory / NAME).unlink(missing_ok=True)


def connect(directory: Path, timeout_s: float) -> socket.socket:
    """A connection to the broker that listens there. FileNotFoundError or ConnectionRefusedError: nobody does; BlockingIOError: it does not accept; OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # One that does not block, as Python's timeouts make it, would not wait for its place in a line that is full.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1_000_000)))
        with short_path(directory / NAME) as path:
            sock.connect(path)
        sock.settimeout(timeout_s)
    except BaseException:
        sock.close()
        raise
    return sock
