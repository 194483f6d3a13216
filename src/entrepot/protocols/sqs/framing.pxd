"""C types for framing.py."""

cimport cython

cdef Py_ssize_t _HEAD_MAX, _HEADERS_MAX, _FREE_MAX, _OVERHEAD_MAX, _STRANGER_FREE, _PIECE
cdef int _X


@cython.final
cdef class Request:
    cdef public bytes method
    cdef public bytes target
    cdef public list headers
    cdef public bytes body
    cdef public bint keep_alive
    cdef public bint from_page
    cdef public bint from_browser
    cdef public Py_ssize_t held_bytes
    cdef public bytes host
    cdef public bytes operation
    cdef public bytes content_type
    cdef public bytes authorization
    cdef public bytes origin
    cdef public bytes trace
    cdef public bint wants_json

    @cython.locals(headers=list, index=Py_ssize_t)
    cpdef bytes header(self, bytes name)


@cython.final
cdef class Framing:
    cdef readonly object requests
    cdef public object failure
    cdef readonly bytes failed_origin
    cdef readonly bytes first
    cdef readonly bint ended
    cdef public bint continues
    cdef readonly bint is_partial
    cdef readonly unsigned long long begun_count
    cdef readonly Py_ssize_t waiting_bytes
    cdef bint _holds
    cdef Py_ssize_t _body_max
    cdef public object share
    cdef Py_ssize_t _free
    cdef object _parser
    cdef Request _request
    cdef bint _in_head
    cdef Py_ssize_t _overhead
    cdef unsigned long long _seen_bytes
    cdef list _parts
    cdef Py_ssize_t _body_bytes

    cpdef int count_in(self, object share, Py_ssize_t free) except -1
    @cython.locals(seen=cython.ulonglong, begun=cython.ulonglong)
    cpdef int feed(self, bytes data) except -1
    cpdef int close(self) except -1
    cdef int _note_origin(self) except -1
    cdef int _release(self) except -1
    cpdef object on_message_begin(self)
    @cython.locals(request=Request)
    cpdef object on_url(self, bytes url)
    @cython.locals(request=Request, headers=list, size=Py_ssize_t)
    cpdef object on_header(self, bytes name, bytes value)
    cpdef object on_headers_complete(self)
    @cython.locals(size=Py_ssize_t)
    cpdef object on_body(self, bytes data)
    cpdef bint overrun(self) except? True
    @cython.locals(request=Request, parts=list)
    cpdef object on_message_complete(self)
    @cython.locals(request=Request)
    cpdef Py_ssize_t next_bytes(self)
    @cython.locals(request=Request)
    cpdef Request next(self)
    @cython.locals(held=Py_ssize_t, head=Py_ssize_t)
    cdef Py_ssize_t _held_bytes(self) except? -1
    @cython.locals(held=Py_ssize_t)
    cdef int _hold(self) except -1
    cdef object _fail(self, int status, str reason)
