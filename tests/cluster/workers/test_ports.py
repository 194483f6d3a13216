"""Where workers listen for themselves."""

from __future__ import annotations

import pytest

from entrepot.cluster.workers.place import WorkerPlace
from entrepot.cluster.workers.ports import own_addresses
from entrepot.model.errors import Reason, Refused
from entrepot.model.nodes import Nodes

KAFKA = ("kafka", "kafkas")


def own_ports(count, **ports):
    listen = {name: f"127.0.0.1:{port}" if port is not None else "" for name, port in ports.items()}
    found = own_addresses(listen, KAFKA, count)
    return {name: [int(where.removeprefix("127.0.0.1:")) for where in workers] for name, workers in found.items()}


def test_own_ports_follow_the_one_that_is_shared():
    assert own_ports(3, kafka=9092, amqp=5672) == {"kafka": [9093, 9094, 9095]}
    assert own_ports(1, kafka=9092, kafkas=None) == {"kafka": [9093]}


def test_where_one_is_taken_all_are_further_on():
    assert own_ports(3, kafka=9092, kafkas=9093) == {"kafka": [9193, 9194, 9195], "kafkas": [9094, 9095, 9096]}
    assert own_ports(2, kafka=9092, kafkas=9095) == {"kafka": [9093, 9094], "kafkas": [9096, 9097]}
    assert own_ports(2, kafka=9092, http=9094, sqs=9193) == {"kafka": [9293, 9294]}
    assert own_addresses({"kafka": "h:9092"}, KAFKA, 2, in_use=[9094, 9193]) == {"kafka": ["h:9293", "h:9294"]}


@pytest.mark.parametrize("apart", range(1, 8))
@pytest.mark.parametrize("count", [1, 2, 5, 150])
def test_nobody_has_the_port_of_another(apart, count):
    for kafkas in (9092 + apart, 9092 - apart):
        found = own_ports(count, kafka=9092, kafkas=kafkas, http=9100)
        ports = [port for workers in found.values() for port in workers]
        assert len({*ports, 9092, kafkas, 9100}) == 2 * count + 3
        assert [len(workers) for workers in found.values()] == [count, count]


def test_a_free_port_is_a_free_one_for_each():
    assert own_ports(2, kafka=0, kafkas=0) == {"kafka": [0, 0], "kafkas": [0, 0]}


def test_hosts_stay():
    assert own_addresses({"kafka": "[::1]:9092"}, KAFKA, 2) == {"kafka": ["[::1]:9093", "[::1]:9094"]}


def test_there_may_be_no_room():
    assert own_ports(2, kafka=65_533) == {"kafka": [65_534, 65_535]}
    with pytest.raises(Refused) as refused:
        own_ports(3, kafka=65_533)
    assert refused.value.reason is Reason.INVALID


def test_a_worker_knows_its_nodes():
    place = WorkerPlace(number=1, count=2, start="00" * 16, data="d", own={"kafka": ["127.0.0.1:9093", "[::1]:9094"]})
    assert place.nodes() == Nodes(1, 2, {"kafka": [("127.0.0.1", 9093), ("::1", 9094)]})
