"""What the requests of calls/ do: one method a request, over the catalogue and the live queues and topics, which are made and ended here.

Requests of consumer groups are carried out in groups/; publishing, settling, reading and receiving are not requests.
"""
