"""Child: one start of one worker as a process, with the socket that parent and worker speak over (cluster/workers/lines.py)."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from entrepot.cluster.workers.lines import Lines, line
from entrepot.model.errors import CorruptData

log = logging.getLogger("entrepot.parent")

READ_BYTES = 65_536
WORKER_FD = "--worker-fd"
# Signals are the parent's: whoever sends one to all processes of a terminal, or of a service, is heard once. Blocked in a child from its first instruction on.
BLOCKED = (signal.SIGINT, signal.SIGTERM)


class Child:
    """A process that runs until look() has found its end: then on_end(status) is called once, behind the last on_line(said); a signal's status is negative."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        command: Sequence[str],
        first: dict[str, Any],
        on_line: Callable[[dict[str, Any]], object],
        on_end: Callable[[int], object],
    ) -> None:
        """Raises OSError: there can be no such process now."""
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._lines = Lines()
        self._unsent = bytearray()
        self._sock, theirs = socket.socketpair()
        try:
            self._process = _started(command, theirs)
        except BaseException:
            self._sock.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._sock.setblocking(False)
        loop.add_reader(self._sock, self._readable)
        self.say(first)

    def say(self, said: dict[str, Any]) -> None:
        """A line. Nobody may be there to read it any more: look() will find out."""
        if self._sock.fileno() < 0:
            return
        is_waiting = bool(self._unsent)
        self._unsent += line(said)
        if not is_waiting:
            self._writable()

    def kill(self) -> None:
        """SIGKILL; on_end is still to come."""
        self._process.kill()

    def look(self) -> None:
        """Whether it has ended."""
        status = self._process.poll()
        if status is None or self._sock.fileno() < 0:
            return
        self._readable()  # its last words
        self._close()
        self._on_end(status)

    def _readable(self) -> None:
        while self._sock.fileno() >= 0:
            try:
                data = self._sock.recv(READ_BYTES)
                lines = self._lines.fed(data)
            except BlockingIOError:
                return
            except OSError:
                data, lines = b"", []
            except CorruptData as error:
                log.error("process %d is ended: %s", self.pid, error)
                self.kill()
                data, lines = b"", []
            for said in lines:
                self._on_line(said)
            if not data:
                self._loop.remove_reader(self._sock)
                return

    def _writable(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._writable)
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._sock)

    def _close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()


def _started(command: Sequence[str], theirs: socket.socket) -> subprocess.Popen[bytes]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        words = [*command, WORKER_FD, str(theirs.fileno())]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
