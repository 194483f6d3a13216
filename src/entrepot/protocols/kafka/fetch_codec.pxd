"""C types for fetch_codec.py."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from entrepot.broker.calls.partition_calls cimport ReadPart, make_read_part
from entrepot.protocols.kafka.primitives cimport Reader, Writer

cdef Py_ssize_t _PARTS_MAX


@cython.final
cdef class FetchRequest:
    cdef public int64_t max_wait_ms
    cdef public int64_t min_bytes
    cdef public int64_t max_bytes
    cdef public bint committed
    cdef public int64_t session_id
    cdef public int64_t session_epoch


@cython.final
cdef class FetchTopic:
    cdef readonly object key
    cdef readonly dict by_partition
    cdef public list in_answer


@cython.final
cdef class FetchNote:
    cdef public int64_t seen
    cdef public bint told
    cdef public int64_t durable_end
    cdef public int64_t first_offset


@cython.final
cdef class FetchTable:
    cdef readonly dict topics
    cdef public list parts
    cdef readonly Py_ssize_t count
    cdef public bint by_id
    cdef public bint passes_over_epochs
    cdef public int64_t request
    cdef public Py_ssize_t seen_count
    cdef public bint changed

    @cython.locals(topic=FetchTopic, part=ReadPart, note=FetchNote)
    cpdef int name(self, object key, int32_t partition, int64_t offset, int64_t max_bytes, int32_t leader_epoch) except -1
    @cython.locals(topic=FetchTopic, part=ReadPart, note=FetchNote)
    cpdef ReadPart forget(self, object key, int32_t partition)
    @cython.locals(gone=list, topic=FetchTopic, part=ReadPart, note=FetchNote)
    cpdef list forget_unseen(self)
    @cython.locals(parts=list, topic=FetchTopic, part=ReadPart)
    cpdef list all_parts(self)


@cython.locals(request=FetchRequest)
cpdef FetchRequest decode_head(Reader reader, int version)


@cython.final
cdef class TopicsReading:
    cdef readonly list gone
    cdef Reader _reader
    cdef int _version
    cdef FetchTable _table
    cdef bint _begun
    cdef bint _forgets
    cdef object _key
    cdef int64_t _topics_left
    cdef int64_t _parts_left

    cpdef int detach(self) except -1
    @cython.locals(reader=Reader, version=int, table=FetchTable, flexible=bint, partition=int32_t, offset=int64_t, leader_epoch=int32_t, part=ReadPart)
    cpdef bint read(self, Py_ssize_t most) except? True


@cython.locals(flexible=bint)
cpdef int encode_error(Writer writer, int version, int code) except -1
@cython.locals(errors=int, topic=FetchTopic)
cpdef int encode_fetch(Writer writer, int version, FetchTable table, int64_t session_id, bint incremental) except -1
@cython.locals(topics=list, chosen=list, topic=FetchTopic, part=ReadPart)
cpdef list begin_answer(Writer writer, int version, FetchTable table, int64_t session_id, bint incremental)
@cython.locals(flexible=bint, errors=int, chosen=list, part=ReadPart)
cpdef int encode_parts(Writer writer, int version, FetchTopic topic, Py_ssize_t first, Py_ssize_t end) except -1
cpdef int end_answer(Writer writer, int version) except -1
@cython.locals(note=FetchNote)
cdef bint _has_news(ReadPart part) except? True
@cython.locals(note=FetchNote, failed=bint, size=int64_t, data=bytes)
cdef int _encode_part(Writer writer, int version, bint flexible, ReadPart part) except -1
