cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport get_u32_le

cdef uint64_t _SEED, _FACTOR, _MASK

@cython.locals(size=Py_ssize_t, hashed=uint64_t, at=Py_ssize_t, word=uint64_t, rest=uint64_t, shift=int)
cpdef uint64_t key_hash(bytes key) except? 0xFFFFFFFFFFFFFFFF
