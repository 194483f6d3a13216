"""Queues whose leases are timed: leases, delays, groups, duplicates, dead letters and moves; their calls are in broker/lease_calls.py."""
