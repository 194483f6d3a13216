"""C types for growing.py."""

import cython

from entrepot.store.interface cimport Group, Store


@cython.final
cdef class Growing:
    cdef Store _store
    cdef Group _group
    cdef list _holders

    @cython.locals(group=Group)
    cpdef object note(self, object holder)
