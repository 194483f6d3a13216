"""AMQP 0-9-1 as RabbitMQ speaks it: codec (frames), session (one connection), records (its entries), listener.

Codec and session are sans-IO state machines; sockets are net's.
"""
