"""Producers with ids and sequences: ids given once, and the last batches of each, by which a repeat, a gap or an old epoch is known.

Neither transactions (transactions/) nor the staging of what producers send (front/appending.py).
"""
