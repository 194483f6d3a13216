"""C types for matching.py."""

import cython
from libc.stdint cimport uint64_t


@cython.final
cdef class TrieNode:
    cdef TrieNode parent
    cdef str word
    cdef bint is_hash
    cdef dict words
    cdef dict destinations
    cdef uint64_t seen


@cython.locals(node=TrieNode)
cdef TrieNode _make_node(TrieNode parent, str word)

cpdef list words_of(str key)


@cython.final
cdef class TopicTrie:
    cdef TrieNode root
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t walked
    cdef uint64_t _step

    @cython.locals(node=TrieNode, child=TrieNode)
    cpdef object add(self, str pattern, object destination, tuple makers=*)
    @cython.locals(node=TrieNode, parent=TrieNode)
    cpdef object remove(self, str pattern, object destination, tuple makers=*)
    @cython.locals(alive=list, following=list, node=TrieNode, child=TrieNode, word=str)
    cpdef object match(self, str key, dict found, object carries=*)
    @cython.locals(current=TrieNode)
    cdef object _enter(self, list alive, TrieNode node)


@cython.final
cdef class HeadersPattern:
    cdef readonly dict destinations
    cdef readonly list keys
    cdef readonly bint match_all
    cdef readonly list wanted

    @cython.locals(same=bint)
    cpdef bint matches(self, object headers) except? True


@cython.locals(pattern=HeadersPattern)
cpdef HeadersPattern make_headers_pattern(object arguments)
cdef tuple _key_of(str name, object value)
cdef Py_ssize_t _elements_left(object value, Py_ssize_t most) except? -1
cdef object _hashable(object value)
cdef object _discard(dict table, object key, HeadersPattern pattern)


@cython.final
cdef class HeadersIndex:
    cdef readonly Py_ssize_t walked
    cdef dict _patterns
    cdef dict _by_identity
    cdef dict _by_key
    cdef dict _always
    cdef dict _names

    cpdef Py_ssize_t count(self)
    @cython.locals(pattern=HeadersPattern)
    cpdef object add(self, object identity, object arguments, object destination, tuple makers)
    @cython.locals(pattern=HeadersPattern)
    cpdef object remove(self, object identity, object destination, tuple makers)
    @cython.locals(nested=bint, seen=dict)
    cpdef object match(self, object headers, dict found, object carries)
    @cython.locals(pattern=HeadersPattern)
    cpdef object match_any(self, dict found, object carries)
    @cython.locals(pattern=HeadersPattern, patterns=dict)
    cdef object _look(self, tuple key, object headers, dict seen, dict found, object carries)
    cdef object _count_names(self, HeadersPattern pattern, Py_ssize_t by)
    @cython.locals(same=HeadersPattern, keys=list)
    cdef HeadersPattern _same(self, HeadersPattern pattern)


cpdef object count_up(dict destinations, object destination, tuple makers)
@cython.locals(left=list)
cpdef object count_down(dict destinations, object destination, tuple makers)
cpdef object add_carried(dict destinations, dict found, object carries)
