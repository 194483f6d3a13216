"""C types for topic.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Delivery
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.broker.subscription.consumer cimport Consumer
from entrepot.broker.topic.partition cimport Partition, TopicRules
from entrepot.model.entry cimport Entry, StoredEntry
from entrepot.store.interface cimport Log, LogReader, Store

cdef uint64_t _SLICE_MAX
cdef uint64_t _SLICE_BYTES
cdef uint64_t _TURN_MAX
cdef int _SKIP_MAX
cdef int _CONTROL
cdef int _TRANSACTIONAL


@cython.final
cdef class PartitionReader:
    # fixed
    cdef readonly Consumer consumer
    cdef readonly Topic topic
    cdef readonly Log log
    cdef LogReader reader
    # where it is
    cdef readonly uint64_t position
    cdef bint entry_start
    cdef readonly object start
    cdef StoredEntry current
    cdef bytes form
    cdef uint64_t next_index
    cdef Py_ssize_t next_position
    # what it waits for
    cdef readonly bint loading
    cdef bint fetched
    cdef uint64_t empty_end
    cdef bint closed
    cdef object transactions

    cpdef object found(self, uint64_t offset)
    cpdef object loaded(self)


cdef class Topic(LogOwner):
    # identity
    cdef public object definition
    cdef readonly str name
    cdef readonly bytes address
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly list partitions
    cdef readonly TopicRules rules
    cdef readonly object policy
    # consumers
    cdef readonly list consumers
    cdef Py_ssize_t _consumer_count
    cdef readonly list readers
    cdef readonly object giving
    # life
    cdef readonly bint closed
    cdef dict _away
    cdef object timer

    @cython.locals(before=PartitionReader, reader=PartitionReader)
    cpdef Partition return_to(self, Partition left)
    @cython.locals(reader=PartitionReader)
    cpdef object follow(self, Log log, object transactions)
    @cython.locals(reader=PartitionReader)
    cpdef object remove_consumer(self, Consumer consumer)
    cpdef object settle(self, Consumer consumer, uint64_t first, uint64_t count)
    cpdef object release_all(self, Consumer consumer)
    @cython.locals(reader=PartitionReader)
    cpdef list close(self)
    cpdef object wake(self)
    @cython.locals(left=uint64_t, given=uint64_t, busy=list, going=list, reader=PartitionReader)
    cpdef object dispatch(self)
    @cython.locals(
        consumer=Consumer, limit=uint64_t, left=uint64_t, average=uint64_t, stored=StoredEntry, entry=Entry, data=bytes, delivery=Delivery
    )
    cdef uint64_t advance(self, PartitionReader reader) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(stored=StoredEntry, skips=int, end=uint64_t)
    cdef bint locate(self, PartitionReader reader) except? True
    @cython.locals(stored=StoredEntry, durable=uint64_t)
    cdef StoredEntry _take_up(self, PartitionReader reader)
    @cython.locals(stored=StoredEntry, codec=EntryCodec, data=bytes, index=uint64_t)
    cdef Py_ssize_t position_of(self, PartitionReader reader) except -1


@cython.locals(reader=PartitionReader)
cdef PartitionReader _make_reader(Topic topic, Consumer consumer, Log log)
@cython.locals(end=uint64_t)
cdef uint64_t _visible_end(PartitionReader reader) except? 0xFFFFFFFFFFFFFFFF
cdef bint _is_passed_over(PartitionReader reader, Entry entry) except? True
cdef object _close_reader(PartitionReader reader)
@cython.locals(log=Log, end=uint64_t, following=uint64_t)
cdef object _place(PartitionReader reader, object start)
