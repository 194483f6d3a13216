"""C types for produce.py."""

cimport cython

from entrepot.broker.calls.partition_calls cimport Append, AppendPart, make_append
from entrepot.protocols.kafka.exchange cimport Exchange
from entrepot.protocols.kafka.primitives cimport Reader, Writer
from entrepot.protocols.kafka.produce_codec cimport ProduceReading, ProduceRequest, ProduceTopic, encode_produce

from entrepot.net.turns cimport Turns

cdef int _CODEC, _CODEC_VERSION, _DONE, _READ, _CHECKING, _REQUEST_STEPS
cdef Py_ssize_t _APPEND_PARTS, _STEP_BYTES, _REWRITTEN_AT_ONCE


@cython.locals(reading=ProduceReading, how=int)
cpdef object produce(Exchange exchange, Reader reader)
@cython.locals(topic=ProduceTopic)
cdef bint _rewrites_much(Exchange exchange, ProduceRequest request) except? True
@cython.locals(turns=Turns)
cdef int _read(Exchange exchange, ProduceReading reading) except -1
@cython.locals(call=Append)
cdef object _begin(Exchange exchange, ProduceRequest request)
cdef bint _refuse(Exchange exchange, ProduceRequest request) except? True
@cython.locals(call=Append, part=AppendPart)
cpdef object appended(Exchange exchange, list calls)
@cython.locals(topic=ProduceTopic, part=AppendPart)
cdef object _refuse_all(ProduceRequest request, object error)
@cython.locals(request=ProduceRequest, topic=ProduceTopic, part=AppendPart, writer=Writer)
cdef object _answer(Exchange exchange)
