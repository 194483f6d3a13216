cimport cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u16_be_ba, get_u32_be_ba, get_u64_be_ba, put_u32_be, same_ba, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer
from entrepot.protocols.amqp091.assembly cimport Assembly
from entrepot.protocols.amqp091.events cimport AckRange, Control, NackRange, ProtocolHeader, PublishRun, TooLarge
from entrepot.protocols.amqp091.properties cimport check_properties

cdef int _FRAME_END
cdef Py_ssize_t _BUFFER_MAX, _RUN_COUNT, _RUN_BYTES, _WHOLE_MAX, _PUBLISH_MAX, _QUIET_READS
cdef int _NOTHING, _RUN, _ACKS, _NACKS, _REJECTS

@cython.final
cdef class Decoder(ReceiveBuffer):
    cdef readonly Py_ssize_t frame_max
    cdef public int channel_max
    cdef public uint64_t message_size_max
    cdef public Py_ssize_t assembly_max_bytes
    cdef public int nesting_max
    cdef public Py_ssize_t heartbeats
    cdef public object error
    cdef bint _greeted, _feeding, _overrun, _alike
    cdef int _open, _channel, _run_bits, _flags_or, _checked_flags
    cdef Py_ssize_t _run_pos, _run_size, _count, _body_bytes, _pack_capacity, _packed, _checked_pos, _checked_size, _unfinished
    cdef bytes _run_key
    cdef bytearray _pack
    cdef uint64_t _lo, _hi
    cdef bint _multiple, _requeue
    cdef dict _assemblies

    cpdef int set_frame_max(self, Py_ssize_t frame_max) except -1
    @cython.locals(events=list, size=Py_ssize_t, pos=Py_ssize_t, step=Py_ssize_t)
    cpdef list push(self, bytes data)
    @cython.locals(events=list)
    cpdef list feed(self, Py_ssize_t count)
    @cython.locals(
        buffer=bytearray, pos=Py_ssize_t, end=Py_ssize_t, payload_max=Py_ssize_t, kind=int, channel=int, size=Py_ssize_t, method=uint32_t, after=Py_ssize_t)
    cdef int _decode(self, list events) except -1
    @cython.locals(
        buffer=bytearray, end=Py_ssize_t, header=Py_ssize_t, header_size=Py_ssize_t, body_size=uint64_t, after=Py_ssize_t, properties_size=Py_ssize_t,
        need=Py_ssize_t, pack=bytearray, packed=Py_ssize_t, repeats=bint)
    cdef Py_ssize_t _publish(self, list events, int channel, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(
        buffer=bytearray, end=Py_ssize_t, pack=bytearray, packed=Py_ssize_t, channel=int, body_max=uint64_t, properties_size=Py_ssize_t, left=Py_ssize_t,
        count=Py_ssize_t, body_bytes=Py_ssize_t, after=Py_ssize_t, body_size=uint64_t, need=Py_ssize_t)
    cdef Py_ssize_t _follow(self, Py_ssize_t model, Py_ssize_t size, Py_ssize_t header_size, Py_ssize_t pos) except -1
    cdef int _open_run(self, int channel, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(buffer=bytearray, stop=Py_ssize_t, routing_key=Py_ssize_t)
    cdef bytes _publish_key(self, Py_ssize_t pos, Py_ssize_t size)
    cdef int _reset_run(self) except -1
    @cython.locals(capacity=Py_ssize_t, pack=bytearray)
    cdef int _grow_pack(self, Py_ssize_t packed, Py_ssize_t need) except -1
    @cython.locals(run=PublishRun)
    cdef int _emit_run(self, list events) except -1
    cdef Py_ssize_t _begin(self, int channel, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(buffer=bytearray, channel=int, method=uint32_t)
    cdef int _continue(self, list events, Assembly assembly, int kind, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(buffer=bytearray)
    cdef int _header(self, list events, Assembly assembly, Py_ssize_t pos, Py_ssize_t size) except -1
    cdef int _gather(self, Py_ssize_t size) except -1
    cdef int _complete(self, list events, Assembly assembly) except -1
    cpdef object overrun(self)
    cpdef int release(self) except -1
    cdef int _forget(self) except -1
    @cython.locals(before=Py_ssize_t)
    cdef int _drop(self, Assembly assembly) except -1
    @cython.locals(tag=uint64_t, multiple=int)
    cdef int _ack(self, list events, int channel, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(tag=uint64_t, bits=int, requeue=bint, multiple=bint, kind=int)
    cdef int _nack(self, list events, int channel, Py_ssize_t pos, Py_ssize_t size, uint32_t method) except -1
    cdef bint _extends(self, uint64_t tag, bint multiple) except -1
    cdef int _open_range(self, int kind, int channel, uint64_t tag, bint multiple) except -1
    @cython.locals(control=Control)
    cdef int _control(self, list events, int channel, uint32_t method, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(opened=int, ack=AckRange, nack=NackRange)
    cdef int _flush(self, list events) except -1
