"""C types for hot_frames.py."""

cimport cython

from entrepot.model.octets cimport get_u16_le, get_u32_le, get_u64_le, take

cdef Py_ssize_t _STAGE_SIZE, _SETTLE_SIZE, _NUMBER_SIZE, _DELIVERED_SIZE
cdef object _pack_stage, _pack_settle, _pack_number, _pack_delivered, _pack_run, _pack_lend, _pack_reply
cdef object _KIND_STAGE, _KIND_SETTLE, _KIND_DELIVERED, _KIND_ANSWERED
cdef long long _REDELIVERED, _COUNTED, _SETTLED, _FROM_TOPIC, _POSITION
cdef unsigned long long _TIME


cpdef read_stage(bytes frame)
@cython.locals(heard=cython.uint, count=cython.uint)
cdef tuple _staged(bytes frame)
@cython.locals(disposition=cython.uint, count=cython.uint)
cpdef read_settle(bytes frame)
cpdef read_number(bytes frame)
@cython.locals(size=Py_ssize_t, failed=cython.uint, count=cython.uint)
cpdef read_answered(bytes frame)
@cython.locals(size=Py_ssize_t, flags=cython.longlong, count=cython.longlong, position=cython.longlong)
cpdef read_delivered(bytes frame)
