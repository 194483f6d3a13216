"""Administration: what may be asked of one broker's objects, whoever asks, and the local socket where the command line does.

The operations know no transport, and run over a node without sockets, too. What clients of a protocol may ask of the broker is not here.
"""
