"""Live topics, an owner's side: partitions whose records stay as their retention says, reading them, finding offsets, what can be set of a topic.

Appending is in front/appending.py, groups of consumers and their offsets in groups/, making and deleting topics in operations/.
"""
