"""Snapshots in pieces: whatever changes amid them, who has taken them in has what there is."""

import random

import pytest
from memory_state import LogIds, MemoryState
from test_catalogue_stream import History, declare, rows_of
from test_quotas_model import Declaring

from entrepot.broker.catalogue import snapshots
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import KIND_SIZE, Revision, Row, decode_change, difference
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.kept_definitions import QUEUE_KEY, named_key
from entrepot.broker.catalogue.snapshots import Arriving, take_in
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.model.errors import CorruptData, Refused

NS = "public/default"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(snapshots, "PIECE_ROWS", 3)


def apply_at_once(rows, apply):
    apply()
    yield 0


class Taker:
    """A member that puts pieces and changes together when it likes. `cut()` asks for the next piece."""

    def __init__(self):
        self.catalogue = Catalogue()
        self.waiting = []
        self.cuts = None
        self.arriving = None
        self.begun = False
        self.room = True
        self.pieces = 0

    def run(self, pieces):
        self.cuts = pieces

    def cut(self):
        return next(self.cuts, None)

    def has_room(self, pending):
        return self.room

    def restart(self, snapshot):
        raise AssertionError

    def piece(self, piece, number, is_last):
        self.waiting.append((number, is_last, piece))

    def take(self, change):
        self.waiting.append((None, False, change))

    def take_one(self):
        """Whether it is as far as a revision now."""
        number, is_last, data = self.waiting.pop(0)
        revision, rows = decode_change(data)
        if number is None:
            if self.arriving is not None:
                self.arriving.change(revision, rows)
            elif self.begun:
                self.catalogue.apply(revision, rows)
            return self.begun and self.arriving is None
        if number == 0:
            self.arriving = Arriving()
            self.pieces = 0
        self.pieces += 1
        self.arriving.piece(number, revision, rows)
        if not is_last:
            return False
        arrived, self.arriving = self.arriving, None
        for _ in take_in(arrived, [self.catalogue], apply_at_once, lambda _: None):
            pass
        self.begun = True
        return True


def go(seed, steps=400, joins=0.01):
    """A run in which takers join, and join anew, amid changes and pieces."""
    run = Declaring(seed)
    chance = random.Random(seed)
    history = History(run.catalogue)
    run.stream.add(history)
    takers = [Taker() for _ in range(3)]
    pieces = 0
    for _ in range(steps):
        for number, taker in enumerate(takers):
            if chance.random() < joins:
                run.stream.join_by_pieces(number, taker, taker.run)
            if taker.cuts is not None and chance.random() < 0.5:
                taker.cut()
        try:
            run.step()
        except Refused:
            pass
        if chance.random() < 0.4:
            run.state.commit()
        for taker in takers:
            while taker.waiting and chance.random() < 0.6:
                if taker.take_one():
                    assert rows_of(taker.catalogue) == history.seen[taker.catalogue.revision]
                    pieces = max(pieces, taker.pieces)
    for taker in takers:
        while taker.cuts is not None and taker.cut():
            pass
    run.state.commit()
    for taker in takers:
        while taker.waiting:
            taker.take_one()
        assert not taker.cuts or rows_of(taker.catalogue) == rows_of(run.catalogue)
        assert not taker.cuts or taker.catalogue.statistics() == run.catalogue.statistics()
    return pieces


@pytest.mark.parametrize("seed", range(20))
def test_what_is_put_together_is_what_there_is(small, seed):
    assert go(seed) > 1


def seen(seeds=range(20)):
    for seed in seeds:
        try:
            go(seed)
        except (AssertionError, CorruptData):
            return True
    return False


@pytest.mark.once
def test_rows_of_before_are_seen(small, monkeypatch):
    monkeypatch.setattr(Catalogue, "rows", lambda self, right=Catalogue.rows: iter(list(right(self))))
    assert seen()


@pytest.mark.once
def test_changes_amid_pieces_that_are_passed_over_are_seen(small, monkeypatch):
    monkeypatch.setattr(Arriving, "change", lambda self, revision, rows: None)
    assert seen()


@pytest.mark.once
def test_pieces_that_overtake_changes_are_seen(small, monkeypatch):
    monkeypatch.setattr(CatalogueStream, "_send_piece", lambda *_: None)

    def cut(self, name, cutting):
        for number, (piece, is_last) in enumerate(snapshots.cut(self._parts, lambda: self.revision)):
            cutting.member.piece(piece, number, is_last)
            yield True

    monkeypatch.setattr(CatalogueStream, "_cut", cut)
    assert seen()


