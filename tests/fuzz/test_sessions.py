"""The broker's listeners under nonsense, in virtual time: whole worlds from seeds. ENTREPOT_FRAMES sets how many frames, ENTREPOT_SEED the first seed.

What a step takes is measured in the long form only, in processor time: `-m long` fails where one took longer than STALL_MAX_S.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fuzz_run import CROWDS, FRAMES, MQTT, STOMP, WEBSOCKETS, Failed, Run
from fuzz_world import Finding, World

from entrepot.net import connection
from entrepot.server import GC_THRESHOLDS
from entrepot.simulation.network import Script

IS_PURE = (connection.__file__ or "").endswith(".py")
FIRST_SEED = int(os.environ.get("ENTREPOT_SEED", "0"))
FRAMES_SHORT = int(os.environ.get("ENTREPOT_FRAMES", "4000" if IS_PURE else "24000"))
FRAMES_LONG = int(os.environ.get("ENTREPOT_FRAMES", "1000000"))
STALL_MAX_S = float(os.environ.get("ENTREPOT_STALL_MS", "50")) / 1000
GROWTH_MAX_KIB = 100 << 10
WARM = 40  # runs after which the process has all that it keeps: tables, caches, code
STALLS_KEPT = 20
KEPT: dict[str, Any] = json.loads((Path(__file__).parent / "seeds.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What clients do wrong is noted, thousands of times."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_every_crowd_talks_to_every_listener() -> None:
    """Nothing breaks, nothing goes on without end, nothing is held, and a well-behaved client notices nothing."""
    seed, frames = FIRST_SEED, 0
    each = min(FRAMES, FRAMES_SHORT // (2 * len(CROWDS)))
    while frames < FRAMES_SHORT:
        frames += Run(seed, each).run().frames
        seed += 1


@pytest.mark.parametrize("crowd", [STOMP, MQTT, WEBSOCKETS], ids=["stomp", "mqtt", "websockets"])
def test_one_protocol_among_the_others(crowd: tuple[str, ...]) -> None:
    """The same with clients of these."""
    seed, frames = FIRST_SEED, 0
    while frames < FRAMES_SHORT // 6:
        frames += Run(seed, min(FRAMES, FRAMES_SHORT // 12), crowd=crowd).run().frames
        seed += 1


@pytest.mark.parametrize(("seed", "frames"), KEPT["runs"])
def test_what_was_found_once_is_not_found_again(seed: int, frames: int) -> None:
    Run(seed, frames).run()


@pytest.mark.parametrize("kept", KEPT["inputs"], ids=lambda kept: kept["found"])
@pytest.mark.parametrize("at_once", [True, False], ids=["whole", "bytes"])
def test_what_once_broke_a_session_does_not(kept: dict[str, Any], at_once: bool) -> None:
    world = World(0, has_users=False)
    wire = world.connect(kept["listener"], Script())
    data = bytes.fromhex(kept["hex"])
    for piece in [data] if at_once else [data[at : at + 1] for at in range(len(data))]:
        wire.push(piece)
    wire.push(bytes(kept.get("then_zeros", 0)))
    world.run_for(1.0)
    world.leave()


def test_the_same_seed_is_the_same_run() -> None:
    first, second = Run(8, 300), Run(8, 300)
    first.run()
    second.run()
    assert first.report.inputs == second.report.inputs
    assert first.world.loop.steps == second.world.loop.steps


def test_a_session_that_fails_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer can see what it is there to see, and says how to see it again."""
    run = Run(4, 500)
    monkeypatch.setattr(run.world.network, "session_failures", 1)
    with pytest.raises(Failed, match="ENTREPOT_SEED=4"):
        run.run()


def test_work_without_end_is_found() -> None:
    world = World(0, has_users=False)

    def again() -> None:
        world.loop.call_soon(again)

    again()
    with pytest.raises(Finding, match="callbacks"):
        world.run_for(1.0)


def test_a_consumer_that_outlives_its_connection_is_found() -> None:
    world = World(0, has_users=False)
    world.kafka_shared.fetch_slots.count += 1
    with pytest.raises(Finding, match="fetch sessions"):
        world.leave()


@contextmanager
def as_a_server_collects() -> Iterator[None]:
    """The collector as a server sets it, and kept away from what the tests themselves hold, which would be most of what it looks at."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.long
@pytest.mark.parametrize("crowd", [(), MQTT, WEBSOCKETS], ids=["all", "mqtt", "websockets"])
def test_a_million_frames(crowd: tuple[str, ...]) -> None:
    """As above, and no step stalls, and memory does not grow."""
    seed, frames, octets, connections = FIRST_SEED, 0, 0, 0
    warm_kib = 0
    stalls: list[str] = []
    while frames < FRAMES_LONG:
        with as_a_server_collects():
            report = Run(seed, min(FRAMES, FRAMES_LONG), measured=True, crowd=crowd).run()
        frames += report.frames
        octets += report.bytes
        connections += report.connections
        if report.longest_s > STALL_MAX_S and len(stalls) < STALLS_KEPT:
            stalls.append(f"seed {seed}: {report.longest_s * 1000:.0f} ms in {report.longest}")
            print(stalls[-1], flush=True)
        seed += 1
        if seed - FIRST_SEED == WARM:
            warm_kib = _peak_kib()
        if (seed - FIRST_SEED) % 100 == 0:
            print(f"{frames:,} frames, {octets >> 20:,} MiB, {connections:,} connections, {_peak_kib() >> 10} MiB at most, {len(stalls)} stalls", flush=True)
    assert not stalls, "\n".join(stalls)
    assert not warm_kib or _peak_kib() - warm_kib < GROWTH_MAX_KIB


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
