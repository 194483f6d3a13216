"""C types for hub.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.model.batch cimport field_at
from entrepot.model.entry cimport Entry, StoredEntry

cdef uint64_t _TURN_MAX
cdef int64_t _STRETCH_MAX, _STRETCH_MIN, _STRETCHES
cdef int64_t _STEP_RECORDS, _STEP_BYTES, _LOOKED_AT, _STEPS_MAX
cdef int _OPAQUE, _WHOLE, _VALUE
cdef Py_ssize_t _LARGE, _BATCH_HEADER


@cython.final
cdef class Hub:
    # handed in
    cdef readonly object scheduler
    cdef readonly object clock
    cdef public object publish_dead
    cdef public object outbox
    cdef public bint refusing
    # shared with Transactions
    cdef readonly dict transactions
    cdef readonly object translations
    cdef readonly object pieces
    cdef readonly object long_translations
    # shared by EntryShelves
    cdef public int64_t shelved_bytes
    cdef public int64_t shelved_max_bytes
    cdef readonly dict shelves
    # what Cursors have at hand
    cdef dict located
    cdef readonly int64_t located_bytes
    cdef public int64_t located_max_bytes
    # this tick
    cdef list dirty
    cdef bint scheduled
    cdef readonly bint held
    cdef int64_t now
    # fixed after registration
    cdef list codecs
    cdef readonly int64_t translation_steps  # in this tick
    cdef readonly int record_tag
    # figures
    cdef public uint64_t delivered_count
    cdef public uint64_t settled_count
    cdef public uint64_t dead_lettered_count
    cdef public uint64_t dead_letters_dropped_count
    cdef public uint64_t expired_count

    cpdef object mark_dirty(self, LogOwner owner)
    cpdef EntryCodec codec(self, int tag)
    @cython.locals(entry=Entry, data=bytes)
    cpdef bint is_long(self, StoredEntry stored, int tag, bytes address=*) except? True
    @cython.locals(entry=Entry, codec=EntryCodec, data=bytes, known=bytes, made=tuple)
    cpdef bytes translated(self, StoredEntry stored, int tag, bytes address=*)
    @cython.locals(source=EntryCodec, batch=bytes, cut=tuple)
    cpdef bytes translate(self, Entry entry, bytes data, int64_t base, EntryCodec codec, bytes address)
    cpdef object locating(self, object cursor, Py_ssize_t size, Py_ssize_t before)
    cpdef object closed(self, object cursor, Py_ssize_t size)
    @cython.locals(size=int64_t)
    cpdef int64_t stretch_size(self) except -1
    cpdef object make_room(self)
    @cython.locals(located=dict)
    cpdef object let_go(self)
    cpdef bint is_spent(self) except? True
    cpdef int64_t now_ms(self) except? -1
    @cython.locals(dirty=list, stop=uint64_t, index=Py_ssize_t, owner=LogOwner)
    cpdef object run(self)