def test_what_goes_while_it_comes_is_not_there(small, monkeypatch):
    """Of each kind the row is told, and then that it is gone."""
    monkeypatch.setattr(snapshots, "PIECE_ROWS", 1)
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    queues = [declare(decisions, f"q{number}") for number in range(4)]
    taker = Taker()
    decisions.stream.join_by_pieces("one", taker, taker.run)
    taker.cut()
    taker.cut()
    for queue in queues[:3]:
        decisions.remove_queue(queue)
    declare(decisions, "q1")
    while taker.cut():
        pass
    assert taker.waiting == []
    decisions.stream.store.commit()
    while taker.waiting:
        taker.take_one()
    assert sorted(taker.catalogue.namespace(NS).queues) == ["q1", "q3"]
    assert rows_of(taker.catalogue) == rows_of(decisions.catalogue)


def test_nothing_is_cut_while_there_is_no_room_nor_for_who_has_left(small):
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    for number in range(10):
        declare(decisions, f"q{number}")
    taker = Taker()
    taker.room = False
    decisions.stream.join_by_pieces("one", taker, taker.run)
    assert [taker.cut(), taker.cut()] == [False, False]
    taker.room = True
    assert taker.cut() is True
    first = taker.cuts
    decisions.stream.join_by_pieces("one", taker, taker.run)
    assert next(first, None) is None
    assert taker.cut() is True
    decisions.stream.store.commit()
    assert [number for number, _, _ in taker.waiting] == [0]
    decisions.stream.leave("one")
    assert taker.cut() is None


def test_a_shard_that_opens_again_has_them_cut_anew(small):
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    for number in range(10):
        declare(decisions, f"q{number}")
    taker = Taker()
    decisions.stream.join_by_pieces("one", taker, taker.run)
    taker.cut()
    decisions.stream.store.commit()
    decisions.stream.store.epoch = 2
    decisions.stream.reload()
    while taker.cut():
        pass
    decisions.stream.store.commit()
    while taker.waiting:
        taker.take_one()
    assert taker.catalogue.revision == Revision(2, 0)
    assert rows_of(taker.catalogue) == rows_of(decisions.catalogue)


def row(name, **fields):
    return Row(named_key(QUEUE_KEY, NS, name), fields)


def test_pieces_and_changes_out_of_order_are_corrupt():
    for wrong in (
        lambda it: it.piece(1, Revision(1, 5), []),
        lambda it: it.piece(0, Revision(1, 5), []),
        lambda it: it.piece(3, Revision(1, 5), []),
        lambda it: it.piece(2, Revision(1, 4), []),
        lambda it: it.change(Revision(1, 5), []),
    ):
        arriving = Arriving()
        arriving.piece(0, Revision(1, 3), [row("a")])
        arriving.piece(1, Revision(1, 5), [row("b")])
        with pytest.raises(CorruptData):
            wrong(arriving)


class Holding:
    """A part that holds rows."""

    prefixes = (b"c:a", b"c:b", b"c:c")

    def __init__(self, rows):
        self.held = {row.key: row for row in rows}
        self.applied = []

    def rows(self):
        return iter(list(self.held.values()))

    def apply(self, revision, rows, *, more=False):
        self.applied.append((revision, list(rows), more))
        for one in rows:
            if one.gone:
                del self.held[one.key]
            else:
                self.held[one.key] = one


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("at_once", [0, 10, 1000])
def test_the_difference_is_taken_in_in_its_order(monkeypatch, seed, at_once):
    monkeypatch.setattr(snapshots, "AT_ONCE", at_once)
    monkeypatch.setattr(snapshots, "SLICE", 3)
    chance = random.Random(seed)

    def some():
        return [Row(bytes(prefix) + b"%d" % number, {"x": chance.randrange(3)}) for prefix in Holding.prefixes for number in range(9) if chance.random() < 0.5]

    here, wanted = some(), some()
    part = Holding(here)
    arriving = Arriving()
    arriving.piece(0, Revision(1, 1), wanted)
    told = []
    for _ in take_in(arriving, [part], apply_at_once, told.append):
        assert told == []
    assert sorted(part.held.values()) == sorted(wanted)
    expected = difference(Holding.prefixes, here, wanted)
    found = [one for _, rows, _ in part.applied for one in rows]
    assert sorted(found) == sorted(expected)
    assert [(one.gone, one.key[:KIND_SIZE]) for one in found] == [(one.gone, one.key[:KIND_SIZE]) for one in expected]
    assert [more for _, _, more in part.applied][-1] is False
    assert told == [Revision(1, 1)]
    if sum(map(snapshots.weight, expected)) > at_once:
        assert max(len(rows) for _, rows, _ in part.applied) <= 3
        assert part.applied[-1][1] == []
    else:
        assert len(part.applied) == 1
