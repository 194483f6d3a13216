"""C types for produce.py."""

cimport cython

from entrepot.broker.partition_calls cimport Append, AppendPart, make_append
from entrepot.protocols.kafka.exchange cimport Exchange
from entrepot.protocols.kafka.primitives cimport Reader, Writer
from entrepot.protocols.kafka.produce_codec cimport ProduceRequest, ProduceTopic, decode_produce, encode_produce

cdef int _CODEC, _CODEC_VERSION, _DONE


@cython.locals(request=ProduceRequest, call=Append)
cpdef object produce(Exchange exchange, Reader reader)
@cython.locals(call=Append, part=AppendPart)
cpdef object appended(Exchange exchange, list calls)
@cython.locals(topic=ProduceTopic, part=AppendPart)
cdef object _refuse_all(ProduceRequest request, object error)
@cython.locals(request=ProduceRequest, topic=ProduceTopic, part=AppendPart, writer=Writer)
cdef object _answer(Exchange exchange)
