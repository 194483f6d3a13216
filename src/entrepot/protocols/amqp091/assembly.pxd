cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport put_u32_be
from entrepot.protocols.amqp091.events cimport PublishRun

cdef Py_ssize_t _PART_MIN

@cython.final
cdef class Assembly:
    cdef public int channel, bits, flags
    cdef public bytes key, properties
    cdef public bint has_header, skipped
    cdef public uint64_t body_size, left
    cdef list _parts
    cdef bytearray _tail

    @cython.locals(size=Py_ssize_t)
    cpdef int gather(self, bytes part) except -1
    @cython.locals(sizes=bytearray, run=PublishRun)
    cpdef PublishRun run(self)
