"""One package a protocol: codec, session, records, listener; protocol.py and endpoints.py say to all others what it needs. No protocol imports another.

A package is spoken by its line in entrepot.protocol_table.
"""
