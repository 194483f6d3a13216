"""STOMP 1.0, 1.1 and 1.2 (stomp.github.io), as clients of ActiveMQ and of RabbitMQ speak it.

See session.py for the way of a frame, and docs/stomp.md for what is supported.
"""
