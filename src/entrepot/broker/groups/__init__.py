"""Consumer groups: members, generations, assignments and committed offsets, as Kafka's group coordinator keeps them.

coordinator.py has the table of groups and what each request does; classic.py is a group whose members agree among themselves
(JoinGroup, SyncGroup), consumer.py one whose coordinator assigns (KIP-848); offsets.py is what was committed; kept.py how all that is
stored. Nothing here waits, reads a clock or draws chance: desk.py hands it in.
"""
