"""C types for cached_read.py: the octets object is made unfilled, and only given out once the kernel has filled all of it."""

import cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from posix.types cimport off_t

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/uio.h>
    #if defined(__linux__) && defined(RWF_NOWAIT)
    static Py_ssize_t entrepot_read_cached(int fd, char *into, size_t size, off_t position) {
        struct iovec part = { into, size };
        return preadv2(fd, &part, 1, position, RWF_NOWAIT);
    }
    #else
    static Py_ssize_t entrepot_read_cached(int fd, char *into, size_t size, off_t position) { return -1; }
    #endif
    """
    Py_ssize_t entrepot_read_cached(int fd, char* into, size_t size, off_t position) nogil


cdef inline object cached(int fd, off_t position, Py_ssize_t size):
    """See read_cached."""
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    cdef char* into = PyBytes_AS_STRING(data)
    cdef Py_ssize_t got
    with nogil:
        got = entrepot_read_cached(fd, into, <size_t>size, position)
    return data if got == size else None


cpdef object read_cached(int fd, off_t position, Py_ssize_t size)
