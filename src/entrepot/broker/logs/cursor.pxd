"""C types for cursor.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.entry_shelf cimport EntryShelf
from entrepot.broker.logs.hub cimport Hub
from entrepot.model.entry cimport Entry, StoredEntry
from entrepot.store.interface cimport Log, LogReader

cdef int _HERE
cdef int _LATER
cdef int _GAP
cdef int _CONTROL
cdef int _OVERHEAD


@cython.final
cdef class Cursor:
    cdef readonly Entry entry
    cdef readonly StoredEntry stored
    cdef readonly bytes form
    cdef readonly int tag
    cdef readonly uint64_t base
    cdef readonly uint64_t end
    cdef readonly uint64_t gap_end
    cdef readonly bint loading
    cdef Hub hub
    cdef Log log
    cdef LogReader reader
    cdef public EntryShelf shelf
    cdef object on_loaded
    cdef object fetched
    cdef Py_ssize_t at_hand
    cdef public bint used
    cdef uint64_t next_offset
    cdef Py_ssize_t next_position

    @cython.locals(stored=StoredEntry, entry=Entry, form=bytes, tag=int, size=Py_ssize_t)
    cpdef int locate(self, uint64_t offset) except -2
    cpdef bint is_ready(self, int tag) except? True
    cpdef object let_go(self)
    cpdef object rest(self)
    @cython.locals(data=bytes)
    cpdef bytes data(self)
    @cython.locals(codec=EntryCodec, data=bytes)
    cpdef Py_ssize_t position_of(self, uint64_t offset) except -1
    cpdef object passed(self, uint64_t next_offset, Py_ssize_t next_position)
