cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.entry_codec cimport EntryCodec
from entrepot.model.octets cimport get_u16_be, get_u32_be, take
from entrepot.protocols.amqp091.properties cimport find_header, property_at

cdef int _VERSION
cdef uint32_t _HEADERS, _EXPIRATION
cdef int64_t _EXPIRATION_MAX_MS

cpdef Py_ssize_t skip(bytes data, Py_ssize_t pos, Py_ssize_t count) except -1

@cython.locals(count=Py_ssize_t)
cpdef Py_ssize_t count_records(bytes data, Py_ssize_t pos) except -1

@cython.locals(found=list)
cpdef list positions(bytes data, Py_ssize_t pos, Py_ssize_t count)

@cython.locals(at=Py_ssize_t, size=int, value=int64_t, index=Py_ssize_t, digit=int)
cpdef int64_t expiration_ms(bytes data, Py_ssize_t pos) except -2

cdef class AmqpEntryCodec(EntryCodec):
    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    @cython.locals(found=uint32_t, ttl=int64_t)
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
