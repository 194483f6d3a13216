"""C types for cached_read.py: the octets object is made unfilled, and only given out once the kernel has filled all of it."""

import cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from posix.types cimport off_t

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/uio.h>
    #if defined(__linux__) && defined(RWF_NOWAIT)
    static Py_ssize_t entrepot_read_cached(int fd, char *head, size_t head_size, char *into, size_t size, off_t position) {
        struct iovec parts[2] = { { head, head_size }, { into, size } };
        return preadv2(fd, parts, 2, position, RWF_NOWAIT);
    }
    #else
    static Py_ssize_t entrepot_read_cached(int fd, char *head, size_t head_size, char *into, size_t size, off_t position) { return -1; }
    #endif
    """
    Py_ssize_t entrepot_read_cached(int fd, char* head, size_t head_size, char* into, size_t size, off_t position) nogil


cdef inline object cached(int fd, off_t position, Py_ssize_t size):
    """See read_cached."""
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    cdef char* into = PyBytes_AS_STRING(data)
    cdef Py_ssize_t got
    with nogil:
        got = entrepot_read_cached(fd, NULL, 0, into, <size_t>size, position)
    return data if got == size else None


cdef inline object cached_apart(int fd, off_t position, Py_ssize_t head_size, Py_ssize_t size):
    """See read_apart_cached."""
    if head_size < 0 or head_size > size:
        raise ValueError("a head that is longer than the whole")
    cdef bytes head = PyBytes_FromStringAndSize(NULL, head_size)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size - head_size)
    cdef char* head_into = PyBytes_AS_STRING(head)
    cdef char* into = PyBytes_AS_STRING(data)
    cdef Py_ssize_t got
    with nogil:
        got = entrepot_read_cached(fd, head_into, <size_t>head_size, into, <size_t>(size - head_size), position)
    return (head, data) if got == size else None


cpdef object read_apart_cached(int fd, off_t position, Py_ssize_t head_size, Py_ssize_t size)
cpdef object read_cached(int fd, off_t position, Py_ssize_t size)
