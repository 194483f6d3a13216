"""C types for schema.py."""

cimport cython
from libc.stdint cimport int64_t

from entrepot.protocols.kafka.primitives cimport Reader, Writer

cdef Py_ssize_t _PIECE, _STEP_BYTES
cdef int _BOOL, _I8, _I16, _I32, _I64, _U16, _F64, _STRING, _BYTES, _UUID, _STRUCT


@cython.final
cdef class Field:
    cdef readonly str name
    cdef readonly int kind
    cdef readonly bint array
    cdef readonly bint nullable
    cdef readonly int tag
    cdef readonly object default
    cdef readonly bint flexible
    cdef readonly Plan plan
    cdef readonly Py_ssize_t element_min_size

    @cython.locals(count=int64_t, values=list)
    cpdef object read(self, Reader reader)
    @cython.locals(kind=int, value=bytes)
    cpdef object read_one(self, Reader reader)
    cpdef int write(self, Writer writer, object value) except -1
    @cython.locals(kind=int)
    cpdef int write_one(self, Writer writer, object value) except -1


@cython.final
cdef class Plan:
    cdef readonly list fields
    cdef readonly list tagged
    cdef readonly bint flexible
    cdef readonly bint has_arrays
    cdef readonly Py_ssize_t min_size

    @cython.locals(values=dict, field=Field)
    cpdef dict read(self, Reader reader)
    @cython.locals(left=int64_t, tag=int64_t, size=int64_t, end=Py_ssize_t, field=Field)
    cdef int _read_tags(self, Reader reader, dict values) except -1
    @cython.locals(field=Field)
    cpdef int write(self, Writer writer, dict values) except -1
    @cython.locals(field=Field, given=list, inner=Writer, raw=bytes)
    cdef int _write_tags(self, Writer writer, dict values) except -1
