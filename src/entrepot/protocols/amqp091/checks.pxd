"""C types for checks.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.octets cimport get_u32_be
from entrepot.protocols.amqp091.properties cimport find_header, property_at, short_string

cdef uint32_t _HEADERS
cdef uint32_t _EXPIRATION
cdef uint32_t _USER_ID
cdef uint32_t _DELIVERY_MODE
cdef uint64_t _EXPIRATION_MAX


@cython.locals(position=Py_ssize_t, properties_size=Py_ssize_t, body_size=Py_ssize_t, flags=uint32_t, scattered=bint, mode=int)
cpdef bint check_run(bytes data, Py_ssize_t count, bytes user) except? True
@cython.locals(value=uint64_t, size=Py_ssize_t, first=Py_ssize_t, index=Py_ssize_t)
cpdef uint64_t parse_expiration(bytes text) except? 0xFFFFFFFFFFFFFFFF
@cython.locals(table=Py_ssize_t, at=Py_ssize_t)
cdef bint names_further_keys(bytes data, Py_ssize_t properties) except? True
