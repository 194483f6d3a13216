"""C types for framing.py."""

cimport cython
from libc.stdint cimport int64_t

from entrepot.model.octets cimport get_u16_be_ba, get_u32_be_ba, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer
from entrepot.protocols.kafka.primitives cimport Reader

cdef Py_ssize_t _RAW_MAX
cdef int _PRODUCE


@cython.final
cdef class Framing(ReceiveBuffer):
    cdef public int64_t produce_size_max
    cdef public int64_t size_max
    cdef readonly int api_key
    cdef public bint raw

    @cython.locals(left=Py_ssize_t, size=int64_t, limit=int64_t)
    cpdef bint next(self) except? True
    cpdef Reader reader(self)
    cpdef bytes token(self)
    cpdef int consume(self) except -1
