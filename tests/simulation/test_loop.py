"""The simulated loop: order, time, and the same run from the same seed."""

import pytest

from entrepot.simulation.loop import WALL_START_MS, SimulatedClock, SimulatedEntropy, SimulatedLoop, Stuck


def test_order_and_time():
    loop = SimulatedLoop(1)
    seen = []
    loop.call_later(2, seen.append, "later")
    loop.call_later(1, seen.append, "sooner")
    loop.call_later(1, seen.append, "second")
    loop.call_later(1.5, seen.append, "never").cancel()
    loop.call_soon(lambda: loop.call_soon(seen.append, "next tick"))
    loop.call_soon(seen.append, "now")
    loop.run_until(lambda: len(seen) == 5)
    assert seen == ["now", "next tick", "sooner", "second", "later"]
    assert loop.time() == 2
    assert not loop.step()


def test_waiting_for_what_never_comes_is_told():
    loop = SimulatedLoop(7)
    with pytest.raises(Stuck, match="seed 7"):
        loop.run_until(lambda: False)


def test_time_passes_when_asked():
    loop = SimulatedLoop(1)
    seen = []
    loop.call_later(1, seen.append, 1)
    loop.call_later(3, seen.append, 3)
    clock = SimulatedClock(loop)
    loop.run_for(2)
    assert seen == [1]
    assert loop.time() == clock.monotonic_s() == 2
    clock.skew_ms = -500
    assert clock.wall_ms() == WALL_START_MS + 1500


def run(seed):
    loop = SimulatedLoop(seed)
    entropy = SimulatedEntropy(loop)
    for _ in range(20):
        loop.call_later(loop.random.random(), loop.note, entropy.octets(4), entropy.below(9))
    loop.run_for(2)
    return loop.digest()


def test_a_seed_is_a_run():
    assert run(5) == run(5)
    assert run(5) != run(6)
