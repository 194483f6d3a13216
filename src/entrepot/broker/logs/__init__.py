"""What queues and topics have in common over their logs: the hub of the tick, who hears of a log, payloads' codecs, finding a record.

What is particular to one of them is in queue/, topic/ and timed/; the logs themselves are the store's.
"""
