"""Where several nodes are told to be, and a listener that does not know it yet."""

from __future__ import annotations

import pytest
from kafka_bench import Client
from test_handlers import exchange, metadata

from entrepot.broker.catalogue.shards import Shards
from entrepot.model.errors import Refused
from entrepot.model.nodes import Nodes
from entrepot.protocols.kafka.cluster import check_ids, told_addresses
from entrepot.protocols.kafka.error_codes import ErrorCode


def told(*own, advertised=None, listen=9092):
    return told_addresses(Nodes(0, len(own), {"kafka": own}), "kafka", listen, advertised)


def test_nodes_are_told_where_they_listen():
    assert told(("10.0.0.1", 9093), ("kafka.example", 9094)) == [("10.0.0.1", 9093), ("kafka.example", 9094)]
    assert told_addresses(Nodes(0, 2, {}), "kafka", 9092, None) == []


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_who_listens_everywhere_is_where_it_was_reached(host):
    addresses = told((host, 9093), (host, 9094))
    assert addresses == [("", 9093), ("", 9094)]
    client = Client(nodes=Nodes(1, 2), addresses=addresses)
    _, answer = exchange(client, "Metadata", 12, metadata([]))
    assert [(broker["node_id"], broker["host"], broker["port"]) for broker in answer["brokers"]] == [(1, "10.0.0.1", 9093), (2, "10.0.0.1", 9094)]


def test_behind_what_is_advertised_nodes_are_as_far_as_behind_the_listener():
    assert told(("0.0.0.0", 9193), ("0.0.0.0", 9194), advertised=("kafka.example", 19092)) == [("kafka.example", 19193), ("kafka.example", 19194)]


def test_there_may_be_no_such_ports_and_no_such_ids():
    assert told(("", 9193), advertised=("h", 65_434)) == [("h", 65_535)]
    for port in (65_435, 1):
        with pytest.raises(Refused):
            told(("", 9193), ("", 9000), advertised=("h", port))
    check_ids(Nodes(0, 3), 0x7FFFFFFD)
    with pytest.raises(Refused):
        check_ids(Nodes(0, 3), 0x7FFFFFFE)


def test_while_it_is_not_known_where_others_are_a_node_tells_of_itself():
    client = Client(nodes=Nodes(1, 3), node_id=5)
    client.port.shards = Shards(256)
    _, answer = exchange(client, "Metadata", 12, metadata([]))
    assert [(broker["node_id"], broker["host"], broker["port"]) for broker in answer["brokers"]] == [(6, "10.0.0.1", 9092)]
    names = [f"g{number}" for number in range(30)]
    _, answer = exchange(client, "FindCoordinator", 6, {"key_type": 0, "coordinator_keys": names})
    found = {(row["node_id"], row["error_code"]) for row in answer["coordinators"]}
    assert found == {(6, 0), (-1, ErrorCode.COORDINATOR_NOT_AVAILABLE)}
