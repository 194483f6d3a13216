cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.model.octets cimport get_u32_le

cdef int64_t _BLOCKS_MAX, _HEADER
cdef uint32_t _MAGIC, _VERSION_BITS, _VERSION, _INDEPENDENT, _BLOCK_CHECKSUM, _SIZE, _CHECKSUM

@cython.locals(size=int64_t, flags=uint32_t, pos=int64_t, after=int64_t, blocks=int64_t, block=int64_t)
cpdef int check_lz4(bytes packed) except -1
