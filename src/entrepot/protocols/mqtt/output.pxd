cimport cython
from libc.stdint cimport uint32_t

from entrepot.model.octets cimport copy, get_u16_be, get_u32_be, put_u16_be, put_u32_be
from entrepot.net.output_buffer cimport OutputBuffer

cdef Py_ssize_t _REFERENCED_MIN, _VARIABLE_MAX
cdef int _RETAIN, _EXPIRES, _KEPT, _CLEAR, _EXPIRY
cdef bytes _PINGRESP

@cython.final
cdef class Template:
    cdef readonly bytes topic, properties
    cdef readonly bint has_properties, is_repeated
    cdef readonly int qos, retain
    cdef readonly Py_ssize_t packet_max

@cython.final
cdef class Output(OutputBuffer):
    cdef readonly Py_ssize_t written

    @cython.locals(count=Py_ssize_t, step=int, buffer=bytearray, filled=Py_ssize_t, first=int, number=Py_ssize_t)
    cpdef int acks(self, int kind, bytes packet_ids, int reason_code) except -1
    cpdef int pings(self, Py_ssize_t count) except -1
    @cython.locals(
        topic=bytes, properties=bytes, has_properties=bint, topic_size=Py_ssize_t, extra=Py_ssize_t, qos=int, packet_max=Py_ssize_t, retain=int, first=int,
        id_size=int, written=Py_ssize_t, expiry=uint32_t, head=Py_ssize_t, body_size=Py_ssize_t, flags=int, expires=bint, at=Py_ssize_t, own=Py_ssize_t,
        listed=Py_ssize_t, prefix=int, size=Py_ssize_t, referenced=bint, buffer=bytearray, filled=Py_ssize_t)
    cpdef Py_ssize_t deliver(self, bytes data, Py_ssize_t pos, Py_ssize_t count, Template template, Py_ssize_t first_id, uint32_t age_s) except -1

cdef int variable_size(Py_ssize_t value) except -1
cdef Py_ssize_t put_variable(bytearray buffer, Py_ssize_t pos, Py_ssize_t value) except -1

@cython.locals(template=Template)
cpdef Template make_template(
    bytes topic, int qos, bint has_properties, bytes properties=*, int retain=*, bint is_repeated=*, Py_ssize_t packet_max=*)
