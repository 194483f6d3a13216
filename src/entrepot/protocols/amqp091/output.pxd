cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport copy, get_u16_be, get_u32_be, put_u16_be, put_u32_be, put_u64_be, take
from entrepot.net.output_buffer cimport OutputBuffer
from entrepot.protocols.amqp091.properties cimport find_header, property_at, value_end

cdef int _FRAME_END
cdef uint32_t _HEADERS
cdef Py_ssize_t _REFERENCED_MIN, _NUMBER_SIZE
cdef bytes _HEARTBEAT_FRAME

@cython.final
cdef class Output(OutputBuffer):
    cpdef int ack(self, int channel, uint64_t tag, bint multiple) except -1
    cpdef int nack(self, int channel, uint64_t tag, bint multiple) except -1
    cpdef int heartbeat(self) except -1
    @cython.locals(
        template_size=Py_ssize_t, body_max=Py_ssize_t, buffer=bytearray, filled=Py_ssize_t, capacity=Py_ssize_t, tag=uint64_t, properties_size=Py_ssize_t,
        body_size=Py_ssize_t, need=Py_ssize_t, whole=bint)
    cpdef Py_ssize_t deliver(
        self, bytes data, Py_ssize_t pos, Py_ssize_t count, bytes template, Py_ssize_t tag_at, uint64_t first_tag, int channel, Py_ssize_t frame_max) except -1
    @cython.locals(
        template_size=Py_ssize_t, buffer=bytearray, filled=Py_ssize_t, tag=uint64_t, properties_size=Py_ssize_t, body_size=Py_ssize_t,
        size_at=Py_ssize_t)
    cpdef Py_ssize_t deliver_numbered(
        self, bytes data, Py_ssize_t pos, Py_ssize_t count, bytes template, Py_ssize_t tag_at, uint64_t first_tag, int channel, Py_ssize_t frame_max,
        bytes header, uint64_t number, int step) except -1
    cdef int _confirm(self, uint32_t method, int channel, uint64_t tag, int bits) except -1
    @cython.locals(step=Py_ssize_t, referenced=bint, buffer=bytearray, filled=Py_ssize_t)
    cdef int _body(self, bytes data, Py_ssize_t pos, Py_ssize_t size, int channel, Py_ssize_t body_max) except -1
    @cython.locals(
        buffer=bytearray, filled=Py_ssize_t, stop=Py_ssize_t, flags=uint32_t, table=Py_ssize_t, size_at=Py_ssize_t, rest=Py_ssize_t, table_end=Py_ssize_t,
        own=Py_ssize_t)
    cdef int _numbered_properties(self, bytes data, Py_ssize_t pos, Py_ssize_t size, bytes header, uint64_t number) except -1
