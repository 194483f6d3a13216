cimport cython

from entrepot.model.octets cimport copy, copy_ba, get_u16_be_ba, put_u16_be, put_u32_be, same_ba, take_ba
from entrepot.net.receive_buffer cimport ReceiveBuffer
from entrepot.protocols.mqtt.events cimport AckRun, PublishRun
from entrepot.protocols.mqtt.publish_properties cimport PublishProperties

cdef Py_ssize_t _RUN_COUNT, _RUN_BYTES, _TOPIC_BYTES, _STEPS, _BUFFER_MAX, _QUIET_READS, _NAMES, _NAME_SIZE
cdef int _V31, _V5, _RETAIN, _EXPIRES, _TOO_LARGE
cdef int _CONNECT, _PUBLISH, _PUBACK, _PUBCOMP, _SUBSCRIBE, _UNSUBSCRIBE, _PINGREQ, _DISCONNECT, _AUTH
cdef int _GREETING, _AUTHENTICATING, _ACCEPTED, _ENDED
cdef int _NOTHING, _RUN, _ACKS, _PINGS
cdef list _FLAGS, _IGNORED_31

@cython.final
cdef class Decoder(ReceiveBuffer):
    cdef readonly int version
    cdef readonly bint more
    cdef public object error
    cdef int _state, _alias_max, _open, _kind, _reason, _flags, _first_id
    cdef bint _by_auth, _ascending, _expires, _feeding, _overrun
    cdef Py_ssize_t _packet_max, _control_max, _user_packet_max, _user_control_max
    cdef dict _aliases, _names
    cdef bytes _topic
    cdef Py_ssize_t _topic_pos, _topic_size, _run_count, _count, _ids_capacity, _body_bytes, _pack_capacity, _packed
    cdef int _topic_alias
    cdef bytearray _ids, _pack
    cdef Py_ssize_t _after
    cdef PublishProperties _list

    cpdef int accept(self, Py_ssize_t limit, object share, int topic_alias_maximum=*) except -1
    @cython.locals(events=list, size=Py_ssize_t, pos=Py_ssize_t, step=Py_ssize_t)
    cpdef list push(self, bytes data)
    @cython.locals(events=list)
    cpdef list feed(self, Py_ssize_t count)
    cpdef object overrun(self)
    cpdef int release(self) except -1
    cdef int _forget_packs(self) except -1
    @cython.locals(buffer=bytearray, pos=Py_ssize_t, end=Py_ssize_t, first=int, kind=int, size=Py_ssize_t, body=Py_ssize_t)
    cdef int _decode(self, list events) except -1
    @cython.locals(buffer=bytearray, value=Py_ssize_t, shift=int, octet=int)
    cdef Py_ssize_t _variable(self, Py_ssize_t pos, Py_ssize_t end) except -2
    @cython.locals(wanted=int)
    cdef bint _is_expected(self, int kind, int flags) except? True
    @cython.locals(
        buffer=bytearray, stop=Py_ssize_t, qos=int, topic_size=Py_ssize_t, at=Py_ssize_t, packet_id=int, listed=Py_ssize_t, flags=int, head=Py_ssize_t,
        body_size=Py_ssize_t, need=Py_ssize_t, pack=bytearray, packed=Py_ssize_t, properties=PublishProperties)
    cdef int _publish(self, list events, Py_ssize_t body, Py_ssize_t size, int first) except -1
    cdef bint _is_topic(self, Py_ssize_t body, Py_ssize_t topic_size) except? True
    @cython.locals(topic=bytes)
    cdef int _open_run(self, Py_ssize_t body, Py_ssize_t topic_size, int flags) except -1
    cdef int _check_name(self, bytes topic) except -1
    cdef int _reset_run(self) except -1
    @cython.locals(packed=Py_ssize_t, capacity=Py_ssize_t, pack=bytearray)
    cdef int _grow_pack(self, Py_ssize_t need) except -1
    @cython.locals(count=Py_ssize_t, capacity=Py_ssize_t, ids=bytearray)
    cdef int _add_id(self, int packet_id) except -1
    @cython.locals(run=PublishRun)
    cdef int _emit_run(self, list events) except -1
    @cython.locals(reason=int, packet_id=int)
    cdef int _ack(self, list events, int kind, Py_ssize_t body, Py_ssize_t size) except -1
    cdef int _ping(self, list events, Py_ssize_t size) except -1
    cdef int _request(self, list events, int kind, Py_ssize_t body, Py_ssize_t size) except -1
    cdef object _greet(self, object connect)
    @cython.locals(opened=int, ack=AckRun)
    cdef int _flush(self, list events) except -1
