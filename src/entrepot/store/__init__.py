"""Logs, commits and state: what makes records durable. An entry's bytes are opaque here.

Knows no protocol and no queue, topic or subscription; those are the broker's.
"""
