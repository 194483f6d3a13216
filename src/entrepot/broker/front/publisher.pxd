"""C types for publisher.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.broker.calls.port cimport Publish
from entrepot.broker.catalogue.routing cimport Router
from entrepot.broker.front.replies cimport Replies
from entrepot.broker.owners cimport Lane, Owner
from entrepot.store.interface cimport Store

cdef int _DONE


@cython.final
cdef class Path:
    # fixed
    cdef readonly bytes address
    cdef readonly object route
    cdef readonly Router router
    cdef readonly uint64_t version
    cdef readonly str exchange
    cdef readonly bint plain
    cdef readonly bint by_record
    cdef readonly bint to_reply
    cdef readonly bint choosy
    cdef readonly bint whole
    cdef readonly list durable_logs
    cdef readonly list volatile_logs
    cdef public int codec
    cdef public bytes prefix
    cdef readonly Lane lane
    cdef readonly list lanes
    cdef readonly list spread
    cdef readonly Py_ssize_t log_count
    cdef public object sender
    # who has what it leads to
    cdef object _table
    cdef uint64_t _turn
    cdef dict _owners
    cdef dict _partitions
    cpdef Owner owner(self, object definition, Py_ssize_t partition=*)
    cpdef list owners_of_partitions(self, object topic)


@cython.final
cdef class Publisher:
    cdef readonly object parting
    cdef readonly object gathering
    cdef readonly object owners
    cdef readonly Store store
    cdef readonly Store volatile
    cdef readonly Replies replies
    cdef public uint64_t published_count
    cdef public uint64_t published_bytes

    @cython.locals(lane=Lane)
    cpdef bint publish(self, Path path, Publish call) except? True
