"""That a FramedOwner lets nothing live by: then what goes through it could go to another process."""

import pytest
from broker_bench import Bench

from entrepot.simulation.framed_owner import FramedOwnerTable
from entrepot.simulation.frames import carried


def test_what_is_published_goes_over_as_octets(monkeypatch):
    monkeypatch.setattr(Bench, "owners", FramedOwnerTable)
    bench = Bench()
    me = bench.connect()
    me.declare()
    owners = bench.broker.owners
    framed = owners.framed[owners.durable]
    before = framed.frame_count
    assert me.put(b"x").nacked is None
    assert framed.frame_count > before
    assert bench.queue().depth() == 1


def test_what_is_live_does_not():
    bench = Bench()
    me = bench.connect()
    me.declare()
    assert carried(1, b"x", [None, ("y", True)]) == (1, b"x", [None, ("y", True)])
    for live in (bench.queue(), bench.queue().definition, me.door, bench.broker.owners.home, bench.broker.owners.home.lane(b"\0\0", [])):
        with pytest.raises(ValueError, match="unmarshallable"):
            carried(live)
