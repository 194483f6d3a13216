"""Wills that cannot be published now: those in memory alone are bounded."""

from entrepot.broker.sessions.late_wills import HELD_BYTES_MAX, LateWill, LateWills
from entrepot.model.errors import Unavailable

SIZE = 60_000


class Publishing:
    def __init__(self):
        self.is_open = False

    def __call__(self, namespace, will, shard, done):
        if not self.is_open:
            raise Unavailable("no room")
        return True


def test_those_in_memory_alone_have_a_bound():
    publish = Publishing()
    wills = LateWills(None, publish, lambda: None)
    most = HELD_BYTES_MAX // SIZE
    for _ in range(2):
        for _ in range(most):
            wills.add(LateWill(0, b"", "a/b", (b"", 2, 1, 0, bytes(SIZE), SIZE, 0, False)))
        assert len(wills.waiting) == most
        wills.again()
        assert len(wills.waiting) == most
    assert wills.dropped_count == most
    publish.is_open = True
    wills.again()
    assert not wills.waiting
    assert wills.published_count == most
