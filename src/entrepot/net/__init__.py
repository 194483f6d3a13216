"""Sockets: listening, TLS, reading into a session, output coalesced per tick, flow control both ways, limits on connections.

Protocols bring a Session (session.py) and a Listener (listener.py). Nothing here knows a wire format or the broker.
"""
