"""Subscription against a model that keeps one state per offset, interpreted and compiled."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples

MODES = both("entrepot.broker.subscription.leases", "entrepot.model.range_block", "entrepot.model.ranges")
END = 2**64 - 1
mode = pytest.mark.parametrize("leases", MODES, ids=["installed", "interpreted"])

UNREAD, RETURNED, SETTLED = "unread", "returned", "settled"


class Model:
    """One entry per offset: its state (or who leases it) and how often it was released."""

    def __init__(self, first, end, redelivered_below):
        self.first = first
        self.state = dict.fromkeys(range(first, end), UNREAD)
        self.count = {}
        self.redelivered_below = redelivered_below
        self.end = end

    def deliveries(self, offset):
        return self.count.get(offset) or int(offset < self.redelivered_below)

    def ready(self):
        return [offset for offset, state in self.state.items() if state in (UNREAD, RETURNED)]

    def next(self):
        back = [offset for offset in self.ready() if self.state[offset] == RETURNED]
        ready = self.ready()
        return min(back) if back else min(ready) if ready else END

    def take(self, who, limit, below):
        first = self.next()
        taken = []
        if first == END:
            return taken
        kind = self.state[first]
        offset = first
        while len(taken) < limit and offset < below and self.state.get(offset) == kind and self.deliveries(offset) == self.deliveries(first):
            taken.append(offset)
            self.state[offset] = who
            offset += 1
        return taken

    def end_lease(self, who, offsets, state, count):
        hit = [offset for offset in offsets if self.state.get(offset) == who and isinstance(who, int)]
        for offset in hit:
            self.state[offset] = state
            if count:
                self.count[offset] = self.deliveries(offset) + 1
            if state == SETTLED:
                self.count.pop(offset, None)
        return hit

    def drop(self, offsets):
        hit = [offset for offset in offsets if self.state.get(offset) in (UNREAD, RETURNED)]
        for offset in hit:
            self.state[offset] = SETTLED
            self.count.pop(offset, None)
        return hit

    def floor(self):
        return next((offset for offset in range(self.first, self.end) if self.state[offset] != SETTLED), self.end)


def check(sub, model):
    assert sub.ready_count == len(model.ready())
    assert sub.leased_count == sum(isinstance(state, int) for state in model.state.values())
    assert sub.floor == model.floor()
    assert sub.end == model.end
    assert sub.peek() == model.next()
    assert sub.cursor >= sub.floor
    ready = model.ready()
    for offset in range(model.first, model.end + 2, 3):
        assert sub.next_ready(offset) == next((found for found in ready if found >= offset), END)
        until = next(other for other in range(offset, offset + len(ready) + 1) if other not in ready)
        assert sub.ready_until(offset) == (until if offset >= sub.cursor else min(until, sub.cursor))
    for who in (1, 2, 3):
        held = [offset for first, end in sub.leased_by(who) for offset in range(first, end)]
        assert held == [offset for offset, state in model.state.items() if state == who]
    for offset in model.state:
        if model.state[offset] != SETTLED:
            assert sub.deliveries_of(offset) == model.deliveries(offset)


def settled_now(sub):
    offsets = [offset for first, end in sub.settled_ranges for offset in range(first, end)]
    sub.settled_ranges.clear()
    return sorted(offsets)


small = st.integers(0, 60)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "take",
                "take",
                "take",
                "take_settled",
                "take_range",
                "settle",
                "settle",
                "release",
                "uncounted",
                "release_all",
                "drop",
                "purge",
                "advance",
                "move",
                "settle_to",
            ]
        ),
        st.integers(1, 3),
        small,
        st.integers(0, 25),
    ),
    max_size=40,
)


@mode
@settings(max_examples=examples(250), deadline=None)
@given(
    base=st.sampled_from([0, 65530, 2**32 - 20]),
    end=st.integers(0, 40),
    redelivered=st.integers(0, 20),
    holes=st.lists(st.tuples(small, st.integers(1, 6)), max_size=4),
    steps=steps,
)
def test_agrees_with_the_model(leases, base, end, redelivered, holes, steps):
    model = Model(base, base + end, base + redelivered)
    sub = leases.Subscription(base, base + end)
    sub.redelivered_below = base + redelivered
    sub.count_deltas = []
    for first, count in holes:
        sub.restore_settled(base + first, base + first + count)
        model.drop(range(base + first, base + first + count))
    assert not sub.settled_ranges
    check(sub, model)
    for name, who, first, count in steps:
        first += base
        wanted = []
        if name == "take":
            taken = model.take(who, count, first)
            assert sub.take(who, count, first) == len(taken)
            if taken:
                assert sub.taken_first == taken[0]
                assert sub.taken_deliveries == model.deliveries(taken[0])
        elif name == "take_settled":
            wanted = model.take(who, count, first)
            assert sub.take_settled(count, first) == len(wanted)
            model.end_lease(who, wanted, SETTLED, False)
        elif name == "take_range":
            ready = set(model.ready())
            chosen = list(range(first, first + count))
            same = [offset for offset in chosen if offset in ready and model.deliveries(offset) == model.deliveries(first)]
            until = next((offset for offset in chosen if model.deliveries(offset) != model.deliveries(first)), first + count)
            chosen = list(range(first, until))
            if not set(chosen) <= set(same) or first + count > model.end:
                chosen = []
            if chosen:
                for offset in ready:
                    if offset < chosen[-1]:
                        model.state[offset] = RETURNED
                for offset in chosen:
                    model.state[offset] = who
            assert sub.take_range(who, first, count) == len(chosen)
        elif name == "settle":
            wanted = model.end_lease(who, range(first, first + count), SETTLED, False)
            assert sub.settle(who, first, count) == len(wanted)
        elif name in ("release", "uncounted"):
            counted = name == "release"
            hit = model.end_lease(who, range(first, first + count), RETURNED, counted)
            sub.count_deltas.clear()
            assert sub.release(who, first, count, counted) == len(hit)
            told = {offset: deliveries for start, stop, deliveries in sub.count_deltas for offset in range(start, stop)}
            assert told == ({offset: model.deliveries(offset) for offset in hit} if counted else {})
        elif name == "release_all":
            hit = model.end_lease(who, list(model.state), RETURNED, True)
            assert [offset for start, stop in sub.release_all(who) for offset in range(start, stop)] == hit
        elif name == "move":
            to = who % 3 + 1
            hit = model.end_lease(who, range(first, first + count), to, False)
            assert sub.move(who, to, first, count) == len(hit)
        elif name == "drop":
            wanted = model.drop(range(first, first + count))
            assert sub.drop(first, count) == len(wanted)
        elif name == "purge":
            wanted = model.drop(list(model.state))
            assert sub.purge() == len(wanted)
        elif name == "settle_to":
            below = [offset for offset in model.state if offset < first and model.state[offset] != SETTLED]
            for offset in below:
                model.state[offset] = SETTLED
                model.count.pop(offset, None)
            wanted = below
            assert sub.settle_to(first) == len(wanted)
        else:
            model.state.update(dict.fromkeys(range(model.end, model.end + count), UNREAD))
            model.end += count
            sub.advance_end(model.end)
        assert settled_now(sub) == sorted(wanted)
        check(sub, model)


@mode
def test_in_order_work_is_one_range(leases):
    sub = leases.Subscription(0, 1_000_000)
    while sub.ready_count:
        assert sub.take(1, 512, END)
    assert sub.leased_by(1) == [(0, 1_000_000)]
    assert sub.settle(1, 0, 1_000_000) == 1_000_000
    assert sub.settled_ranges == [(0, 1_000_000)]
    assert sub.floor == sub.cursor == 1_000_000
    assert sub.leased_by(1) == []


@mode
def test_a_peers_numbers_do_no_harm(leases):
    sub = leases.Subscription(0, 10)
    sub.take(1, 10, END)
    assert sub.settle(1, 5, END) == 5
    assert sub.settle(1, END, END) == 0
    assert sub.release(1, 1, END) == 4
    assert sub.move(1, 2, END - 1, END) == 0
    assert sub.drop(END, END) == 0
    assert sub.leased_by(1) == [(0, 1)]


@mode
def test_counts_are_restored(leases):
    sub = leases.Subscription(0, 100)
    sub.restore_count(3, 4, 2)
    assert [sub.take(1, 100, END), sub.taken_deliveries] == [3, 0]
    assert [sub.take(1, 100, END), sub.taken_deliveries] == [4, 2]
    assert [sub.take(1, 100, END), sub.taken_deliveries] == [93, 0]


@mode
def test_a_subscription_may_begin_late(leases):
    sub = leases.Subscription(0, 100)
    sub.skip_to(40)
    assert (sub.floor, sub.cursor, sub.ready_count, sub.settled_ranges) == (40, 40, 60, [])
