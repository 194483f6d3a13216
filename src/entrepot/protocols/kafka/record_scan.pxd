"""C types for record_scan.py."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.model.octets cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, memcpy

cdef int64_t _TIME_MAX, _TIME_MIN
cdef int _GOOD, _MALFORMED, _MISNUMBERED, _OUT_OF_TIME, _BEHIND

@cython.locals(wrong=int, index=int64_t, greatest=int64_t)
cpdef scan_records(const unsigned char[::1] view, Py_ssize_t start, int64_t count, int64_t base_time_ms)
@cython.locals(found=int64_t, end=Py_ssize_t)
cpdef piece_end(const unsigned char[::1] view, Py_ssize_t start, int64_t count, Py_ssize_t size)
@cython.locals(end=Py_ssize_t, index=int64_t, behind=Py_ssize_t, size=int64_t, pos=Py_ssize_t)
cdef (int64_t, Py_ssize_t) _piece(const unsigned char[::1] view, Py_ssize_t start, int64_t count, Py_ssize_t most) noexcept nogil
cdef inline bytes joined(bytes head, const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t end):
    """head + view[start:end], which is within it, copied without the GIL into pages that nobody has touched."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size + end - start)
    cdef char* target = PyBytes_AS_STRING(made)
    memcpy(target, PyBytes_AS_STRING(head), size)
    if end > start:
        with nogil:
            memcpy(target + size, &view[start], end - start)
    return made

cpdef bytes piece_of(bytes head, const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t end)
@cython.locals(number=int64_t, found=int64_t)
cpdef first_of(const unsigned char[::1] view, Py_ssize_t start, int64_t count, int64_t delta)
@cython.locals(end=Py_ssize_t, behind=Py_ssize_t, size=int64_t, pos=Py_ssize_t, delta=int64_t, number=int64_t)
cdef (int64_t, int64_t) _first(const unsigned char[::1] view, Py_ssize_t start, int64_t count, int64_t least) noexcept nogil
@cython.locals(
    end=Py_ssize_t, greatest=int64_t, index=int64_t, size=int64_t, stop=Py_ssize_t, delta=int64_t, number=int64_t, misnumbered=bint, headers=int64_t,
    name=int64_t)
cdef (int, int64_t, int64_t) _scan(const unsigned char[::1] view, Py_ssize_t pos, int64_t count, int64_t base_time_ms) noexcept nogil
@cython.locals(size=int64_t)
cdef Py_ssize_t _field(const unsigned char[::1] view, Py_ssize_t pos, Py_ssize_t stop) noexcept nogil
@cython.locals(raw=uint64_t, shift=int, octet=int, low=uint64_t, half=int64_t)
cdef (int64_t, Py_ssize_t) _number(const unsigned char[::1] view, Py_ssize_t pos, Py_ssize_t stop, int last, int last_max) noexcept nogil
