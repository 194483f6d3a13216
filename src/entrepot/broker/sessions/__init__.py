"""Sessions that outlive connections, as their owner has them: who is attached, what they remember, when they end, and their wills.

A session that is kept is a durable queue and rows beside it, in the queue's shard; of others only who is attached is known, in memory.
"""
