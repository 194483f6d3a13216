"""Filters and groups: only what may be taken is taken, all of it in the end, and in order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.subscription.policies import GroupScan, SelectorScan

END = 2**64 - 1


@settings(max_examples=examples(150), deadline=None)
@given(
    matching=st.lists(st.booleans(), max_size=60),
    limits=st.lists(st.integers(1, 7), min_size=1, max_size=20),
    window=st.integers(1, 9),
    back=st.integers(0, 60),
)
def test_selector_takes_what_matches(matching, limits, window, back):
    sub = Subscription(0, len(matching))
    scan = SelectorScan(sub, lambda first, count: matching[first : min(first + count, first - first % window + window)])
    rest = SelectorScan(sub, lambda first, count: [not answer for answer in matching[first : first + count]])
    taken: list[int] = []

    def take(limit):
        count = scan.take(1, limit, END)
        assert count <= limit
        taken.extend(range(sub.taken_first, sub.taken_first + count) if count else [])
        return count

    for limit in limits:
        take(limit)
        rest.take(2, 2, END)
    if back in taken:
        assert sub.release(1, back, 1) == 1
        taken.remove(back)
        scan.returned(back)
    while take(5):
        pass
    while rest.take(2, 50, END):
        pass
    wanted = [offset for offset, answer in enumerate(matching) if answer]
    assert sorted(taken) == wanted
    assert sub.leased_count == len(matching)


def test_looking_ahead_is_bounded():
    sub = Subscription(0, 1000)
    scan = SelectorScan(sub, lambda first, count: [offset >= 600 for offset in range(first, first + count)], lookahead=500)
    assert scan.take(1, 10, END) == 0
    assert scan.position == 500
    sub.drop(0, 200)
    assert scan.take(1, 10, END) == 10
    assert sub.taken_first == 600


steps = st.lists(st.tuples(st.sampled_from(["take", "take", "settle", "release"]), st.integers(1, 3), st.integers(0, 40), st.integers(1, 5)), max_size=50)


@settings(max_examples=examples(300), deadline=None)
@given(groups=st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=40), sticky=st.booleans(), steps=steps)
def test_groups_keep_their_order(groups, sticky, steps):
    sub = Subscription(0, len(groups))
    scan = GroupScan(sub, lambda first, count: groups[first : first + count], sticky=sticky)
    leased: dict[int, int] = {}
    done: list[int] = []

    def take(who, limit):
        mine = [offset for first, count in scan.take_batch(who, limit, END) for offset in range(first, first + count)]
        assert len(mine) <= limit
        for offset in mine:
            group = groups[offset]
            if group is None:
                continue
            for other, holder in leased.items():
                if groups[other] == group:
                    assert sticky
                    assert holder == who
            earlier = [other for other in range(offset) if groups[other] == group and other not in done and other not in leased and other not in mine]
            assert not earlier
        leased.update(dict.fromkeys(mine, who))
        return mine

    def end(offset, returned):
        who = leased.pop(offset)
        if returned:
            sub.release(who, offset, 1)
        else:
            sub.settle(who, offset, 1)
            done.append(offset)
        scan.ended(offset, 1, returned=returned)

    for name, who, first, count in steps:
        if name == "take":
            take(who, count)
        else:
            for offset in range(first, first + count):
                if offset in leased:
                    end(offset, name == "release")
    while leased or sub.ready_count:
        for offset in list(leased):
            end(offset, False)
        assert take(1, 10) or not sub.ready_count
    assert sorted(done) == list(range(len(groups)))
    assert len(scan) == 0
