"""Who has seen what of a log: consumers and their credit, offset ranges, leases, deadlines, delivery counts, policies.

Pure bookkeeping over offsets: holds no record and no connection. Consumer groups are in groups/, timed leases in timed/.
"""
