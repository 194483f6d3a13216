"""C types for produce_codec.py."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from entrepot.broker.partition_calls cimport AppendPart, make_append_part
from entrepot.protocols.kafka.primitives cimport Reader, Writer
from entrepot.protocols.kafka.record_batch cimport BatchHead, BatchValidator

cdef Py_ssize_t _PARTS_MAX, _TEXT_MAX
cdef int _TEXTS_MAX, _TRANSACTIONAL


@cython.final
cdef class ProduceTopic:
    cdef readonly str name
    cdef readonly list parts


@cython.final
cdef class ProduceRequest:
    cdef public object transactional_id
    cdef public int acks
    cdef public int64_t timeout_ms
    cdef public list topics
    cdef public list valid


@cython.locals(request=ProduceRequest, topics_left=int64_t, parts_left=int64_t, topic=ProduceTopic, partition=int32_t, data=bytes, part=AppendPart)
cpdef ProduceRequest decode_produce(Reader reader, bint flexible, object validator)
@cython.locals(part=AppendPart, head=BatchHead)
cdef AppendPart _part(str topic, int32_t partition, bytes data, BatchValidator validator)
@cython.locals(errors=int, topic=ProduceTopic, part=AppendPart)
cpdef int encode_produce(Writer writer, int version, bint flexible, list topics) except -1
cdef int _encode_error(Writer writer, int version, bint flexible, AppendPart part, bint told) except -1
