"""Transactions over many logs: what is open and aborted in each log, the markers that end one, and the coordinator that decides.

Not AMQP's publishes and settlements in one commit, which need none of it: operations/together.py.
"""
