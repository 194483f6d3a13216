"""C types for link_frames.py."""

cimport cython

from entrepot.model.octets cimport get_u32_be_ba, get_u64_be_ba, over_u32_be, over_u64_be, take, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer

cdef int _DATA, _ACK, _ALIVE
cdef Py_ssize_t _HEAD, _FRAME_MAX
cdef unsigned long long _COUNT_MAX
cdef bytes _DATA_HEAD, _ACK_FRAME


@cython.final
cdef class LinkDecoder(ReceiveBuffer):
    cdef public long long acknowledged

    cpdef bytes peek(self, Py_ssize_t count)
    cpdef bytes take(self, Py_ssize_t count)
    @cython.locals(buffer=bytearray, pos=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, kind=int, found=list, acknowledged=cython.ulonglong)
    cpdef list frames(self)


cpdef bytes data_head(Py_ssize_t size)
cpdef bytes ack_frame(long long received)
