"""What serves connections: doors, publishes and appends on their way to their targets, consumers and limits that span owners, direct replies, doors asked anew.

Holds no record: what is published ends in a log of queue/ or topic/. Requests that are not hot go to operations/.
"""
