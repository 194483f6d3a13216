"""C types for produce_codec.py."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from entrepot.broker.calls.partition_calls cimport AppendPart, make_append_part
from entrepot.model.octets cimport new_bytes
from entrepot.protocols.kafka.primitives cimport Reader, Writer
from entrepot.protocols.kafka.record_batch cimport BatchHead, BatchValidator

cdef Py_ssize_t _PARTS_MAX, _TEXT_MAX
cdef int _TEXTS_MAX, _TRANSACTIONAL, _READ, _RESTING, _CHECKING, _PART_STEPS
cdef Py_ssize_t _STEP_BYTES, _REWRITTEN_AT_ONCE, _COPIED_AT_ONCE


@cython.final
cdef class ProduceTopic:
    cdef readonly str name
    cdef readonly list parts


@cython.final
cdef class ProduceRequest:
    cdef public object transactional_id
    cdef public int acks
    cdef public int64_t timeout_ms
    cdef public int64_t batch_bytes
    cdef public list topics
    cdef public list valid


@cython.final
cdef class ProduceReading:
    cdef readonly ProduceRequest request
    cdef public bytes large
    cdef public Py_ssize_t steps
    cdef Reader _reader
    cdef bint _flexible
    cdef BatchValidator _validator
    cdef object _attachment
    cdef int64_t _left_bytes
    cdef bint _begun
    cdef int64_t _topics_left
    cdef int64_t _parts_left
    cdef ProduceTopic _topic
    cdef int32_t _partition
    cdef bytes _copy
    cdef Py_ssize_t _copied

    cpdef int detach(self) except -1
    @cython.locals(reader=Reader, flexible=bint, validator=BatchValidator, request=ProduceRequest, steps=Py_ssize_t, data=bytes, unpacked=int64_t, unpacks_to=int64_t, size=int64_t, count=Py_ssize_t, left=int64_t, head=BatchHead)
    cpdef int read(self, Py_ssize_t steps_max) except -1
    cdef bint _is_rewritten(self, BatchHead head, Py_ssize_t size) except? True
    cdef int _stop(self, Py_ssize_t steps, int how) except -1
    cpdef int checked(self, object head, bytes batch, object error, int64_t unpacked_bytes) except -1
    @cython.locals(topic=ProduceTopic, part=AppendPart)
    cdef int _refused(self, object error) except -1
    @cython.locals(topic=ProduceTopic, part=AppendPart)
    cdef int _valid(self, BatchHead head, bytes batch) except -1


@cython.locals(errors=int, topic=ProduceTopic, part=AppendPart)
cpdef int encode_produce(Writer writer, int version, bint flexible, list topics) except -1
cdef int _encode_error(Writer writer, int version, bint flexible, AppendPart part, bint told) except -1
