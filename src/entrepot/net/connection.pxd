cimport cython

cdef Py_ssize_t _TURN_BYTES_MAX


@cython.final
cdef class Tick:
    cdef public object call_soon
    cdef public list dirty
    cdef public list behind
    cdef public bint scheduled
    cdef public unsigned long long ticks
    cdef public unsigned long long bytes_received
    cdef public unsigned long long bytes_sent
    cdef public Py_ssize_t turn_bytes
    cdef public Py_ssize_t left_to_send
    cdef public object on_read

    @cython.locals(dirty=list, connection=ConnectionCore)
    cpdef object flush(self)
    cpdef object flush_once(self)


cdef class ConnectionCore:
    cdef public object session
    cdef public object output
    cdef public object transport
    cdef public object peer
    cdef public object listener
    cdef public object arrival
    cdef public Tick tick
    cdef public bint tls
    cdef public bint is_dirty
    cdef public bint writing_paused
    cdef public bint reading_paused
    cdef public bint is_closing
    cdef public bint unflushed
    cdef public bint at_end
    cdef public list rest
    cdef public Py_ssize_t rest_bytes
    cdef public double abort_at
    cdef public Py_ssize_t output_max_bytes

    cpdef object wake(self)
    cpdef object get_buffer(self, Py_ssize_t size_hint)
    @cython.locals(paused=bint)
    cpdef object buffer_updated(self, Py_ssize_t nbytes)
    @cython.locals(size=Py_ssize_t, pause=bint)
    cpdef object flush(self)
    @cython.locals(sent=Py_ssize_t, tick=Tick)
    cpdef object send(self)
    @cython.locals(size=Py_ssize_t, done=Py_ssize_t, tick=Tick, rest=list, parts=list)
    cpdef object send_some(self)
