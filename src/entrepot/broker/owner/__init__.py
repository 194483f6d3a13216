"""An owner in this process: what it does with what fronts ask of it (broker/owners.py), over the live queues and partitions.

Knows no connection's names or permissions, and no route: those are the fronts'. What a queue or partition does is said in queue/ and topic/.
"""
