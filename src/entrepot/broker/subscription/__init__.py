"""Who has seen what of a log: offset ranges, leases, deadlines, delivery counts, policies.

Pure bookkeeping over offsets: holds no record and no consumer's connection.
"""
