"""C types for fetch.py."""

cimport cython
from libc.stdint cimport int64_t

from entrepot.broker.partition_calls cimport CloseParts, Read, ReadPart, make_close_parts, make_read
from entrepot.protocols.kafka.exchange cimport Exchange
from entrepot.protocols.kafka.fetch_codec cimport FetchRequest, FetchTable, decode_head, decode_topics, encode_error, encode_fetch
from entrepot.protocols.kafka.primitives cimport Reader, Writer

cdef int _CODEC, _DONE


@cython.locals(version=int, request=FetchRequest, full=bint, code=int, writer=Writer, table=FetchTable, gone=list, parts=list, max_bytes=int64_t)
cpdef object fetch(Exchange exchange, Reader reader)
@cython.locals(call=Read, part=ReadPart)
cpdef object have_read(Exchange exchange, list calls)
@cython.locals(writer=Writer)
cdef object _answer(Exchange exchange)
