"""What operations cost that are long, in steps of net/turns.py: told by Attachment.spent, or spent by pieces of work (groups/work.py)."""

QUEUE_STEPS = 40  # of making a queue, or deleting it
TOPIC_STEPS = 100  # of making a topic, or deleting it,
PARTITION_STEPS = 3  # and for each of its partitions that is made, or ended, at once
PREPARED_STEPS = 4  # of making one where nobody sees it yet
ENDED_STEPS = 3  # of ending one of which nobody is told any more
