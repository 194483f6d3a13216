cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef int64_t _ANY_NUMBER

@cython.final
cdef class RecordCursor:
    cdef readonly bytes data
    cdef readonly Py_ssize_t pos
    cdef readonly Py_ssize_t end
    cdef readonly Py_ssize_t index
    # of the record
    cdef readonly int64_t time_delta
    cdef readonly int64_t offset_delta
    cdef readonly Py_ssize_t key_at
    cdef readonly Py_ssize_t key_size
    cdef readonly Py_ssize_t value_at
    cdef readonly Py_ssize_t value_size
    cdef readonly Py_ssize_t headers_count
    cdef public int64_t headers_left
    # of the header
    cdef readonly Py_ssize_t name_at
    cdef readonly Py_ssize_t name_size
    cdef readonly Py_ssize_t header_at
    cdef readonly Py_ssize_t header_size
    cdef Py_ssize_t _headers_at
    cdef Py_ssize_t _next_header

    @cython.locals(size=int64_t, stop=Py_ssize_t, count=int64_t)
    cpdef Py_ssize_t advance(self) except -1
    cpdef int first_header(self) except -1
    @cython.locals(behind=Py_ssize_t)
    cpdef int next_header(self) except -1
    cdef int _header(self, Py_ssize_t stop) except -1
    @cython.locals(size=int64_t)
    cdef int64_t _sized(self, Py_ssize_t stop) except -2
    @cython.locals(octet=int)
    cdef int64_t _varint(self) except? -2
    @cython.locals(octet=int)
    cdef int64_t _varlong(self) except? -2
    @cython.locals(raw=uint64_t, shift=int, low=uint64_t, half=int64_t)
    cdef int64_t _longer(self, int octet, int last, int last_max) except? -2


@cython.locals(cursor=RecordCursor)
cpdef RecordCursor make_cursor(bytes data, Py_ssize_t pos, Py_ssize_t end)
