"""What kinds of frames there are between a front and an owner (docs/formats/owners.md): the first octet of each. The second says which owner of the process.

Those of a front are below ANSWERS, those of an owner from there on.
"""

from __future__ import annotations

# of a front: with heads of their own (hot_frames.py)
STAGE = 1
STAGE_RUNS = 2
SETTLE = 3
LEND = 4
READ = 5
WAITS_FROM = 6
REPLY = 7
ROUTED = 8
SETTLEMENTS = 9

# of a front: MessagePack (words.py)
LANE = 16
LANES_END = 17
DOOR = 18
DOOR_END = 19
CONSUME = 20
TAKE_BACK = 21
LIMIT = 22
CANCEL = 23
END = 24
GET = 25
PURGE = 26
COUNT = 27
TOGETHER = 28
ASK = 29
SEND = 30
RECEIVE = 31
END_LEASES = 32
WITHDRAW = 33
WITHDRAW_ALL = 34
CLAIM = 35
CLAIMED = 36
NOTED = 37

ANSWERS = 128

# of an owner: with heads of their own
ANSWERED = 128
DELIVERED = 129
WANTS = 130
PASSED = 131
SETTLED = 132
TAKEN = 133

# of an owner: MessagePack
ANSWER = 144
GOT = 145
SENT = 146
RECEIVED = 147
LEASES_ENDED = 148
GONE = 149
LANE_GONE = 150
