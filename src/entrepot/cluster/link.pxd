"""C types for link.py."""

cimport cython

from entrepot.cluster.link_frames cimport LinkDecoder, ack_frame, data_head

cdef Py_ssize_t _FRAME_MAX, _WINDOW, _FRAME, _TOLD, _JOINED


cdef class Link:
    cdef public str name
    cdef public bytes peer
    cdef public object wake
    cdef public Py_ssize_t received, acknowledged, held_bytes, held_max
    cdef public object _begun, _ahead, _rest
    cdef public Py_ssize_t _given, _given_most, _told, _untold_bytes

    @cython.locals(size=Py_ssize_t, head=bytes)
    cpdef object put(self, tuple parts)
    cpdef object came(self, Py_ssize_t count, Py_ssize_t size)
    cdef bint has_more(self) except? True
    @cython.locals(out=list, left=Py_ssize_t, size=Py_ssize_t, head=bytes, parts=tuple, frame=tuple)
    cpdef list take(self)
    cdef Py_ssize_t _take_rest(self, list out, Py_ssize_t left) except? -1
    cpdef object heard(self, Py_ssize_t received)
    @cython.locals(left=Py_ssize_t, size=Py_ssize_t)
    cpdef object _acknowledge(self, object kept, Py_ssize_t received)


@cython.final
cdef class LinkOutput:
    cdef public list first
    cdef public Link link

    @cython.locals(link=Link, parts=list)
    cpdef list take(self)


cdef class LinkCore:
    cdef public LinkOutput output
    cdef public LinkDecoder _decoder
    cdef public object _ends, _clock, _wake, _later
    cdef public double _heard_s
    cdef public bint _is_to_tell

    @cython.locals(decoder=LinkDecoder, found=list)
    cdef object _read_frames(self, Link link, Py_ssize_t size)
