"""A LocalReader that reads ahead: closed meanwhile and asked again before that has ended, or gone back to what it had read ahead before."""

from typing import Any

import pytest

from both_modes import interpreted
from entrepot.model.entry import CODEC_AMQP_091, StoredEntry, restore_entry, stored_entry

LOG = interpreted("entrepot.store.local.log")


def stored(base: int) -> StoredEntry:
    """Ten records."""
    return stored_entry(base, restore_entry(CODEC_AMQP_091, 1, 0, 10, 10, b""))


class Holes:
    count = 0


class FakeLog:
    """1,000 records, none of them in memory; it is its own store."""

    first_offset = 0
    durable_offset = 1000
    holes_set = Holes()
    dropped = False

    def __init__(self) -> None:
        self.store = self
        self.asked: list[int] = []

    def tail_first(self) -> int:
        return 1000

    def dead(self, first: int, end: int) -> bool:
        return False

    def fetch(self, reader: Any, offset: int) -> None:
        self.asked.append(offset)


@pytest.mark.parametrize("wanted", [0, 70, 150, 400])
def test_what_is_asked_for_after_close_comes_though_it_was_reading_ahead(wanted: int) -> None:
    log = FakeLog()
    reader = LOG.LocalReader(log)
    heard: list[str] = []
    reader.fetch(0, lambda: heard.append("first"))
    reader.loaded(0, 100, [stored(base) for base in range(0, 100, 10)])
    for offset in range(0, 70, 10):
        assert reader.at(offset).base == offset
    assert log.asked == [0, 100]
    reader.close()
    reader.fetch(wanted, lambda: heard.append("again"))
    reader.loaded(100, 200, [stored(base) for base in range(100, 200, 10)])
    assert log.asked == [0, 100, wanted]
    reader.loaded(wanted, wanted + 50, [stored(base) for base in range(wanted, wanted + 50, 10)])
    assert heard == ["first", "again"]
    assert reader.at(wanted).base == wanted


def test_what_was_ahead_of_an_earlier_stretch_is_no_part_of_what_is_read_ahead_now() -> None:
    log = FakeLog()
    reader = LOG.LocalReader(log)
    reader.fetch(0, lambda: None)
    reader.loaded(0, 100, [stored(base) for base in range(0, 100, 10)])
    assert reader.at(90).base == 90
    reader.loaded(100, 200, [stored(base) for base in range(100, 200, 10)])  # ahead
    reader.fetch(300, lambda: None)
    reader.loaded(300, 400, [stored(base) for base in range(300, 400, 10)])
    assert reader.at(390).base == 390
    assert log.asked == [0, 100, 300, 400]
    back = reader.at(150)
    assert back is None or back.base == 150
    reader.loaded(400, 500, [stored(base) for base in range(400, 500, 10)])
    for offset in (210, 350, 390):
        found = reader.at(offset)
        assert found is None or found.base == offset
