"""C types for characters.py."""

cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport get_u64_le

cdef uint64_t _SPACES, _HIGH_BITS

@cython.locals(end=Py_ssize_t, pos=Py_ssize_t, stop=Py_ssize_t, octet=cython.uchar, word=uint64_t)
cpdef Py_ssize_t illegal_at(bytes text) except -2
cdef int _PLUS, _PERCENT
cdef bytes _DIGITS

@cython.locals(size=Py_ssize_t, filled=Py_ssize_t, pos=Py_ssize_t, octet=int, high=int, low=int, out=bytearray)
cpdef bytes percent_decoded(bytes text)
@cython.locals(character=cython.Py_UCS4)
cpdef bint is_identifier(str text) except? True
@cython.locals(character=cython.Py_UCS4)
cpdef bint is_batch_id(str text) except? True
