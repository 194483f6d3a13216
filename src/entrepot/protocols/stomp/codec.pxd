cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport copy_ba, put_u32_be, same_ba, take_ba
from entrepot.protocols.stomp.events cimport AckRange, Frame, SendRun
from entrepot.protocols.stomp.header_reader cimport HeaderReader

cdef Py_ssize_t _RUN_COUNT, _RUN_BYTES, _LINES_MAX, _SHORT_MAX, _RECORD_HEAD, _COMMAND_MAX, _QUIET_READS
cdef int _V10, _V11, _V12, _HAS_LENGTH, _PERSISTENT
cdef int _NOTHING, _RUN, _ACKS, _OTHER, _SEND, _ACK, _NACK

@cython.final
cdef class Decoder(HeaderReader):
    cdef public Py_ssize_t header_max
    cdef public Py_ssize_t message_size_max
    cdef public object error
    cdef Py_ssize_t _head, _scanned, _line, _searched
    cdef bint _has_command
    cdef str _name
    cdef dict _said
    cdef Py_ssize_t _model, _model_size
    cdef int _open, _flags
    cdef bytes _run_destination, _run_transaction
    cdef Py_ssize_t _count, _body_bytes, _pack_capacity, _packed
    cdef bytearray _pack, _receipts
    cdef uint64_t _subscription, _lo, _hi
    cdef bint _negative, _run_requeue

    @cython.locals(events=list, pos=Py_ssize_t, step=Py_ssize_t)
    cpdef list push(self, bytes data)
    @cython.locals(events=list)
    cpdef list feed(self, Py_ssize_t count)
    cpdef object overrun(self)
    cpdef bytes front(self)
    cpdef int release(self) except -1
    @cython.locals(buffer=bytearray, pos=Py_ssize_t, end=Py_ssize_t, after=Py_ssize_t, between=bint)
    cdef int _decode(self, list events) except -1
    @cython.locals(body=Py_ssize_t, at=Py_ssize_t)
    cdef Py_ssize_t _frame(self, list events, Py_ssize_t pos) except -1
    @cython.locals(buffer=bytearray, end=Py_ssize_t, at=Py_ssize_t, stop=Py_ssize_t, line=Py_ssize_t, first=bint, octet=int)
    cdef Py_ssize_t _headers_end(self, Py_ssize_t pos) except -1
    @cython.locals(buffer=bytearray, at=Py_ssize_t, stop=Py_ssize_t, command=bytes)
    cdef int _begin(self, Py_ssize_t pos, Py_ssize_t body) except -1
    @cython.locals(buffer=bytearray, end=Py_ssize_t, size=Py_ssize_t, found=Py_ssize_t)
    cdef Py_ssize_t _body_end(self, Py_ssize_t pos, Py_ssize_t body) except -1
    @cython.locals(need=Py_ssize_t, pack=bytearray, packed=Py_ssize_t)
    cdef int _send(self, list events, Py_ssize_t body, Py_ssize_t size) except -1
    cdef bint _ends_run(self, Py_ssize_t need) except? True
    @cython.locals(capacity=Py_ssize_t, pack=bytearray)
    cdef int _grow_pack(self, Py_ssize_t need) except -1
    cdef int _emit_run(self, list events) except -1
    cdef int _append_run(self, list events, bytes data) except -1
    cdef bint _extends(self, bint negative) except? True
    cdef int _begin_range(self, list events, bint negative) except -1
    cdef int _note_receipt(self) except -1
    @cython.locals(opened=int, receipts=bytes)
    cdef int _flush(self, list events) except -1
