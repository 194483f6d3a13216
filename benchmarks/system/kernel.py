"""Plain-Python twins of kernel.pxd, for interpreted mode. Linux only, as epoll is."""

from __future__ import annotations

import select
import struct
import time

import cython

if not cython.compiled:
    import os
    import socket

    _EVENT = struct.Struct("<IQ")

    def now_ns() -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def bit_length(value: int) -> int:
        return value.bit_length()

    def receive(fd: int, target: bytearray, pos: int, count: int) -> int:
        """Bytes received at target[pos:pos+count]; 0 at the end of the stream, -1 when there is nothing now."""
        with memoryview(target)[pos : pos + count] as view:
            try:
                return os.readv(fd, [view])
            except (BlockingIOError, InterruptedError):
                return -1

    def transmit(fd: int, source: bytearray, pos: int, count: int) -> int:
        """Bytes of source[pos:pos+count] taken by the kernel, perhaps not all; 0 when it takes nothing now."""
        with memoryview(source)[pos : pos + count] as view, socket.socket(fileno=os.dup(fd)) as duplicate:
            try:
                return duplicate.send(view, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return 0

    def wait_events(epoll_fd: int, events: bytearray, timeout_ns: int) -> int:
        """Waits at most so long; how many descriptors are ready."""
        if timeout_ns > 0:
            select.select([epoll_fd], [], [], timeout_ns / 1e9)
        with select.epoll.fromfd(os.dup(epoll_fd)) as epoll:
            ready = epoll.poll(0, len(events) // _EVENT.size)
        for index, (fd, mask) in enumerate(ready):
            _EVENT.pack_into(events, index * _EVENT.size, mask, fd)
        return len(ready)

    def event_fd(events: bytearray, index: int) -> int:
        return int(_EVENT.unpack_from(events, index * _EVENT.size)[1])

    def event_mask(events: bytearray, index: int) -> int:
        return int(_EVENT.unpack_from(events, index * _EVENT.size)[0])

    def same(data: bytearray, pos: int, other: bytes, other_pos: int, count: int) -> bool:
        """Whether data[pos:pos+count] equals other[other_pos:other_pos+count]."""
        return data[pos : pos + count] == other[other_pos : other_pos + count]

    def get_u64_le_ba(source: bytearray, pos: int) -> int:
        return int.from_bytes(source[pos : pos + 8], "little")
