"""A process of several, as a whole: who is dead, who is waited for, and what becomes of what fails. The others are whole processes, too."""

from __future__ import annotations

from typing import Any

import pytest

from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.cluster.greeting import HEAD_SIZE
from entrepot.cluster.member import REFUSED_MAX, REFUSED_S, Member
from entrepot.cluster.owners.crossing import RETURN_S, Crossing
from entrepot.cluster.owners.returning import LIMIT_S
from entrepot.model.errors import CorruptData, Unavailable
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.crashing_run import Everyone
from entrepot.simulation.linked_owners import give
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.workers import Worker, Workers
from entrepot.store.local.settings import StoreSettings


class Ended(Exception):
    """A start is to be ended."""


def three(seed: int = 1) -> Workers:
    loop = SimulatedLoop(seed)
    limits = QuotaLimits()
    workers = Workers(loop, 3, codecs=[AmqpEntryCodec()], authorizer=Everyone(), settings=StoreSettings(), limits=limits)
    workers.start()
    return workers


def gone(workers: Workers, worker: Worker) -> bytes:
    """It is dead, as the others have heard, and nobody starts it again; its start."""
    start = worker.place.start_id
    worker.kill()
    worker.disk.kill()
    workers._dead(worker.name, start)
    workers.loop.run_for(0.1)
    return start


def is_ready(worker: Worker) -> bool:
    return worker.member.why_not_ready is None


def condemned(worker: Worker) -> list[str]:
    """Whom it condemns from now on."""
    found: list[str] = []
    worker.member._on_condemned = lambda name, start, why: found.append(name)
    return found


def test_who_is_down_when_a_start_begins_is_not_waited_for() -> None:
    workers = three()
    w0, w1, _ = workers.all
    gone(workers, w1)
    gone(workers, w0)
    began_s = workers.loop.time()
    w0.start()
    workers.loop.run_until(lambda: is_ready(w0), 10)
    assert workers.loop.time() - began_s < LIMIT_S / 2
    w1.start()
    workers.loop.run_until(lambda: is_ready(w1), 10)


def test_a_process_that_is_not_said_to_be_down_is_waited_for() -> None:
    workers = three()
    w0, w1, _ = workers.all
    gone(workers, w1)
    gone(workers, w0)
    w1.is_noticed = False
    w0.start()
    workers.loop.run_for(60)
    assert w0.member.why_not_ready == "the catalogue's decisions begin in a moment"
    w1.start()
    workers.loop.run_until(lambda: is_ready(w0) and is_ready(w1), 10)


def test_all_starts_up_to_one_that_is_dead_are_dead() -> None:
    workers = three()
    w0, w1, _ = workers.all
    first = w1.place.start_id
    later = (int.from_bytes(first[:8], "big") + 5).to_bytes(8, "big") + bytes(8)
    w0.member.dead("w1", later)
    assert "w1" not in w0.member.links
    for start in (first, later):
        with pytest.raises(CorruptData, match="declared dead"):
            w0.member.admit("w1", start)
    w0.member.dead("w1", first)
    assert len(w0.member._dead) == 1


def test_a_word_of_an_earlier_start_s_death_does_nothing_to_the_one_that_lives() -> None:
    workers = three()
    w0, w1, _ = workers.all
    first = gone(workers, w1)
    w0.member._dead.clear()
    w1.start()
    workers.loop.run_until(lambda: is_ready(w1), 10)
    w0.member.dead("w1", first)
    assert w0.member.links["w1"].peer == w1.place.start_id


