"""C types for log_owner.py."""

from libc.stdint cimport uint64_t

from entrepot.store.interface cimport Log


cdef class LogOwner:
    cdef public bint dirty

    cpdef object on_durable(self, Log log)
    cpdef object dispatch(self)
    cpdef object follow(self, Log log, object transactions)
    cpdef object end_pending(self, uint64_t transaction_id, bint committed)
