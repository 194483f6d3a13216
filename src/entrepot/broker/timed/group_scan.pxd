"""C types for group_scan.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.logs.cursor cimport Cursor
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.entry_shelf cimport EntryShelf
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.group_window cimport GroupWindow
from entrepot.model.entry cimport Entry

cdef uint64_t _END
cdef int _HERE
cdef int _LATER
cdef int _GAP
cdef int _SPECIAL
cdef int _HAS_GROUPS
cdef int64_t _LOOKAHEAD
cdef int64_t _FILL_MAX


@cython.final
cdef class GroupScan:
    cdef Queue queue
    cdef Subscription sub
    cdef bint ordered
    cdef readonly GroupWindow window
    cdef Cursor cursor
    cdef readonly uint64_t position
    cdef public int64_t lookahead
    cdef readonly bint limited
    cdef readonly EntryShelf shelf

    @cython.locals(sub=Subscription, window=GroupWindow, cursor=Cursor, left=int64_t, room=int64_t, offset=uint64_t, found=int)
    cpdef object fill(self, bint further=*)
    @cython.locals(offset=uint64_t)
    cpdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF
    cdef object pass_over(self, uint64_t first, uint64_t end)
    @cython.locals(sub=Subscription, window=GroupWindow, cursor=Cursor, end=uint64_t, codec=EntryCodec, data=bytes, ask=bint, position=Py_ssize_t, ready_end=uint64_t, first=uint64_t, name=bytes)
    cdef int64_t read(self, uint64_t offset, int64_t limit) except -1
    @cython.locals(offset=uint64_t)
    cpdef object returned(self, uint64_t first, uint64_t count)
    cpdef object settled(self, uint64_t first, uint64_t end)
    @cython.locals(cursor=Cursor, name=bytes)
    cdef object adopt(self, uint64_t offset)
