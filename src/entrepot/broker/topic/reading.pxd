"""C types for reading.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.calls.partition_calls cimport CloseParts, Read, ReadPart, forget_answer
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.broker.topic.partition cimport Partition, TopicAccess, TopicTable, Watcher
from entrepot.model.entry cimport Entry, StoredEntry
from entrepot.store.interface cimport Log, LogReader

cdef Py_ssize_t _COLD_MAX
cdef Py_ssize_t _STRETCHES_SIZE, _STRETCH_SIZE_MIN, _STRETCH_SIZE_MAX, _SHARE_SIZE_MAX
cdef int64_t _ENTRIES_MAX, _FOREIGN_MAX
cdef Py_ssize_t _PARTS_MAX
cdef int _CONTROL


cdef class Place(Watcher):
    # fixed
    cdef ReadPart part
    cdef Partition partition
    cdef TopicTable table
    cdef Reads reads
    cdef int64_t version
    # who reads
    cdef Reading reading
    cdef Py_ssize_t index
    # where it is
    cdef LogReader reader
    cdef int64_t expected
    cdef readonly uint64_t next
    cdef bint cold
    cdef readonly bint loading
    cdef readonly bint queued
    cdef bint fetched
    cdef uint64_t empty_end
    cdef bint woken

    cpdef object wake(self)
    @cython.locals(stored=StoredEntry, part=ReadPart)
    cdef StoredEntry take(self, uint64_t durable)
    cdef object fetch(self)
    cdef object release(self)
    cdef object close(self)


cdef class Reading(LogOwner):
    cdef Hub hub
    cdef Reads reads
    cdef Read call
    cdef Py_ssize_t turn
    cdef list woken
    cdef int64_t size
    cdef int64_t budget
    cdef int64_t foreign
    cdef TopicTable table
    cdef readonly Py_ssize_t left
    cdef Py_ssize_t index
    cdef bint found
    cdef bint cut
    cdef bint prompt
    cdef bint failed
    cdef bint expired
    cdef object timer

    @cython.locals(parts=list, count=Py_ssize_t, part=ReadPart)
    cdef object begin(self, Read call, TopicTable table)
    @cython.locals(call=Read, table=TopicTable, version=int64_t, parts=list, count=Py_ssize_t, index=Py_ssize_t, most=Py_ssize_t, part=ReadPart, place=Place)
    cdef object _go_over(self)
    @cython.locals(woken=list, place=Place, part=ReadPart)
    cpdef object dispatch(self)
    cdef object cancel(self)
    @cython.locals(access=TopicAccess, part=ReadPart)
    cdef bint ask_again(self, Place place, TopicTable table, int64_t version) except? True
    @cython.locals(call=Read)
    cdef object finish(self)
    @cython.locals(call=Read)
    cdef bint _is_complete(self) except? True
    @cython.locals(place=Place)
    cdef bint _is_fetching(self) except? True
    cdef object _check(self)
    @cython.locals(call=Read, part=ReadPart, place=Place)
    cdef bint _is_loading(self) except? True
    @cython.locals(access=TopicAccess, partition=Partition, place=Place)
    cdef Place _open(self, ReadPart part, TopicTable table, int64_t version)
    @cython.locals(log=Log, offset=int64_t)
    cdef bint _ask(self, Place place, ReadPart part) except? True
    @cython.locals(log=Log)
    cdef object _out_of_range(self, Place place, ReadPart part)
    @cython.locals(call=Read, log=Log, durable=uint64_t, end=uint64_t, room=int64_t, stored=StoredEntry, entry=Entry, data=bytes, size=int64_t)
    cdef object _gather(self, Place place, ReadPart part)
    @cython.locals(call=Read)
    cdef object _leave(self, Place place, ReadPart part)
    @cython.locals(entry=Entry)
    cdef bytes _stand_in(self, StoredEntry stored, ReadPart part, int codec)


@cython.final
cdef class Reads:
    cdef readonly Hub hub
    cdef readonly object authorizer
    cdef readonly dict cold
    cdef readonly object waiting
    cdef readonly Py_ssize_t stretch_size
    cdef readonly Py_ssize_t share_size
    cdef readonly uint64_t read_count
    cdef public uint64_t read_bytes
    cdef public uint64_t skipped_count

    @cython.locals(reading=Reading, place=Place, ended=list)
    cpdef object ask_again(self, TopicTable table)
    @cython.locals(reading=Reading, first=ReadPart, place=Place)
    cpdef object read(self, Read call, TopicTable table)
    @cython.locals(victim=Place, reading=Reading)
    cdef bint admit(self, Place place) except? True
    @cython.locals(size=Py_ssize_t)
    cdef int share(self) except -1
    @cython.locals(place=Place)
    cdef object go_on(self)
    @cython.locals(part=ReadPart, place=Place)
    cpdef object close_parts(self, CloseParts call)
    @cython.locals(most=Py_ssize_t, place=Place)
    cpdef object close_places(self, list places)
    @cython.locals(place=Place, places=list)
    cpdef object detach(self, TopicTable table)


@cython.locals(part=ReadPart, place=Place)
cdef object _note_aborted(Read call)
