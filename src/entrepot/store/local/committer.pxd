"""C types for committer.py, and its thread's loop: the one place where buffers are handed to the kernel without the GIL.

The parts stay alive in `_keep` from submit() to result(); the vector is malloc'd, grown as needed, and freed with the committer.
"""

import cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EINTR, EIO, errno
from libc.stdlib cimport free, realloc
from posix.fcntl cimport fcntl
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.types cimport off_t
from posix.unistd cimport read as c_read
from posix.unistd cimport write as c_write

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    Py_ssize_t pwritev(int fd, const iovec* parts, int count, off_t position)

cdef extern from *:
    """
    #include <unistd.h>
    #if defined(__APPLE__)
    static int entrepot_data_sync(int fd) { return fsync(fd); }
    #else
    static int entrepot_data_sync(int fd) { return fdatasync(fd); }
    #endif
    """
    int entrepot_data_sync(int fd) nogil

cdef int _IOV_MAX


cdef struct Job:
    int fd
    off_t position
    iovec* parts
    Py_ssize_t count
    bint sync
    int full_sync
    int error
    double seconds


cdef inline int write_all(Job* job) noexcept nogil:
    """Write every part; errno, or 0."""
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t some
    cdef Py_ssize_t written
    cdef off_t position = job.position
    while first < job.count:
        some = job.count - first
        if some > 1024:
            some = 1024
        written = pwritev(job.fd, job.parts + first, <int>some, position)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        if written == 0 and job.parts[first].iov_len > 0:
            return EIO
        position += written
        while first < job.count and <size_t>written >= job.parts[first].iov_len:
            written -= <Py_ssize_t>job.parts[first].iov_len
            first += 1
        if written > 0:
            job.parts[first].iov_base = <char*>job.parts[first].iov_base + written
            job.parts[first].iov_len -= <size_t>written
    return 0


cdef inline int do_job(Job* job) noexcept nogil:
    """Write and sync; the result is in the job."""
    cdef timespec started
    cdef timespec ended
    clock_gettime(CLOCK_MONOTONIC, &started)
    job.error = write_all(job)
    if job.error == 0 and job.sync:
        if job.full_sync:
            if fcntl(job.fd, job.full_sync) == -1:
                job.error = errno
        elif entrepot_data_sync(job.fd) != 0:
            job.error = errno
    clock_gettime(CLOCK_MONOTONIC, &ended)
    job.seconds = <double>(ended.tv_sec - started.tv_sec) + <double>(ended.tv_nsec - started.tv_nsec) / 1e9
    return 0


cdef inline int serve_jobs(Job* job, bint* stop, int job_read, int wake_write) noexcept nogil:
    """Until told to stop."""
    cdef char signal
    while True:
        if c_read(job_read, &signal, 1) != 1:
            if errno == EINTR:
                continue
            return -1
        if stop[0]:
            return 0
        do_job(job)
        signal = c'w'
        while c_write(wake_write, &signal, 1) != 1:
            if errno != EINTR:
                return -1


@cython.final
cdef class Committer:
    cdef readonly int wake_read
    cdef int _wake_write
    cdef int _job_read
    cdef int _job_write
    cdef list _keep
    cdef bint _busy
    cdef bint _stop
    cdef object _thread
    cdef Job _job
    cdef Py_ssize_t _room

    @cython.locals(index=Py_ssize_t, part=bytes)
    cdef int load(self, list parts) except -1
    cpdef object run(self)
