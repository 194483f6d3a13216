"""The dense tables against naive models: OffsetTable, LeaseTable with its state, GroupWindow, Repeats."""

import pytest
from broker_bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.timed.group_window import NONE, GroupWindow
from entrepot.broker.timed.kept_leases import TIMED, KeptLeases
from entrepot.broker.timed.lease_state import BLOCK_SIZE, fold_all_leases, fold_leases
from entrepot.broker.timed.lease_table import NO_DEADLINE, LeaseTable
from entrepot.broker.timed.offset_table import OffsetTable
from entrepot.broker.timed.repeats import FORGET_MAX, INTERVAL_MS, REPEAT_PREFIX, SLOT_MS, SLOT_ROWS, SPLIT_AT, Repeats, digest_of
from entrepot.model.errors import CorruptData

MORE = settings(max_examples=examples(80), deadline=None)
keys = st.one_of(st.integers(0, 40), st.integers(0, 40).map(lambda number: number << 16), st.integers(0, 2**62))


@MORE
@given(st.lists(st.tuples(st.booleans(), keys), max_size=300))
def test_offset_table(steps):
    table, model = OffsetTable(), {}
    for number, (put, key) in enumerate(steps):
        if put:
            table.put(key, number)
            model[key] = number
        else:
            assert table.remove(key) == model.pop(key, -1)
        assert table.count == len(model)
    for key in {key for _, key in steps}:
        assert table.get(key) == model.get(key, -1)


def test_an_offset_table_grows_and_shrinks():
    table = OffsetTable()
    for key in range(10_000):
        table.put(key * 4096, key)
    assert [table.get(key * 4096) for key in range(0, 10_000, 997)] == list(range(0, 10_000, 997))
    for key in range(10_000):
        assert table.remove(key * 4096) == key
    assert table.count == 0
    assert table.get(0) == -1


# ---- leases


def store_and_log():
    store = Bench().store
    return store, store.create_log(3, b"L" * 16)


def state_keys(store, prefix):
    return store.scan(3, prefix, prefix + b"\xff" * 30, 1000)


offsets = st.one_of(st.integers(0, 30), st.integers(BLOCK_SIZE - 5, BLOCK_SIZE + 5), st.integers(0, 3 * BLOCK_SIZE))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), offsets, st.integers(1, 60)),
        st.tuples(st.just("change"), offsets, st.integers(0, 60)),
        st.tuples(st.just("lapse"), offsets, st.just(0)),
        st.tuples(st.just("again"), offsets, st.integers(1, 60)),
        st.tuples(st.just("remove"), offsets, st.sampled_from([1, 1, 7, 9000])),
        st.tuples(st.just("pass"), st.just(0), st.integers(1, 30)),
    ),
    max_size=60,
)


@MORE
@given(steps)
def test_lease_table(steps):
    """The model: offset -> [deadline, first received, id, deliveries, held]."""
    table, model, now = LeaseTable(), {}, 1000
    store, log = store_and_log()
    kept = KeptLeases(store, log, table)
    gone = set()
    for number, (name, offset, value) in enumerate(steps):
        row = table.find(offset)
        assert (row >= 0) == (offset in model)
        known = model.get(offset)
        if name == "lease" and not (known and known[4]) and offset not in gone:
            lease_id = b"%016d" % number
            deliveries = 1 if known is None else known[3] + 1
            model[offset] = [now + value, now if known is None else known[1], lease_id, deliveries, True]
            table.lease(offset, lease_id, now + value, now, deliveries)
        elif name == "change" and known and known[4]:
            known[0] = now + value
            table.change(row, now + value)
        elif name == "lapse" and known and known[4]:
            known[4] = False
            known[0] = now
            table.change(row, now)
            table.lapse(row)
        elif name == "again" and known and not known[4]:
            known[0], known[4] = now + value, True
            table.hold_again(row, now + value)
        elif name == "remove":
            for other in [other for other in model if offset <= other < offset + value]:
                del model[other]
            gone.update(range(offset, offset + value))
            table.remove_range(offset, offset + value)
        elif name == "pass":
            now += value
            lapsed = []
            while (found := table.lapse_next(now)) != NO_DEADLINE:
                lapsed.append(found)
            assert sorted(lapsed) == sorted(other for other, entry in model.items() if entry[4] and entry[0] <= now)
            assert [model[other][0] for other in lapsed] == sorted(model[other][0] for other in lapsed)
            for other in lapsed:
                model[other][4] = False
        kept.stage()
        held = [entry[0] for entry in model.values() if entry[4]]
        assert (table.count, table.held) == (len(model), len(held))
        assert table.next_deadline() == min(held, default=NO_DEADLINE)
    assert state_of(table) == model
    # And what was kept, over what is settled.
    again = LeaseTable()
    sub = Subscription(0, 4 * BLOCK_SIZE)
    for offset in gone:
        sub.restore_settled(offset, offset + 1)
    KeptLeases(store, log, again).load(sub, now)
    for entry in model.values():
        entry[4] = entry[0] > now
    assert state_of(again) == model
    assert sub.held_count(TIMED) == again.held


