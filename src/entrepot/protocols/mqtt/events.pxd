cimport cython

@cython.final
cdef class PublishRun:
    cdef public bytes topic, data, packet_ids
    cdef public int qos
    cdef public bint retain, expires
    cdef public Py_ssize_t count, body_bytes

@cython.final
cdef class AckRun:
    cdef public int kind, reason_code, first
    cdef public bytes packet_ids
    cdef public Py_ssize_t count
    cdef public bint ascending

@cython.final
cdef class Pings:
    cdef public Py_ssize_t count
