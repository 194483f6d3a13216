"""Live queues, an owner's side: records that go when they are settled; dead letters, drops at the head, delivery counts, and queues that are away.

What a queue was declared to be is in catalogue/; queues whose leases are timed have their other side in timed/.
"""
