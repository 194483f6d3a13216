"""C types for reply_to.py."""

import cython
from libc.stdint cimport uint32_t

from entrepot.model.octets cimport get_u32_be, take
from entrepot.protocols.amqp091.properties cimport property_at, short_string

cdef bytes _NAME
cdef uint32_t _REPLY_TO


@cython.locals(
    parts=list, copied=Py_ssize_t, position=Py_ssize_t, properties=Py_ssize_t, properties_size=Py_ssize_t, body_size=Py_ssize_t, value=Py_ssize_t)
cpdef bytes with_reply_queue(bytes data, Py_ssize_t count, bytes reply_queue)
