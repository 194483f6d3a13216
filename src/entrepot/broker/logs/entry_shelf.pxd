"""C types for entry_shelf.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.model.entry cimport StoredEntry

cdef int _SWEPT, _SHARES
cdef Py_ssize_t _OVERHEAD


@cython.final
cdef class EntryShelf:
    cdef Hub hub
    cdef readonly list bases
    cdef readonly dict entries
    cdef readonly int64_t size
    cdef Py_ssize_t swept

    cpdef bint is_full(self) except? True
    cpdef bint is_half_full(self) except? True
    @cython.locals(shelves=dict)
    cpdef object used(self)
    @cython.locals(base=uint64_t, size=Py_ssize_t, oldest=EntryShelf)
    cpdef bint put(self, StoredEntry stored) except? True
    @cython.locals(index=Py_ssize_t, stored=StoredEntry)
    cpdef StoredEntry find(self, uint64_t offset)
    @cython.locals(left=int, bases=list, base=uint64_t, stored=StoredEntry)
    cpdef object sweep(self, Subscription subscription)
    @cython.locals(size=Py_ssize_t)
    cdef object drop(self, StoredEntry stored)
    cpdef object clear(self)
