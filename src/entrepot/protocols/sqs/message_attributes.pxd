"""C types for message_attributes.py."""

cimport cython

from entrepot.model.octets cimport get_u16_le, get_u32_le, take
from entrepot.protocols.sqs.characters cimport illegal_at
from entrepot.protocols.sqs.writing cimport Writer

cdef int _BINARY

@cython.locals(pos=Py_ssize_t, size=Py_ssize_t, found=list)
cpdef list unpack(bytes packed)
@cython.locals(name=bytes, kind=bytes, value=bytes, first=bint)
cpdef int write_json(Writer writer, list attributes) except -1
