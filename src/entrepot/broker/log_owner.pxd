"""C types for log_owner.py."""

from entrepot.store.interface cimport Log


cdef class LogOwner:
    cdef public bint dirty

    cpdef object on_durable(self, Log log)
    cpdef object dispatch(self)
