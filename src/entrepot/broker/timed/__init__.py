"""Queues whose leases are timed: leases, delays, groups, duplicates, dead letters and moves.

Their calls are in calls/lease_calls.py, their requests in calls/queue_requests.py, what these do in operations/timed_operations.py.
"""
