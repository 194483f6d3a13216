cimport cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.octets cimport get_u32_be, take

@cython.final
cdef class ProtocolHeader:
    cdef readonly bytes data
    cdef readonly bint supported

@cython.final
cdef class PublishRun:
    cdef public int channel
    cdef public bytes key
    cdef public bint mandatory
    cdef public bint immediate
    cdef public bytes data
    cdef public Py_ssize_t count
    cdef public Py_ssize_t body_bytes
    cdef public int property_flags_or
    cdef public bint alike

    @cython.locals(data=bytes, pos=Py_ssize_t, body_bytes=Py_ssize_t, size=Py_ssize_t)
    cpdef PublishRun cut(self, Py_ssize_t count)

@cython.final
cdef class AckRange:
    cdef public int channel
    cdef public uint64_t lo
    cdef public uint64_t hi
    cdef public bint multiple

@cython.final
cdef class NackRange:
    cdef public int channel
    cdef public uint64_t lo
    cdef public uint64_t hi
    cdef public bint multiple
    cdef public bint requeue
    cdef public int method

@cython.final
cdef class Control:
    cdef public int channel
    cdef public uint32_t method
    cdef public bytes payload

@cython.final
cdef class TooLarge:
    cdef readonly int channel
    cdef readonly uint64_t body_size
