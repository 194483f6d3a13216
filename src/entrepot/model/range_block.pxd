"""C types for range_block.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport (
    copy_ba,
    get_u16_le_ba,
    get_u64_le_ba,
    highest_one_u64,
    lowest_one_u64,
    ones_u64,
    put_u16_le,
    put_u64_le,
    take_ba,
)

cdef uint64_t _ALL_ONES
cdef int _RUNS
cdef int _BITS
cdef int _FULL
cdef int _RUNS_MAX
cdef int _RUNS_AGAIN
cdef int _BITS_BYTES
cdef int _BLOCK
cdef int _FORMAT


@cython.final
cdef class Block:
    cdef uint64_t number
    cdef uint64_t span
    cdef int kind
    cdef int count
    cdef int runs
    cdef bytearray data

    cdef int first_of(self, int run) except -1
    cdef int last_of(self, int run) except -1
    cdef int put_run(self, int run, int first, int last) except -1
    @cython.locals(low=int, high=int, middle=int)
    cdef int search(self, int offset) except -1
    @cython.locals(need=Py_ssize_t)
    cdef int insert_run(self, int run, int first, int last) except -1
    cdef int delete_runs(self, int run, int stop) except -1
    @cython.locals(last=int, key=int, index=int, stop=int, new_first=int, new_last=int, covered=int, run_first=int, run_last=int, grown=int)
    cdef int add(self, int first, int end) except -1
    @cython.locals(last=int, index=int, stop=int, removed=int, run_first=int, run_last=int)
    cdef int remove(self, int first, int end) except -1
    @cython.locals(word=int, word_last=int, mask=uint64_t, old=uint64_t, new=uint64_t, changed=int)
    cdef int change_bits(self, int first, int last, bint present) except -1
    @cython.locals(word=int, bits=uint64_t)
    cdef int find_bit(self, int offset, bint present) except -1
    @cython.locals(word=int, bits=uint64_t)
    cdef int find_absent_bit_backwards(self, int offset) except -2
    @cython.locals(index=int)
    cdef bint contains(self, int offset) except? True
    @cython.locals(index=int, first=int)
    cdef int next_present(self, int offset) except -1
    @cython.locals(index=int)
    cdef int next_absent(self, int offset) except -1
    @cython.locals(index=int)
    cdef int absent_before(self, int offset) except -2
    @cython.locals(total=int, index=int, run_first=int, run_last=int, position=int, stop=int)
    cdef int count_in(self, int first, int end) except -1
    @cython.locals(bits=bytearray, index=int, run=int)
    cdef int to_bits(self) except -1
    @cython.locals(runs=bytearray, count=int, position=int, stop=int)
    cdef int to_runs(self) except -1
    @cython.locals(header=bytearray)
    cdef bytes encode(self)
    @cython.locals(body=bytearray, runs=int, run=int, previous=int, count=int, word=int, kind=int)
    cdef int decode(self, bytes value) except -1


@cython.locals(block=Block)
cpdef Block make_block(uint64_t number, uint64_t span, int kind)
