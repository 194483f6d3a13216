"""C types for routing.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.broker.catalogue.matching cimport HeadersIndex, TopicTrie, add_carried, count_down, count_up

cdef Py_ssize_t _WALKED_PER_STEP
cdef int _DIRECT, _FANOUT, _TOPIC, _HEADERS
cdef str _REPLY_PREFIX
cdef object _ANY_HEADERS


@cython.final
cdef class Route:
    cdef readonly tuple targets
    cdef readonly bint needs_headers
    cdef readonly tuple named
    cdef readonly bint to_reply


@cython.locals(route=Route)
cpdef Route make_route(tuple targets, bint needs_headers, tuple named=*, bint to_reply=*)

cdef Route _REPLY


@cython.final
cdef class ExchangeRoutes:
    cdef readonly str name
    cdef readonly int kind
    cdef readonly str alternate
    cdef readonly TopicTrie trie
    cdef dict by_key
    cdef HeadersIndex by_headers
    cdef readonly dict subjects
    cdef readonly Py_ssize_t walked

    @cython.locals(destinations=dict)
    cpdef bint match(self, str routing_key, object headers, dict found, object carries=*) except? True


@cython.final
cdef class Router:
    cdef readonly str where
    cdef public str namespace
    cdef readonly uint64_t version
    cdef readonly dict exchanges
    cdef readonly dict internal
    cdef public ExchangeRoutes subject_exchange
    cdef public object may_carry
    cdef readonly dict replies
    cdef dict _queues
    cdef dict _topics
    cdef dict _cache
    cdef Py_ssize_t _walked

    @cython.locals(steps=Py_ssize_t)
    cpdef Py_ssize_t taken_steps(self)
    cpdef object changed(self)
    @cython.locals(key=tuple, route=Route)
    cpdef Route route(self, str exchange, str routing_key)
    cpdef Route route_subject(self, object topic)
    @cython.locals(targets=dict)
    cpdef tuple subject_targets(self, object topic, object headers)
    cpdef tuple subject_candidates(self, object topic)
    @cython.locals(targets=dict, needs_headers=bint, start=ExchangeRoutes)
    cdef Route _resolve(self, str exchange, str routing_key, object headers)
    cdef object _default(self, str routing_key, dict targets)
    @cython.locals(subjects=ExchangeRoutes, destinations=dict)
    cdef object _by_subject(self, str exchange, str routing_key, dict targets)
    @cython.locals(needs_headers=bint)
    cdef bint _send_on(self, dict targets, list topics, object headers) except? True
    @cython.locals(needs_headers=bint, visited=dict, waiting=list, found=dict, routes=ExchangeRoutes, alternate=ExchangeRoutes)
    cdef bint _expand(self, ExchangeRoutes start, str routing_key, object headers, dict targets, bint alternates, object carries) except? True
    cdef bint _has_subject(self, ExchangeRoutes routes, str routing_key) except? True
