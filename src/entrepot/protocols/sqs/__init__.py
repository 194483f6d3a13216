"""Amazon SQS: HTTP, the two wire protocols (AWS JSON 1.0 and Query), the table of actions, signatures and policies, entries of SQS messages.

Meaning (who gets which message, and when) is the broker's: see broker/calls/lease_calls.py and broker/calls/queue_requests.py.
"""