def state_of(table):
    found = {}
    for offset in table.offsets():
        row = table.find(offset)
        found[offset] = [table.deadline_of(row), table.first_received_of(row), table.lease_id_of(row), table.deliveries_of(row), table.is_held(row)]
    return found


def test_a_lease_is_known_by_its_latest_id():
    table = LeaseTable()
    row = table.lease(7, b"a" * 16, 10, 5, 1)
    assert table.has_id(row, b"a" * 16)
    assert not table.has_id(row, b"a" * 15 + b"b")
    assert not table.has_id(row, b"b" + b"a" * 15)
    assert not table.has_id(row, b"a")
    table.adopt(9, 5, 5, 3)
    assert not table.has_id(table.find(9), bytes(16))
    assert table.find(2**64 - 1) == -1
    assert table.same_deliveries(9, 5) == 1
    assert table.same_deliveries(10, 5) == 5


def test_lease_state_golden():
    run = bytes.fromhex("0100 0300 e803000000000000 f401000000000000") + b"L" * 16 + bytes.fromhex("02000000")
    later = bytes.fromhex("0200 0200 d007000000000000 f401000000000000") + b"M" * 16 + bytes.fromhex("03000000")
    table = LeaseTable()
    for offset in (1, 2, 3):
        table.restore(offset, b"K" * 16, 0, 500, 1, False)
        table.lease(offset, b"L" * 16, 1000, 600, 2)
    assert table.take_deltas() == [(0, b"\x01" + run)]
    assert fold_leases(b"l:", b"\x01" + run, b"\x01" + later) == (b"\x01" + b"\x01\0\x01\0" + run[4:] + later + b"\x03\0\x03\0" + run[4:])
    assert fold_all_leases(b"l:", b"\x01" + run, [b"\x01" + later, b""]) is None
    assert fold_all_leases(b"l:", b"\x01" + run, [b"", b"\x01" + later]) == b"\x01" + later


@pytest.mark.parametrize("delta", [b"\x02" + bytes(40), b"\x01" + bytes(39)])
def test_lease_state_that_no_version_wrote(delta):
    with pytest.raises(CorruptData):
        fold_leases(b"l:", None, delta)


# ---- groups


@MORE
@given(
    ordered=st.booleans(),
    groups=st.lists(st.sampled_from([b"", b"a", b"b", b"c"]), min_size=1, max_size=60),
    steps=st.lists(st.tuples(st.sampled_from(["take", "take", "return", "remove", "add"]), st.integers(0, 1000)), max_size=120),
)
def test_group_window(ordered, groups, steps):
    """The model: offset -> [group, ready, turn]; of no group: one of its own. `earliest`: the turn that a group has at the earliest."""
    window, model, earliest, added, turn = GroupWindow(ordered), {}, {}, 0, 0

    def add():
        nonlocal added, turn
        turn += 1
        window.add(added, groups[added], True)
        model[added] = [groups[added] or added, True, turn]
        added += 1

    def goes_behind(group):
        nonlocal turn
        turn += 1
        earliest[group] = turn

    for name, number in steps:
        if name == "add" and added < len(groups):
            add()
        elif name == "take":
            window.begin()
            expected = comes_next(model, earliest, ordered)
            assert window.next() == expected
            if expected != NONE:
                window.take(expected)
                model[expected][1] = False
                if ordered:
                    goes_behind(model[expected][0])
        elif name == "return" and model:
            offset = sorted(model)[number % len(model)]
            assert window.returned(offset)
            if not (model[offset][1] or ordered):
                goes_behind(model[offset][0])
            model[offset][1] = True
        elif name == "remove" and model:
            offset = sorted(model)[number % len(model)]
            window.remove(offset)
            group = model.pop(offset)[0]
            if all(other != group for other, _, _ in model.values()):
                earliest.pop(group, None)
        assert window.count == len(model)
        assert window.group_count == len({group for group, _, _ in model.values()})
    window.remove_range(0, 10**9)
    assert (window.count, window.linked, window.group_count) == (0, 0, 0)


def comes_next(model, earliest, ordered):
    heads = {}
    in_flight = {}
    for offset in sorted(model):
        group, ready, turn = model[offset]
        in_flight[group] = in_flight.get(group, 0) + (not ready)
        if ordered or ready:
            heads.setdefault(group, (offset, ready, turn))
    found = [
        ((in_flight[group] // 10).bit_length() if not ordered else 0, max(turn, earliest.get(group, 0)), offset)
        for group, (offset, ready, turn) in heads.items()
        if ready
    ]
    return min(found)[2] if found else NONE


@MORE
@given(st.booleans(), st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b""]), min_size=1, max_size=40), st.integers(0, 3))
def test_every_group_has_its_turn_whatever_comes_back(ordered, groups, bad):
    """Whose group is bad is given back at once, always; what else there is has left after as many takes as there are records and returns between them."""
    window, left = GroupWindow(ordered), dict(enumerate(groups))
    for offset, group in left.items():
        window.add(offset, group, True)
    spoilt = b"abcd"[bad : bad + 1]
    for _ in range(2 * len(groups)):
        window.begin()
        offset = window.next()
        if offset == NONE:
            break
        window.take(offset)
        if left[offset] == spoilt:
            window.returned(offset)
        else:
            window.remove(offset)
            del left[offset]
    assert set(left.values()) <= {spoilt}


