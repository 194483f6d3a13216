"""Checked system calls and byte access for the load generator: its only pointers.

Everything that takes a buffer raises IndexError outside it. kernel.py holds the plain-Python twins for interpreted mode.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    ssize_t c_recv "recv"(int fd, void *data, size_t size, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int epoll_fd, epoll_event *events, int count, int timeout_ms)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    short POLLIN
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask)

cdef extern from *:
    uint64_t __builtin_bswap64(uint64_t) nogil
    int __builtin_clzll(unsigned long long) nogil


cdef inline uint64_t now_ns() noexcept:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


cdef inline int bit_length(uint64_t value) noexcept:
    return 0 if value == 0 else 64 - __builtin_clzll(value)


cdef inline Py_ssize_t receive(int fd, bytearray target, Py_ssize_t pos, Py_ssize_t count) except? -2:
    """Bytes received at target[pos:pos+count]; 0 at the end of the stream, -1 when there is nothing now."""
    cdef ssize_t n
    if count < 0 or pos < 0 or count > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("receive outside a buffer")
    n = c_recv(fd, PyByteArray_AS_STRING(target) + pos, count, MSG_DONTWAIT)
    if n < 0:
        if errno == EAGAIN or errno == EINTR:
            return -1
        PyErr_SetFromErrno(OSError)
    return n


cdef inline Py_ssize_t transmit(int fd, bytearray source, Py_ssize_t pos, Py_ssize_t count) except? -2:
    """Bytes of source[pos:pos+count] taken by the kernel, perhaps not all; 0 when it takes nothing now."""
    cdef ssize_t n
    if count < 0 or pos < 0 or count > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("send outside a buffer")
    n = c_send(fd, PyByteArray_AS_STRING(source) + pos, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    if n < 0:
        if errno == EAGAIN or errno == EINTR:
            return 0
        PyErr_SetFromErrno(OSError)
    return n


cdef inline Py_ssize_t wait_events(int epoll_fd, bytearray events, int64_t timeout_ns) except -1:
    """Waits at most so long (0: not at all; to the nanosecond, as far as the timer slack allows); how many descriptors are ready."""
    cdef int n
    cdef pollfd one
    cdef timespec timeout
    cdef int room = <int>(PyByteArray_GET_SIZE(events) // <Py_ssize_t>sizeof(epoll_event))
    n = epoll_wait(epoll_fd, <epoll_event *>PyByteArray_AS_STRING(events), room, 0)
    if n == 0 and timeout_ns > 0:
        one.fd = epoll_fd
        one.events = POLLIN
        timeout.tv_sec = timeout_ns // 1000000000
        timeout.tv_nsec = timeout_ns % 1000000000
        with nogil:
            ppoll(&one, 1, &timeout, NULL)
        n = epoll_wait(epoll_fd, <epoll_event *>PyByteArray_AS_STRING(events), room, 0)
    if n < 0:
        n = 0
    if n == 0:
        PyErr_CheckSignals()
    return n


cdef inline int event_fd(bytearray events, Py_ssize_t index) except -1:
    if index < 0 or index >= PyByteArray_GET_SIZE(events) // <Py_ssize_t>sizeof(epoll_event):
        raise IndexError("outside the events")
    return (<epoll_event *>PyByteArray_AS_STRING(events))[index].data.fd


cdef inline uint32_t event_mask(bytearray events, Py_ssize_t index) except? 0xFFFFFFFF:
    if index < 0 or index >= PyByteArray_GET_SIZE(events) // <Py_ssize_t>sizeof(epoll_event):
        raise IndexError("outside the events")
    return (<epoll_event *>PyByteArray_AS_STRING(events))[index].events


cdef inline bint same(bytearray data, Py_ssize_t pos, bytes other, Py_ssize_t other_pos, Py_ssize_t count) except? True:
    """Whether data[pos:pos+count] equals other[other_pos:other_pos+count]."""
    if count < 0 or pos < 0 or other_pos < 0 or count > PyByteArray_GET_SIZE(data) - pos or count > PyBytes_GET_SIZE(other) - other_pos:
        raise IndexError("compare outside a buffer")
    return memcmp(PyByteArray_AS_STRING(data) + pos, PyBytes_AS_STRING(other) + other_pos, count) == 0


cdef inline uint64_t get_u64_le_ba(bytearray source, Py_ssize_t pos) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value
    if pos < 0 or 8 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 8)
    return value
