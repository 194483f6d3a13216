"""C types for from_neutral.py."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.model.batch cimport field_at, sized, skip
from entrepot.model.octets cimport get_u32_le, get_u64_le, put_u32_le, take
from entrepot.protocols.sqs.characters cimport illegal_at
from entrepot.protocols.sqs.packing cimport pack

cdef int _VALUE, _MESSAGE_ID, _GROUP, _HEADERS, _PRIORITY, _EVENT_TIME, _ORIGIN, _VERSION
cdef Py_ssize_t _HEADER, _SHORT_MAX, _NAMED_BYTES

@cython.locals(count=Py_ssize_t, index=Py_ssize_t, position=Py_ssize_t, parts=list)
cpdef bytes from_batch(bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
@cython.locals(pieces=list, digest=bytes, is_base64=bint, record=bytearray)
cpdef bytes from_batch_with(bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address, bytes source, Py_ssize_t at, Py_ssize_t size)
@cython.locals(origin=bytes)
cdef bytes _prefix(bytes batch, Py_ssize_t count, bytes address)
@cython.locals(body=bytes, is_base64=bint)
cdef bytearray _record(bytes batch, Py_ssize_t position, int64_t offset, int64_t append_time_ms)
@cython.locals(attributes=list, fields=dict, raw=bytes, group=bytes, value=bytes, at=Py_ssize_t, sent_ms=int64_t, field=int)
cdef bytearray _packed(
    bytes batch, Py_ssize_t position, int64_t offset, int64_t append_time_ms, bytes body, bytes start, bytes body_md5, bint is_base64)
cpdef bytes fit(bytes value)
cpdef bint is_text(bytes value) except? True
