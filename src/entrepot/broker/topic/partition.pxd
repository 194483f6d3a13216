"""C types for partition.py."""

import cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from entrepot.broker.catalogue.routing cimport Router
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.store.interface cimport Log

cdef Py_ssize_t _TOPICS_MAX
cdef LogOwner _GONE


@cython.final
cdef class TopicRules:
    cdef readonly str name
    cdef public bint closed
    cdef public bint append_time
    cdef public int compression
    cdef public int64_t max_message_bytes
    cdef public int64_t before_max_ms
    cdef public int64_t after_max_ms
    cdef public Router router
    cdef public object onward
    cdef public uint64_t onward_version


cdef class Watcher:
    cdef public Py_ssize_t slot

    cpdef object wake(self)


cdef class Partition(LogOwner):
    # fixed
    cdef readonly LogOwner topic
    cdef readonly TopicRules rules
    cdef readonly int32_t number
    cdef readonly Log log
    cdef readonly list logs
    # what may change
    cdef readonly object transactions
    cdef public object retention
    cdef public object hop
    cdef public bint sized
    cdef list watchers
    cdef readonly object gone

    @cython.locals(watcher=Watcher)
    cpdef object on_durable(self, Log log)
    cpdef object dispatch(self)
    cpdef object follow(self, Log log, object transactions)
    cpdef object end_pending(self, uint64_t transaction_id, bint committed)
    cpdef object watch(self, Watcher watcher)
    @cython.locals(last=Watcher)
    cpdef object unwatch(self, Watcher watcher)
    @cython.locals(watcher=Watcher)
    cpdef object close(self, object gone)


@cython.final
cdef class TopicAccess:
    cdef public TopicRules rules
    cdef public list partitions
    cdef public object version
    cdef public object no_read
    cdef public object no_write


@cython.final
cdef class TopicTable:
    cdef readonly object catalogue
    cdef readonly object check
    cdef readonly object authorizer
    cdef readonly str namespace
    cdef public object principal
    cdef readonly dict by_name
    cdef readonly set watchers

    @cython.locals(found=TopicAccess)
    cpdef TopicAccess access(self, str name, object version)
    cpdef TopicAccess by_id(self, bytes topic_id, object version)
    cpdef Partition partition(self, TopicAccess access, int32_t number)
    @cython.locals(access=TopicAccess)
    cdef TopicAccess _resolve(self, str name, object version)
    cdef object _why_not(self, object action, str name)
