"""C types for batches.py."""

cimport cython

from entrepot.protocols.sqs.characters cimport is_batch_id

@cython.locals(seen=set, entry_id=str)
cpdef int check_entries(list entries, str kind) except -1
