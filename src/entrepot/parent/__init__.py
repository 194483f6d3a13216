"""The parent of a node's workers: it reserves their addresses, starts them and starts them again, says how the node is, and ends them in order.

It owns nothing of a broker, and imports none: what it costs is an interpreter with a loop and the HTTP port.
"""
