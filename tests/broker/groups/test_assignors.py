"""Assignors: everything assigned once, to who reads it, evenly, and moving little."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.groups.assignors import ASSIGNORS, Subscriber, assign_range, assign_uniform
from entrepot.broker.groups.work import at_once

TOPICS = [bytes([number]) * 16 for number in range(4)]
A, B, C, D = TOPICS


def readers(*topics):
    return [Subscriber(f"m{number}", f"m{number}", frozenset(read), {}) for number, read in enumerate(topics)]


def again(subscribers, given):
    return [Subscriber(one.member_id, one.order, one.topics, given[one.member_id]) for one in subscribers]


def moved(before, after):
    return sum(len(partitions - after.get(member, {}).get(topic, set())) for member, had in before.items() for topic, partitions in had.items())


def check(subscribers, counts, given):
    places = [(topic, partition) for had in given.values() for topic, partitions in had.items() for partition in partitions]
    read = {topic for one in subscribers for topic in one.topics}
    assert sorted(places) == sorted((topic, partition) for topic, count in counts.items() if topic in read for partition in range(count))
    topics = {one.member_id: one.topics for one in subscribers}
    assert all(topic in topics[member] for member, had in given.items() for topic in had)


SUBSCRIPTIONS = st.lists(st.sets(st.sampled_from(TOPICS)), min_size=1, max_size=8)
COUNTS = st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 12))


@given(st.sampled_from(sorted(ASSIGNORS)), SUBSCRIPTIONS, COUNTS, SUBSCRIPTIONS, COUNTS)
def test_everything_once_to_who_reads_it(name, before, counts_before, after, counts):
    first = readers(*before)
    given = at_once(ASSIGNORS[name](first, counts_before))
    check(first, counts_before, given)
    second = [Subscriber(one.member_id, one.order, one.topics, given.get(one.member_id, {})) for one in readers(*after)]
    check(second, counts, at_once(ASSIGNORS[name](second, counts)))


@given(st.integers(1, 9), COUNTS, st.integers(1, 9), COUNTS)
def test_uniform_is_even_and_moves_no_more_than_it_must(count, counts_before, count_after, counts):
    before = readers(*[TOPICS] * count)
    given = assign_uniform(before, counts_before)
    after = [Subscriber(one.member_id, one.order, one.topics, given.get(one.member_id, {})) for one in readers(*[TOPICS] * count_after)]
    now = assign_uniform(after, counts)
    sizes = [sum(map(len, had.values())) for had in now.values()]
    assert max(sizes) - min(sizes) <= 1
    kept = {one.member_id: sum(len([p for p in partitions if p < counts.get(topic, 0)]) for topic, partitions in one.had.items()) for one in after}
    quota, extra = divmod(sum(sizes), count_after)
    least = sum(sorted((max(0, had - quota) for had in kept.values()), reverse=True)) - min(extra, sum(had > quota for had in kept.values()))
    still = {one.member_id: {topic: {p for p in partitions if p < counts.get(topic, 0)} for topic, partitions in one.had.items()} for one in after}
    assert moved(still, now) == least


@given(SUBSCRIPTIONS, COUNTS)
def test_uniform_changes_nothing_when_nothing_changes(subscriptions, counts):
    first = readers(*subscriptions)
    given = assign_uniform(first, counts)
    assert assign_uniform(again(first, given), counts) == given


@given(SUBSCRIPTIONS, COUNTS)
def test_uniform_leaves_nothing_that_one_move_would_even_out(subscriptions, counts):
    subscribers = readers(*subscriptions)
    given = assign_uniform(subscribers, counts)
    load = {member: sum(map(len, had.values())) for member, had in given.items()}
    for one in subscribers:
        for member, had in given.items():
            if any(topic in one.topics for topic, partitions in had.items() if partitions):
                assert load[member] <= load[one.member_id] + 1


def test_range():
    given = assign_range(readers({A, B, C}, {A, B}, {A, B}), {A: 7, B: 7, C: 2, D: 1})
    assert given == {
        "m0": {A: {0, 1, 2}, B: {0, 1, 2}, C: {0, 1}},
        "m1": {A: {3, 4}, B: {3, 4}},
        "m2": {A: {5, 6}, B: {5, 6}},
    }


def test_order_is_by_instance_id():
    static = Subscriber("z", "a", frozenset({A}), {})
    assert assign_range([Subscriber("b", "b", frozenset({A}), {}), static], {A: 1}) == {"z": {A: {0}}, "b": {}}


def test_nobody():
    assert assign_uniform([], {A: 3}) == {}
    assert assign_range([], {A: 3}) == {}