def test_a_taker_goes_on_with_its_group_where_it_is_near():
    window = GroupWindow(True)
    for offset, group in ((0, b"a"), (1, b"b"), (2, b"a"), (5000, b"a")):
        window.add(offset, group, True)
    order = []
    window.begin()
    while (offset := window.next()) != NONE:
        window.take(offset)
        order.append(offset)
    assert order == [0, 2, 1]
    window.remove(0)
    window.remove(2)
    window.begin()
    assert window.next() == 5000


def test_a_window_is_used_again_and_again():
    window = GroupWindow(False)
    for turn in range(20):
        for offset in range(turn * 1000, turn * 1000 + 1000):
            window.add(offset, b"g%d" % (offset % 100), True)
        for _ in range(1000):
            window.begin()
            window.take(window.next())
        for offset in range(turn * 1000, turn * 1000 + 1000):
            window.remove(offset)
    assert (window.count, window.linked, window.group_count) == (0, 0, 0)
    assert len(window.waiting()) == 0


# ---- repeats


@MORE
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 60_000)), max_size=80))
def test_repeats(sent):
    """The model: name -> (time, offset)."""
    store, log = store_and_log()
    repeats, model, now = Repeats(store, log), {}, 10**12
    for offset, (name, pause) in enumerate(sent):
        now += pause
        digest = digest_of(b"", b"%d" % name)
        known = model.get(name)
        is_repeat = known is not None and known[0] + INTERVAL_MS > now
        assert repeats.find(digest, now) == is_repeat
        if is_repeat:
            assert (repeats.offset, repeats.message_id) == (known[1], b"%016d" % known[1])
        else:
            repeats.add(digest, offset, b"%016d" % offset, now)
            model[name] = (now, offset)
        if offset % 20 == 19:
            repeats = Repeats(store, log)
            repeats.load(now)
        assert len(repeats) == sum(time + INTERVAL_MS > now for time, _ in model.values())
    assert len(state_keys(store, REPEAT_PREFIX)) <= INTERVAL_MS // SLOT_MS + 2 + len(sent) // 20  # each start begins a slot
    repeats.clear()
    assert len(repeats) == 0
    assert not state_keys(store, REPEAT_PREFIX)


def test_what_is_over_is_forgotten_some_at_a_time_and_is_no_repeat_meanwhile():
    store, log = store_and_log()
    repeats = Repeats(store, log)
    digests = [digest_of(b"", b"%d" % number) for number in range(3 * FORGET_MAX)]
    for offset, digest in enumerate(digests):
        repeats.add(digest, offset, b"%016d" % offset, 10**12)
    later = 10**12 + INTERVAL_MS
    assert not repeats.find(digests[-1], later)
    assert len(repeats) == 2 * FORGET_MAX
    repeats.add(digests[-1], 10**6, b"%016d" % 10**6, later)
    assert repeats.find(digests[-1], later)
    assert repeats.offset == 10**6
    for _ in range(3):
        repeats.expire(later)
    assert len(repeats) == 1
    assert repeats.find(digests[-1], later)


def test_very_many_are_remembered_over_a_start_and_kept_in_small_values():
    store, log = store_and_log()
    repeats = Repeats(store, log)
    digests = [digest_of(b"", b"%d" % number) for number in range(3 * SPLIT_AT)]
    for offset, digest in enumerate(digests):
        repeats.add(digest, offset, b"%016d" % offset, 10**12 + offset // 100)
    again = Repeats(store, log)
    again.load(10**12)
    for kept in (repeats, again):
        assert len(kept) == len(digests)
        for offset, digest in enumerate(digests):
            assert kept.find(digest, 10**12 + INTERVAL_MS - 1)
            assert (kept.offset, kept.message_id) == (offset, b"%016d" % offset)
        assert not kept.find(digest_of(b"", b"another"), 10**12 + 1000)
    keys = state_keys(store, REPEAT_PREFIX)
    assert len(keys) == 3 * SPLIT_AT // SLOT_ROWS
    again.add(digest_of(b"", b"another"), 10**6, b"%016d" % 10**6, 10**12 + 1000)
    assert len(state_keys(store, REPEAT_PREFIX)) == len(keys) + 1
    for _ in range(3 * SPLIT_AT // FORGET_MAX + 1):
        again.expire(10**12 + 2 * INTERVAL_MS)
    assert len(again) == 0
    assert not state_keys(store, REPEAT_PREFIX)
    again.add(digests[0], 7, b"%016d" % 7, 10**12 + 2 * INTERVAL_MS)
    assert again.find(digests[0], 10**12 + 2 * INTERVAL_MS)


def test_repeats_by_scope_are_others():
    assert len({digest_of(b"a", b"b"), digest_of(b"", b"ab"), digest_of(b"ab", b"")}) == 3
