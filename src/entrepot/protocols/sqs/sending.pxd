"""C types for sending.py."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.calls.lease_calls cimport Send, make_send
from entrepot.protocols.sqs.batches cimport check_entries
from entrepot.protocols.sqs.characters cimport illegal_at
from entrepot.protocols.sqs.exchange cimport Exchange
from entrepot.protocols.sqs.packing cimport pack
from entrepot.protocols.sqs.writing cimport Writer

cdef int _CODEC, _VERSION, _HAS_DELIVER_AT
cdef Py_ssize_t _MESSAGE_MAX, _LONG
cdef uint64_t _SEQUENCE_FIRST
cdef object _md5, _long_md5, _ENCODER


@cython.final
cdef class Packed:
    cdef public bytearray record
    cdef public str entry_id
    cdef public Py_ssize_t size
    cdef public bytes message_id
    cdef public bytes body_md5
    cdef public bytes attributes_md5
    cdef public str trace_md5
    cdef public bytes group
    cdef public bytes deduplication_id
    cdef public bytes content_id
    cdef public int64_t delay_ms

@cython.locals(packed=Packed)
cpdef object send_message(Exchange exchange)
@cython.locals(text=str, body=bytes, at=Py_ssize_t, packed=Packed, size=Py_ssize_t, attributes=bytes, trace=bytes)
cpdef Packed pack_message(object shared, object message, bint fifo, bytes sender, bytes trace_header)
@cython.locals(sizes=list, ids=list, records=list, delayed=bint, grouped=bint, deduplicated=bint, hashed=bint, packed=Packed, data=bytes, count=Py_ssize_t, call=Send)
cpdef Send make_call(str queue, list messages)
@cython.locals(packed=Packed, fifo=bint, writer=Writer, errors=list)
cpdef object sent(Exchange exchange, Send call)
cpdef int write_sent(Writer writer, Packed packed, bytes message_id, uint64_t offset, bint fifo) except -1
@cython.locals(entries=list)
cpdef object send_message_batch(Exchange exchange)
@cython.locals(fifo=bint, good=list, failed=list, total=Py_ssize_t, packed=Packed, sender=bytes, trace_header=bytes)
cdef object _send_batch(Exchange exchange, list entries)
@cython.locals(good=list, failed=list, fifo=bint, writer=Writer, first=bint, packed=Packed, index=Py_ssize_t, errors=list, ids=list, offsets=list)
cpdef object batch_sent(Exchange exchange, Send call)
@cython.locals(done=list, index=Py_ssize_t, packed=Packed)
cdef object _answer_batch(Exchange exchange, Send call, list good, list failed, bint fifo, object places=*)
cdef object _some_refused(Exchange exchange, Send call, list errors)
