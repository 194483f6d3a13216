"""Timed leases against one deadline and id per offset."""

from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.subscription.timed import NO_DEADLINE, TIMED, TimedLeases

END = 2**64 - 1
IDS = [bytes([number]) * 16 for number in range(3)]
steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "connection", "extend", "settle", "release", "expire"]), st.integers(0, 2), st.integers(0, 40), st.integers(1, 12)
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps)
def test_agrees_with_the_model(steps):
    sub = Subscription(0, 40)
    leases = TimedLeases(sub)
    held: dict[int, tuple[bytes, int]] = {}
    persisted: dict[int, tuple[bytes, int]] = {}
    now = 0
    for step, (name, which, first, count) in enumerate(steps):
        lease_id = IDS[which]
        mine = [offset for offset in range(first, first + count) if offset in held and held[offset][0] == lease_id]
        before = sub.ready_count
        if name == "take":
            taken = leases.take(lease_id, now + count, count, END)
            held.update(dict.fromkeys(range(sub.taken_first, sub.taken_first + taken), (lease_id, now + count)))
        elif name == "connection":
            sub.take(1, count, END)
        elif name == "extend":
            assert leases.extend(lease_id, first, count, now + 7) == len(mine)
            held.update(dict.fromkeys(mine, (lease_id, now + 7)))
        elif name in ("settle", "release"):
            assert getattr(leases, name)(lease_id, first, count) == len(mine)
            for offset in mine:
                del held[offset]
            assert sub.ready_count == before + (len(mine) if name == "release" else 0)
        else:
            now += count
            gone = {offset for start, stop in leases.expire(now) for offset in range(start, stop)}
            assert gone == {offset for offset, (_, deadline) in held.items() if deadline <= now}
            for offset in gone:
                del held[offset]
        for start, stop, deadline, delta_id in leases.deltas:
            for offset in range(start, stop):
                persisted.pop(offset, None)
                if deadline:
                    persisted[offset] = (delta_id, deadline)
        leases.deltas.clear()
        assert persisted == held, step
        assert sorted(offset for start, stop in sub.leased_by(TIMED) for offset in range(start, stop)) == sorted(held)
        for offset in range(40):
            assert leases.lease_of(offset) == held.get(offset)
        assert leases.next_deadline() == min((deadline for _, deadline in held.values()), default=NO_DEADLINE)
