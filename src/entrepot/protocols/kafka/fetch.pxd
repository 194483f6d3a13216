"""C types for fetch.py."""

cimport cython
from libc.stdint cimport int64_t

from entrepot.broker.calls.partition_calls cimport CloseParts, Read, ReadPart, make_close_parts, make_read
from entrepot.protocols.kafka.exchange cimport Exchange
from entrepot.protocols.kafka.fetch_codec cimport FetchRequest, FetchTable, TopicsReading, begin_answer, decode_head, encode_error, encode_fetch, encode_parts, end_answer
from entrepot.protocols.kafka.primitives cimport Reader, Writer

cdef int _CODEC, _DONE
cdef Py_ssize_t _PIECE, _FEW


@cython.locals(version=int, request=FetchRequest, full=bint, code=int, writer=Writer, table=FetchTable, reading=TopicsReading)
cpdef object fetch(Exchange exchange, Reader reader)
@cython.locals(parts=list, max_bytes=int64_t)
cdef object _ask(Exchange exchange, FetchRequest request)
@cython.locals(call=Read, part=ReadPart)
cpdef object have_read(Exchange exchange, list calls)
@cython.locals(writer=Writer, table=FetchTable)
cdef object _answer(Exchange exchange)
