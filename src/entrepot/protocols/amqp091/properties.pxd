cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t

from entrepot.model.octets cimport get_u16_be, get_u16_be_ba, get_u32_be, get_u32_be_ba, take

cdef uint32_t _HEADERS, _EXPIRATION
cdef int64_t _EXPIRATION_MAX_MS
cdef uint32_t _OCTETS
cdef uint32_t _TIMESTAMP

@cython.locals(flags=uint32_t, bit=uint32_t)
cpdef int check_properties(bytearray data, Py_ssize_t pos, Py_ssize_t end, int nesting_max) except -1

@cython.locals(size=uint32_t, stop=Py_ssize_t)
cpdef Py_ssize_t check_table(bytearray data, Py_ssize_t pos, Py_ssize_t end, int nesting_max) except -1

@cython.locals(kind=int, fixed=int, size=uint32_t, stop=Py_ssize_t)
cpdef Py_ssize_t check_value(bytearray data, Py_ssize_t pos, Py_ssize_t end, int nesting_max) except -1

cpdef int fixed_size(int kind) except -2

@cython.locals(fixed=int)
cpdef Py_ssize_t value_end(bytes data, Py_ssize_t pos) except -1

@cython.locals(flags=uint32_t, other=uint32_t)
cpdef Py_ssize_t property_at(bytes data, Py_ssize_t pos, uint32_t bit) except -1

cpdef bytes short_string(bytes data, Py_ssize_t pos, uint32_t bit)

@cython.locals(size=Py_ssize_t, stop=Py_ssize_t, pos=Py_ssize_t, length=Py_ssize_t)
cpdef Py_ssize_t find_header(bytes data, Py_ssize_t table_pos, bytes name) except -2

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, sign=int, value=int64_t, index=Py_ssize_t, digit=int)
cpdef int64_t expiration_ms(bytes data, Py_ssize_t pos) except -2
