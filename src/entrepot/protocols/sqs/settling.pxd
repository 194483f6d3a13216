"""C types for settling.py."""

cimport cython

from entrepot.broker.calls.lease_calls cimport EndLeases, make_end_leases
from entrepot.protocols.sqs.batches cimport check_entries
from entrepot.protocols.sqs.exchange cimport Exchange
from entrepot.protocols.sqs.handles cimport Handle, read_handle
from entrepot.protocols.sqs.writing cimport Writer

cdef int _ENDED, _FOREIGN, _NOT_LEASED, _SUPERSEDED, _TOO_LONG
cdef object _ENCODER


@cython.final
cdef class Ending:
    cdef readonly bint deletes
    cdef readonly list ids
    cdef readonly list handles
    cdef readonly list texts
    cdef readonly list statuses
    cdef readonly list failed
    cdef public list asked
    cdef readonly list waiting

@cython.locals(handle=Handle)
cpdef object delete_message(Exchange exchange)
cpdef object deleted(Exchange exchange, EndLeases call)
@cython.locals(ending=Ending)
cpdef object delete_message_batch(Exchange exchange)
@cython.locals(handle=Handle, text=str)
cdef int _add(Ending ending, object entry, object visibility_ms) except -1
@cython.locals(offsets=list, leases=list, times=list, queue_id=bytes, index=Py_ssize_t, handle=Handle)
cdef object _next(Exchange exchange, Ending ending)
@cython.locals(ending=Ending, statuses=list, index=Py_ssize_t)
cpdef object batch_ended(Exchange exchange, EndLeases call)
@cython.locals(done=list, index=Py_ssize_t, status=int, writer=Writer, first=bint)
cdef object _answer(Exchange exchange, Ending ending)
