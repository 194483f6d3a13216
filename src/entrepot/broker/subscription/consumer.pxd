"""C types for consumer.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Attachment


@cython.final
cdef class Pool:
    cdef public int stream
    cdef public uint64_t limit
    cdef public uint64_t leased
    cdef public uint64_t credit
    cdef public bint lent
    cdef public object owner
    cdef readonly list consumers


@cython.final
cdef class Consumer:
    # fixed
    cdef readonly uint64_t id
    cdef readonly Attachment attachment
    cdef readonly int codec
    cdef readonly object token
    cdef readonly int stream
    cdef public object owner
    cdef public object source
    cdef public object reads
    cdef readonly Pool pool
    cdef readonly uint64_t limit
    cdef readonly bint auto_settle
    cdef readonly bint exclusive
    cdef readonly int priority
    # changing
    cdef public uint64_t leased
    cdef public bint active
    cdef public int burying
    cdef public bint lent
    cdef public bint asked
    cdef public uint64_t credit
    cdef public bint counts

    cpdef uint64_t room(self, uint64_t slice_max) except? 0xFFFFFFFFFFFFFFFF
    cpdef object gave(self, uint64_t count)
    cpdef object freed(self, uint64_t count)
    cpdef object borrowed(self, uint64_t count)
    cpdef object returned(self, uint64_t count)


@cython.locals(consumer=Consumer)
cpdef Consumer make_consumer(uint64_t id_, Attachment attachment, object token, object reads, Pool pool, uint64_t limit, bint auto_settle, bint exclusive, int priority)
