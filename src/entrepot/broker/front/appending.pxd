"""C types for appending.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.calls.partition_calls cimport Append, AppendPart
from entrepot.broker.catalogue.routing cimport Router
from entrepot.broker.front.publisher cimport Path
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.producers.deduplication cimport Deduplication
from entrepot.broker.topic.partition cimport Partition, TopicAccess, TopicRules, TopicTable
from entrepot.model.entry cimport Entry, make_entry
from entrepot.store.interface cimport Log, Store

cdef int _OK
cdef int _DUPLICATE
cdef int _NOT_WHOLE
cdef int64_t _REWRITTEN_MAX


@cython.final
cdef class Appender:
    # fixed
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly object authorizer
    cdef readonly Deduplication producers
    cdef readonly object subjects
    cdef readonly int epoch
    # the broker's
    cdef public object refusing
    cdef object _principal
    # figures
    cdef readonly uint64_t batch_count
    cdef readonly uint64_t appended_count
    cdef readonly uint64_t appended_bytes
    cdef readonly uint64_t duplicate_count
    cdef readonly uint64_t sent_on_count
    cdef readonly uint64_t refused_count

    @cython.locals(codec=EntryCodec, access=TopicAccess, part=AppendPart, waits=bint)
    cpdef object append(self, Append call, TopicTable table)
    @cython.locals(log=Log, rules=TopicRules, size=Py_ssize_t, now_ms=int64_t, max_time_ms=int64_t, base=int64_t, data=bytes, entry=Entry, router=Router, logs=list, path=Path, whole=bint, verdict=int, end=uint64_t)
    cdef bint _append(self, Append call, AppendPart part, Partition partition, EntryCodec codec) except? True
    @cython.locals(size=Py_ssize_t)
    cdef object _recompress(self, Append call, AppendPart part, TopicRules rules, EntryCodec codec)
    cdef object _too_large(self, Py_ssize_t size, TopicRules rules)
    cdef object _refusal(self, object verdict, AppendPart part, str name)
