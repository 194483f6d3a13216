"""The way of records to queues and topics that another owner has: intents at the source, frames to the target's owner, what that has taken.

What decides where they go, packs them and appends them is in queue/, timed/ and front/.
"""
