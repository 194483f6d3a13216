"""Meaning: who gets what. Namespaces, exchanges, queues, topics, subscriptions behind one port.

Deterministic and without I/O: time, chance and the store are handed in. Knows no wire format. Every room's `__init__.py` says what lives in it; here is
what holds them together: the broker, shards that come and go, and state and its kinds. Rooms import downwards, as pyproject.toml orders them.
"""