@pytest.mark.parametrize("what", ["handovers", "deciding"])
def test_a_link_that_fails_as_it_begins_ends_that_start(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    workers = three()
    w0, w1, _ = workers.all
    gone(workers, w1)
    found = condemned(w0)

    def linked(link: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(w0.member._handovers if what == "handovers" else w0.member.deciding, "linked", linked)
        w1.start()
        workers.loop.run_for(0.5)
    assert found == ["w1"]
    assert "w1" not in w0.member.links
    gone(workers, w1)
    w1.start()
    workers.loop.run_until(lambda: is_ready(w0) and is_ready(w1), 10)


def test_whoever_cannot_be_declared_dead_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = three()
    w0 = workers.all[0]
    found = condemned(w0)

    def dead(crossing: Crossing, returns: bool = False) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Crossing, "dead", dead)
    with pytest.raises(KeyError):
        w0.member.frames(w0.member.links["w1"], [b"\xff\xff"])
    assert found == ["w1"]


def test_a_process_that_is_about_to_end_heeds_and_condemns_nobody() -> None:
    workers = three()
    w0, w1, w2 = workers.all
    found = condemned(w2)
    w2.member.stop()
    w2.member.frames(w2.member.links["w0"], [b"\xff\xff"])
    w2.member._broken(w2.member.links["w0"], CorruptData("late"))
    w2.member.dead("w1", w1.place.start_id)
    assert not found
    assert sorted(w2.member.links) == ["w0", "w1"]
    assert is_ready(w0)


def test_what_was_said_last_has_come_before_a_process_says_that_its_clients_are_gone() -> None:
    workers = three()
    w1, w2 = workers.all[1:]
    workers.loop.run_until(lambda: not w2.member.has_more_to_say, 1)
    link = w2.member.links["w1"]
    had = w1.member.links["w2"].received
    link.send(b"\x00" * 2)
    sent = link.sent
    w1.member.frames = lambda link, found: None  # type: ignore[method-assign]
    assert w2.member.has_more_to_say
    workers.loop.run_until(lambda: not w2.member.has_more_to_say, 1)
    assert w1.member.links["w2"].received >= had + 1
    assert link.acknowledged >= sent
    link.send(b"\x00" * 2)
    workers.network.break_between("w1", "w2")
    workers.loop.run_until(lambda: "w1" not in w2.member.sessions, 1)
    assert not w2.member.has_more_to_say or w2.member.links["w0"].held_bytes


def test_nothing_is_heeded_of_a_start_that_a_frame_before_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = three()
    member: Member = workers.all[0].member
    crossing = member._owners.crossings["w1"]
    heeded: list[bytes] = []

    class Served:
        """Is ended by whatever it is asked."""

        def heed(self, frame: bytes) -> None:
            heeded.append(frame)
            crossing.dead()

        def flush(self) -> None:
            heeded.append(b"flush")

        def dead(self) -> None:
            """See ServedOwner."""

    served: Any = [crossing.served[0], Served()]
    monkeypatch.setattr(crossing, "served", served)
    crossing.heed([b"\x01\x01", b"\x02\x01"])
    assert heeded == [b"\x01\x01", b"flush"]


def test_one_that_does_not_return_is_given_up_once() -> None:
    workers = three()
    w0, w1, _ = workers.all
    gone(workers, w1)
    workers.loop.run_for(RETURN_S - 1)
    w1.start()
    workers.loop.run_until(lambda: is_ready(w1), 10)
    workers.loop.run_for(RETURN_S)  # the time of the start before is over: it has returned
    assert "w1" in w0.member._owners.crossings
    gone(workers, w1)
    workers.loop.run_for(RETURN_S + 1)
    assert "w1" not in w0.member._owners.crossings
    w1.start()
    workers.loop.run_until(lambda: is_ready(w1) and "w1" in w0.member._owners.crossings, 10)


def test_of_connections_that_are_refused_so_many_are_told_of() -> None:
    workers = three()
    member: Member = workers.all[0].member
    told: list[str] = []
    member._journal = told.append
    for _ in range(REFUSED_MAX * 5):
        give(member.session(None, lambda: None), bytes(HEAD_SIZE))
    assert len(told) == REFUSED_MAX
    workers.loop.run_for(REFUSED_S * 1.1)
    give(member.session(None, lambda: None), bytes(HEAD_SIZE))
    assert told[REFUSED_MAX:] == [f"link refused: {REFUSED_MAX * 4} times more", told[0]]


@pytest.mark.parametrize("returns", [True, False])
def test_a_start_that_finds_another_process_down_waits_for_it_too(returns: bool) -> None:
    workers = three()
    _, w1, w2 = workers.all
    gone(workers, w2)
    gone(workers, w1)
    w1.start()
    workers.loop.run_until(lambda: is_ready(w1), 10)
    assert w1.broker is not None
    answers: list[object] = []
    w1.broker.owners.owner_of(2).count([bytes(16)], lambda error, ready, consumers: answers.append(type(error)))
    workers.loop.run_for(5)
    assert answers == []
    if returns:
        w2.start()
        workers.loop.run_until(lambda: bool(answers), 10)
        return
    workers.loop.run_for(RETURN_S)
    assert answers == [Unavailable]
    with pytest.raises(Unavailable):
        w1.broker.owners.owner_of(2)


def test_no_two_starts_of_who_decides_have_one_epoch_that_others_heard_of() -> None:
    """Killed twice in quick succession: who followed may not take what the second says for a continuation of what the first said."""
    workers = three()
    w0, w1, _ = workers.all
    heard = []
    for after_s in (0.003, 0.01, 0.02, 0.05, 0.1, 0.3, 0.3):
        gone(workers, w0)
        w0.disk.crash()
        w0.start()
        heard.append(set())
        for _ in range(int(after_s * 1000)):
            workers.loop.run_for(0.001)
            heard[-1].add((w1.member.following.epoch, w1.member.following.link is w1.member.links.get("w0") is not None))
    epochs = [{epoch for epoch, is_its in found if is_its} for found in heard]
    assert any(epochs)
    assert all(not (one & other) for number, one in enumerate(epochs) for other in epochs[:number])
    workers.settle()
