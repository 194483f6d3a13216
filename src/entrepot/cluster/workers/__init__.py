"""Workers: processes of one machine that are one broker. What a parent tells them, and they it; the parent itself.

Not here: what they say to each other (../owners, ../catalogue), and the broker that each of them runs (node.py, server.py).
"""
