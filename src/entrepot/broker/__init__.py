"""Meaning: who gets what. Namespaces, exchanges, queues, topics, subscriptions behind one port.

Deterministic and without I/O: time, chance and the store are handed in. Knows no wire format.
"""
