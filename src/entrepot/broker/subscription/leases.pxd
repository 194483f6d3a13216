"""C types for leases.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.ranges cimport RangeSet

cdef uint64_t _END
cdef uint64_t _PENDING

cdef uint64_t end_of(uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF


@cython.final
cdef class Subscription:
    # where it stands
    cdef readonly uint64_t floor
    cdef readonly uint64_t cursor
    cdef readonly uint64_t end
    cdef readonly uint64_t ready_count
    cdef readonly uint64_t leased_count
    cdef public uint64_t redelivered_below
    # what take() found
    cdef readonly uint64_t taken_first
    cdef readonly uint32_t taken_deliveries
    # for the caller to persist, and to clear
    cdef readonly list settled_ranges
    cdef public list count_deltas
    # sets of offsets
    cdef RangeSet settled
    cdef RangeSet returned
    cdef dict holders
    cdef RangeSet spare
    cdef RangeSet counted
    cdef dict counts

    cpdef object advance_end(self, uint64_t end)
    cpdef object restore_settled(self, uint64_t first, uint64_t end)
    cpdef object restore_count(self, uint64_t first, uint64_t count, uint32_t deliveries)
    cpdef object skip_to(self, uint64_t offset)
    cpdef uint64_t peek(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(found=uint64_t)
    cpdef uint64_t next_ready(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(stop=uint64_t)
    cpdef uint64_t ready_until(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(first=uint64_t, stop=uint64_t, other=uint64_t)
    cdef uint64_t next_range(self, uint64_t limit, uint64_t below) except? 0xFFFFFFFFFFFFFFFF
    cdef object leave(self, uint64_t first, uint64_t count)
    @cython.locals(count=uint64_t, holder=RangeSet)
    cpdef uint64_t take(self, uint64_t consumer_id, uint64_t limit, uint64_t below) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(count=uint64_t)
    cpdef uint64_t take_settled(self, uint64_t limit, uint64_t below) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(holder=RangeSet, position=uint64_t, stop=uint64_t, want=uint64_t)
    cpdef uint64_t take_range(self, uint64_t consumer_id, uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(settled_first=uint64_t, settled_end=uint64_t)
    cdef object take_out_settled(self, uint64_t first, uint64_t end)
    cdef RangeSet holder_of(self, uint64_t consumer_id)
    cdef object let_go(self, uint64_t consumer_id, RangeSet holder)
    @cython.locals(held=list, end=uint64_t, settled=uint64_t, range_first=uint64_t, range_end=uint64_t, holder=RangeSet)
    cpdef uint64_t settle(self, uint64_t consumer_id, uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    cdef object end_range(self, uint64_t first, uint64_t end)
    @cython.locals(held=list, end=uint64_t, released=uint64_t, range_first=uint64_t, range_end=uint64_t, holder=RangeSet)
    cpdef uint64_t release(self, uint64_t consumer_id, uint64_t first, uint64_t count, bint count_delivery=*) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(range_first=uint64_t, range_end=uint64_t, ranges=list)
    cpdef list release_all(self, uint64_t consumer_id, bint count_delivery=*)
    @cython.locals(moved=uint64_t, range_first=uint64_t, range_end=uint64_t, held=list, source=RangeSet, target=RangeSet)
    cpdef uint64_t move(self, uint64_t consumer_id, uint64_t to_id, uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(holder=RangeSet)
    cpdef uint64_t held_count(self, uint64_t consumer_id) except? 0xFFFFFFFFFFFFFFFF
    cpdef bint is_ready(self, uint64_t offset) except? True
    cpdef uint64_t next_unsettled(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(held=uint64_t, end=uint64_t, position=uint64_t, stop=uint64_t, taken=uint64_t)
    cpdef uint64_t hold(self, uint64_t consumer_id, uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    cpdef bint is_settled(self, uint64_t offset) except? True
    @cython.locals(holder=RangeSet)
    cpdef list leased_by(self, uint64_t consumer_id)
    @cython.locals(holder=RangeSet)
    cpdef bint is_leased_by(self, uint64_t consumer_id, uint64_t offset) except? True
    @cython.locals(source=RangeSet, held=list)
    cpdef list settle_in(self, uint64_t transaction_id, uint64_t consumer_id, uint64_t first, uint64_t count)
    cpdef object restore_pending(self, uint64_t transaction_id, uint64_t first, uint64_t end)
    cpdef uint64_t end_pending(self, uint64_t transaction_id, bint committed) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(end=uint64_t, dropped=uint64_t, position=uint64_t, stop=uint64_t, range_first=uint64_t, range_end=uint64_t)
    cpdef uint64_t drop(self, uint64_t first, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t purge(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(settled=uint64_t, held=list)
    cpdef uint64_t settle_to(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(deliveries=uint32_t, bucket=RangeSet)
    cdef uint32_t count_of(self, uint64_t offset) except? 0xFFFFFFFF
    @cython.locals(deliveries=uint32_t)
    cpdef uint32_t deliveries_of(self, uint64_t offset) except? 0xFFFFFFFF
    cpdef uint32_t counted_deliveries(self, uint64_t offset) except? 0xFFFFFFFF
    @cython.locals(deliveries=int64_t, bucket=RangeSet)
    cpdef list counted_over(self, int64_t limit)
    @cython.locals(stop=uint64_t, other=uint64_t, bucket=RangeSet)
    cpdef uint64_t same_count_until(self, uint64_t first, uint64_t end) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(stop=uint64_t, deliveries=uint32_t)
    cdef object count_delivery(self, uint64_t first, uint64_t end)
    @cython.locals(bucket=RangeSet)
    cdef object forget_counts(self, uint64_t first, uint64_t end)
    @cython.locals(bucket=RangeSet)
    cdef object set_count(self, uint64_t first, uint64_t end, uint32_t deliveries)
