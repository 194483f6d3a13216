"""The cluster's id: another for every data directory, the same for ever in one."""

import re

import pytest
from broker_bench import Bench

from entrepot.broker.catalogue.cluster_id import CLUSTER_ID_KEY
from entrepot.broker.state import set_value
from entrepot.model.errors import CorruptData


def test_it_is_kept():
    one, other = Bench(1), Bench(2)
    told = one.broker.cluster_id
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", told)
    assert other.broker.cluster_id != told
    one.run()
    assert one.reopen().broker.cluster_id == told


def test_one_of_a_newer_version_stops_the_start():
    bench = Bench()
    bench.store.fold(0, CLUSTER_ID_KEY, set_value(b"\x02" + bytes(16)))
    bench.store.urgent()
    bench.run()
    with pytest.raises(CorruptData, match="newer|cannot read"):
        bench.reopen()
