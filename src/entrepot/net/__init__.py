"""Sockets, TLS, output coalescing and flow control, shared by all protocols. Knows no protocol."""
