"""What all layers share: entries, the packed RecordBatch, names, principals, errors, checked byte helpers.

Imports nothing of ours. Nothing here does I/O, and nothing here knows a protocol.
"""
