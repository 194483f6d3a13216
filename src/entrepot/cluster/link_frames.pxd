"""C types for link_frames.py."""

cimport cython

from entrepot.model.octets cimport get_u32_be_ba, get_u64_be_ba, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer

cdef int _DATA, _ACK, _ALIVE
cdef Py_ssize_t _HEAD, _FRAME_MAX


@cython.final
cdef class LinkDecoder(ReceiveBuffer):
    cdef public object acknowledged

    cpdef bytes peek(self, Py_ssize_t count)
    cpdef bytes take(self, Py_ssize_t count)
    @cython.locals(buffer=bytearray, pos=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, kind=int, found=list)
    cpdef list frames(self)
