"""Checked byte helpers: the only pointers of the code base. Each raises IndexError outside its buffer.

`_be` is big-endian (wire formats), `_le` little-endian (our own formats). Sources are bytes, or bytearray where named `_ba`.
octets.py holds the plain-Python twins for interpreted mode.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

# As cpython.bytes, cpython.bytearray and libc.string have them: those bring along what each of our modules would read anew.

cdef extern from "Python.h":
    char* PyByteArray_AS_STRING(object array)
    Py_ssize_t PyByteArray_GET_SIZE(object array)
    int PyByteArray_Resize(object array, Py_ssize_t size) except -1
    char* PyBytes_AS_STRING(object data)
    bytes PyBytes_FromStringAndSize(const char* data, Py_ssize_t size)
    Py_ssize_t PyBytes_GET_SIZE(object data)

cdef extern from "<string.h>" nogil:
    int memcmp(const void* a, const void* b, size_t size)
    void* memcpy(void* target, const void* source, size_t size)
    void* memmove(void* target, const void* source, size_t size)

cdef extern from *:
    uint16_t __builtin_bswap16(uint16_t) nogil
    uint32_t __builtin_bswap32(uint32_t) nogil
    uint64_t __builtin_bswap64(uint64_t) nogil


cdef inline int copy(bytearray target, Py_ssize_t target_pos, bytes source, Py_ssize_t source_pos, Py_ssize_t count) except -1:
    if count < 0 or target_pos < 0 or source_pos < 0 or count > PyByteArray_GET_SIZE(target) - target_pos or count > PyBytes_GET_SIZE(source) - source_pos:
        raise IndexError("copy outside a buffer")
    memcpy(PyByteArray_AS_STRING(target) + target_pos, PyBytes_AS_STRING(source) + source_pos, count)
    return 0


cdef inline int copy_ba(bytearray target, Py_ssize_t target_pos, bytearray source, Py_ssize_t source_pos, Py_ssize_t count) except -1:
    if count < 0 or target_pos < 0 or source_pos < 0 or count > PyByteArray_GET_SIZE(target) - target_pos or count > PyByteArray_GET_SIZE(source) - source_pos:
        raise IndexError("copy outside a buffer")
    memmove(PyByteArray_AS_STRING(target) + target_pos, PyByteArray_AS_STRING(source) + source_pos, count)
    return 0


cdef inline bint same_ba(bytearray data, Py_ssize_t a, Py_ssize_t b, Py_ssize_t count) except? True:
    """Whether data[a:a+count] equals data[b:b+count]."""
    if count < 0 or a < 0 or b < 0 or count > PyByteArray_GET_SIZE(data) - a or count > PyByteArray_GET_SIZE(data) - b:
        raise IndexError("compare outside a buffer")
    return memcmp(PyByteArray_AS_STRING(data) + a, PyByteArray_AS_STRING(data) + b, count) == 0


cdef inline bint same(bytes a, Py_ssize_t a_pos, bytes b, Py_ssize_t b_pos, Py_ssize_t count) except? True:
    """Whether a[a_pos:a_pos+count] equals b[b_pos:b_pos+count]."""
    if count < 0 or a_pos < 0 or b_pos < 0 or count > PyBytes_GET_SIZE(a) - a_pos or count > PyBytes_GET_SIZE(b) - b_pos:
        raise IndexError("compare outside a buffer")
    return memcmp(PyBytes_AS_STRING(a) + a_pos, PyBytes_AS_STRING(b) + b_pos, count) == 0


cdef inline bytes take(bytes source, Py_ssize_t pos, Py_ssize_t count):
    if count < 0 or pos < 0 or count > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("take outside a buffer")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(source) + pos, count)


cdef inline bytes take_ba(bytearray source, Py_ssize_t pos, Py_ssize_t count):
    if count < 0 or pos < 0 or count > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("take outside a buffer")
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(source) + pos, count)


cdef inline uint16_t get_u16_be(bytes source, Py_ssize_t pos) except? 0xFFFF:
    cdef uint16_t value
    if pos < 0 or 2 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 2)
    return __builtin_bswap16(value)


cdef inline uint32_t get_u32_be(bytes source, Py_ssize_t pos) except? 0xFFFFFFFF:
    cdef uint32_t value
    if pos < 0 or 4 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 4)
    return __builtin_bswap32(value)


cdef inline uint64_t get_u64_be(bytes source, Py_ssize_t pos) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value
    if pos < 0 or 8 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 8)
    return __builtin_bswap64(value)


cdef inline uint16_t get_u16_be_ba(bytearray source, Py_ssize_t pos) except? 0xFFFF:
    cdef uint16_t value
    if pos < 0 or 2 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 2)
    return __builtin_bswap16(value)


cdef inline uint32_t get_u32_be_ba(bytearray source, Py_ssize_t pos) except? 0xFFFFFFFF:
    cdef uint32_t value
    if pos < 0 or 4 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 4)
    return __builtin_bswap32(value)


cdef inline uint64_t get_u64_be_ba(bytearray source, Py_ssize_t pos) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value
    if pos < 0 or 8 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 8)
    return __builtin_bswap64(value)


cdef inline uint32_t get_u32_le_ba(bytearray source, Py_ssize_t pos) except? 0xFFFFFFFF:
    cdef uint32_t value
    if pos < 0 or 4 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 4)
    return value


cdef inline int resize_ba(bytearray target, Py_ssize_t size) except -1:
    """Grow or cut; what is new must be written before it is read."""
    if size < 0:
        raise IndexError("negative size")
    PyByteArray_Resize(target, size)
    return 0


cdef inline int put_u16_be(bytearray target, Py_ssize_t pos, uint16_t value) except -1:
    if pos < 0 or 2 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap16(value)
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 2)
    return 0


cdef inline int put_u32_be(bytearray target, Py_ssize_t pos, uint32_t value) except -1:
    if pos < 0 or 4 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap32(value)
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 4)
    return 0


cdef inline int put_u64_be(bytearray target, Py_ssize_t pos, uint64_t value) except -1:
    if pos < 0 or 8 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap64(value)
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 8)
    return 0


# Little-endian: plain copies on the machines we run on (octets.py refuses others at import).

cdef inline uint16_t get_u16_le(bytes source, Py_ssize_t pos) except? 0xFFFF:
    cdef uint16_t value
    if pos < 0 or 2 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 2)
    return value


cdef inline uint32_t get_u32_le(bytes source, Py_ssize_t pos) except? 0xFFFFFFFF:
    cdef uint32_t value
    if pos < 0 or 4 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 4)
    return value


cdef inline uint64_t get_u64_le(bytes source, Py_ssize_t pos) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value
    if pos < 0 or 8 > PyBytes_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyBytes_AS_STRING(source) + pos, 8)
    return value


cdef inline int put_u16_le(bytearray target, Py_ssize_t pos, uint16_t value) except -1:
    if pos < 0 or 2 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 2)
    return 0


cdef inline int put_u32_le(bytearray target, Py_ssize_t pos, uint32_t value) except -1:
    if pos < 0 or 4 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 4)
    return 0


cdef inline int put_u64_le(bytearray target, Py_ssize_t pos, uint64_t value) except -1:
    if pos < 0 or 8 > PyByteArray_GET_SIZE(target) - pos:
        raise IndexError("write outside a buffer")
    memcpy(PyByteArray_AS_STRING(target) + pos, &value, 8)
    return 0


cdef inline uint16_t get_u16_le_ba(bytearray source, Py_ssize_t pos) except? 0xFFFF:
    cdef uint16_t value
    if pos < 0 or 2 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 2)
    return value


cdef inline uint64_t get_u64_le_ba(bytearray source, Py_ssize_t pos) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value
    if pos < 0 or 8 > PyByteArray_GET_SIZE(source) - pos:
        raise IndexError("read outside a buffer")
    memcpy(&value, PyByteArray_AS_STRING(source) + pos, 8)
    return value


# Bytes changed where they lie: for their sole owner, before anybody else has seen them.

cdef inline bytes new_bytes(Py_ssize_t count):
    """What is in them must be written before it is read."""
    if count < 0:
        raise IndexError("negative size")
    return PyBytes_FromStringAndSize(NULL, count)


cdef inline bytes over_ba(bytes data, Py_ssize_t pos, bytearray source, Py_ssize_t source_pos, Py_ssize_t count):
    if count < 0 or pos < 0 or source_pos < 0 or count > PyBytes_GET_SIZE(data) - pos or count > PyByteArray_GET_SIZE(source) - source_pos:
        raise IndexError("copy outside a buffer")
    memcpy(PyBytes_AS_STRING(data) + pos, PyByteArray_AS_STRING(source) + source_pos, count)
    return data


cdef inline bytes over_u16_be(bytes data, Py_ssize_t pos, uint16_t value):
    if pos < 0 or 2 > PyBytes_GET_SIZE(data) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap16(value)
    memcpy(PyBytes_AS_STRING(data) + pos, &value, 2)
    return data


cdef inline bytes over_u32_be(bytes data, Py_ssize_t pos, uint32_t value):
    if pos < 0 or 4 > PyBytes_GET_SIZE(data) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap32(value)
    memcpy(PyBytes_AS_STRING(data) + pos, &value, 4)
    return data


cdef inline bytes over_u64_be(bytes data, Py_ssize_t pos, uint64_t value):
    if pos < 0 or 8 > PyBytes_GET_SIZE(data) - pos:
        raise IndexError("write outside a buffer")
    value = __builtin_bswap64(value)
    memcpy(PyBytes_AS_STRING(data) + pos, &value, 8)
    return data


# Bits of a word.

cdef extern from *:
    int __builtin_popcountll(unsigned long long) nogil
    int __builtin_ctzll(unsigned long long) nogil
    int __builtin_clzll(unsigned long long) nogil


cdef inline int ones_u64(uint64_t value) except -1:
    """How many bits are set."""
    return __builtin_popcountll(value)


cdef inline int lowest_one_u64(uint64_t value) except -1:
    """Position of the lowest set bit."""
    if value == 0:
        raise IndexError("no bit is set")
    return __builtin_ctzll(value)


cdef inline int highest_one_u64(uint64_t value) except -1:
    """Position of the highest set bit."""
    if value == 0:
        raise IndexError("no bit is set")
    return 63 - __builtin_clzll(value)
