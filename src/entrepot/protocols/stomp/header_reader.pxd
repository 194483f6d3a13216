cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport copy_ba, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer

cdef Py_ssize_t _LINES_MAX, _SHORT_MAX
cdef int _SEND, _V10, _V11, _V12, _HAS_LENGTH, _PERSISTENT, _EXPIRES, _TEMP_REPLY
cdef uint64_t _NUMBER_MAX

cdef bint _is_blank(int octet) except? True

cdef class HeaderReader(ReceiveBuffer):
    cdef public int version
    cdef public bytes ack_prefix
    cdef int _kind
    cdef bytearray _block
    cdef Py_ssize_t _block_size, _length
    cdef int _bits, _seen
    cdef bytes _destination, _transaction, _receipt, _id, _message_id
    cdef bint _requeue
    cdef uint64_t _subscription_of, _delivery_of

    @cython.locals(
        buffer=bytearray, strips=bint, trims=bint, odd=bint, first=Py_ssize_t, colon=Py_ssize_t, count=Py_ssize_t, at=Py_ssize_t, octet=int, stop=Py_ssize_t)
    cdef int _read_headers(self, Py_ssize_t pos, Py_ssize_t body, bint keeps) except -1
    @cython.locals(size=Py_ssize_t, value=Py_ssize_t, octet=int)
    cdef bint _special(self, Py_ssize_t first, Py_ssize_t colon, Py_ssize_t stop) except? True
    @cython.locals(buffer=bytearray, index=Py_ssize_t)
    cdef bint _is(self, Py_ssize_t at, bytes word) except? True
    cdef bytes _short(self, Py_ssize_t value, Py_ssize_t stop)
    @cython.locals(buffer=bytearray, number=uint64_t, at=Py_ssize_t)
    cdef Py_ssize_t _digits(self, Py_ssize_t value, Py_ssize_t stop) except -1
    @cython.locals(block=bytes)
    cdef int _make_canonical(self) except -1
    @cython.locals(text=bytes, at=Py_ssize_t, size=Py_ssize_t, number=uint64_t, first=Py_ssize_t, dash=bint, octet=int)
    cdef bint _parse_id(self) except? True
