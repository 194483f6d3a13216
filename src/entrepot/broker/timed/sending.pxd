"""C types for sending.py."""

import cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport Send
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.growing cimport Growing
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.timed.repeats cimport Repeats
from entrepot.broker.timed.timed_queue cimport TimedQueue
from entrepot.model.entry cimport Entry, make_entry
from entrepot.store.interface cimport Group, Log, Store

cdef int _HAS_EXPIRY
cdef int _HAS_GROUPS
cdef int _DONE


@cython.final
cdef class Sending:
    cdef TimedQueue timed
    cdef Queue queue
    cdef Hub hub
    cdef Store store
    cdef Log log
    cdef list logs
    cdef bytes address
    cdef int codec
    cdef bytes prefix
    cdef Entry entry
    cdef Growing growing
    cdef readonly int64_t record_max
    cdef readonly int64_t delay_ms
    cdef readonly bint by_content
    cdef readonly bint by_group
    cdef readonly int64_t other_scope_until
    cdef readonly Repeats repeats

    @cython.locals(size=int64_t, size_max=int64_t, base=uint64_t)
    cpdef bint send(self, Send call) except? True
    @cython.locals(codec=EntryCodec, flags=uint16_t, records=list, errors=list, refused=bint, waits=bint, index=Py_ssize_t, offset=uint64_t, stored_id=bytes, digest=bytes)
    cdef bint send_by_record(self, Send call) except? True
    cpdef object let_go(self)
    @cython.locals(base=uint64_t, entry=Entry)
    cpdef uint64_t stage(self, int codec, int version, uint16_t flags, bytes data, uint32_t count) except? 0xFFFFFFFFFFFFFFFF
