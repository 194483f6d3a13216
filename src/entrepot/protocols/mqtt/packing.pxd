cimport cython
from libc.stdint cimport int64_t

from entrepot.model.octets cimport get_u32_be, take

cdef int _QOS, _EXPIRES, _KEPT

cpdef Py_ssize_t skip(bytes data, Py_ssize_t pos, Py_ssize_t count) except -1
cpdef int flags_of(bytes data, Py_ssize_t pos) except -1
cpdef int64_t expiry_of(bytes data, Py_ssize_t pos) except? -2
@cython.locals(at=Py_ssize_t)
cpdef bytes properties_of(bytes data, Py_ssize_t pos)
cpdef bytes payload_of(bytes data, Py_ssize_t pos)
cpdef int qos_of(bytes data, Py_ssize_t pos, int qos_max) except -1
@cython.locals(qos=int, kept=int, found=Py_ssize_t)
cpdef Py_ssize_t alike_count(bytes data, Py_ssize_t pos, Py_ssize_t count, int qos_max) except -1
