"""C types for packing.py."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.model.octets cimport copy, get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take

cdef uint32_t _SENT_TIME, _SENDER, _GROUP, _DEDUPLICATION, _DELAY, _TRACE, _SOURCE, _ATTRIBUTES
cdef Py_ssize_t _MESSAGE_ID, _BODY_MD5, _FIELDS

@cython.locals(present=uint32_t, size=Py_ssize_t, record=bytearray, at=Py_ssize_t)
cpdef bytearray pack(
    bytes message_id,
    bytes body,
    bytes body_md5,
    bytes sender,
    bytes group,
    bytes deduplication_id,
    int64_t delay_ms,
    int64_t sent_ms,
    bytes trace,
    bytes source,
    bytes attributes,
)
@cython.locals(size=Py_ssize_t)
cdef Py_ssize_t _short(bytearray record, Py_ssize_t at, bytes value) except -1
@cython.locals(present=uint32_t, at=Py_ssize_t, bit=uint32_t)
cpdef Py_ssize_t field_at(bytes data, Py_ssize_t position, uint32_t field) except -2
@cython.locals(at=Py_ssize_t)
cpdef bytes field_of(bytes data, Py_ssize_t position, uint32_t field)
@cython.locals(at=Py_ssize_t)
cpdef int64_t number_of(bytes data, Py_ssize_t position, uint32_t field) except? -2
cpdef Py_ssize_t body_at(bytes data, Py_ssize_t position) except -2
@cython.locals(at=Py_ssize_t)
cpdef bytes body_of(bytes data, Py_ssize_t position)
cpdef Py_ssize_t skip(bytes data, Py_ssize_t position, Py_ssize_t count) except -1
cpdef bytes with_fields(bytes record, int64_t sent_ms, bytes source, bint delay)
