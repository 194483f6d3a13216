"""In what order parts are sent, and how many at once."""

from entrepot.broker.outbox.handover import LETTER, TAKEN, UNDER_WAY_MAX
from entrepot.broker.outbox.intents import Intent, Part
from entrepot.broker.outbox.lane import Lane


def lane_of(*sequences):
    lane = Lane(1, 2, 0)
    parts = {}
    for sequence in sequences:
        intent = Intent(1, b"", sequence, 1, LETTER, "", b"", ())
        intent.durable = True
        parts[sequence] = Part(intent, 2, sequence, ())
        lane.add(parts[sequence])
    return lane, parts


def send_all(lane):
    sent = []
    while (part := lane.next()) is not None:
        sent.append((part.sequence, lane.first_waited()))
        lane.sent()
    return sent


def answer(parts, *sequences, freed=True):
    for sequence in sequences:
        parts[sequence].status = TAKEN
        parts[sequence].freed = freed


def test_as_many_under_way_as_the_target_remembers():
    lane, parts = lane_of(*range(1, 21))
    assert send_all(lane) == [(sequence, 1) for sequence in range(1, UNDER_WAY_MAX + 1)]
    answer(parts, 1, 2, freed=False)
    assert send_all(lane) == []  # until the answers are noted here
    answer(parts, 1, 2)
    assert send_all(lane) == [(9, 3), (10, 3)]


def test_only_what_is_durable():
    lane, parts = lane_of(1, 2)
    parts[1].intent.durable = False
    assert send_all(lane) == []  # and nothing overtakes it
    parts[1].intent.durable = True
    assert len(send_all(lane)) == 2


def test_all_that_is_not_answered_goes_again():
    lane, parts = lane_of(1, 2, 3)
    send_all(lane)
    answer(parts, 1, freed=False)
    lane.go_back()
    assert send_all(lane) == [(2, 1), (3, 1)]
    assert lane.waiting(1) is None
    assert lane.waiting(2) is parts[2]


def test_behind_a_gap_when_nothing_before_it_is_waited_for():
    lane, parts = lane_of(5, 6, 7)
    parts[6].intent.dropped = True
    assert send_all(lane) == [(5, 5)]
    lane, parts = lane_of(5, 7)
    assert send_all(lane) == [(5, 5)]
    answer(parts, 5)
    assert send_all(lane) == [(7, 7)]


def test_what_is_dropped_is_waited_for_no_more():
    lane, parts = lane_of(1, 2)
    send_all(lane)
    parts[1].intent.dropped = True
    assert not lane.is_empty()
    assert lane.first_waited() == 2
    parts[2].intent.dropped = True
    assert lane.is_empty()


def test_at_opening_by_sequence():
    lane, _ = lane_of(3, 1, 2)
    lane.sort()
    assert send_all(lane) == [(1, 1), (2, 1), (3, 1)]
