"""Kafka's listener in a real process: which address clients are told, who comes in, whose topics they see, what is counted."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from entrepot.testing import Broker, BrokerFailed


def admin(broker, **more):
    return AdminClient({"bootstrap.servers": broker.kafka_bootstrap, "log_level": 0, **more})


def login(name, password, mechanism="PLAIN"):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": name, "sasl.password": password}


def with_users(tmp_path: Path, text: str) -> Broker:
    file = tmp_path / "entrepot.toml"
    file.write_text(text, "utf-8")
    return Broker(listeners=("kafka", "http"), arguments=("--config", str(file)))


def nodes_told(broker):
    return sorted((node.id, node.host, node.port) for node in admin(broker).list_topics(timeout=20).brokers.values())


def test_clients_are_told_the_address_they_connected_to_unless_another_is_set():
    with Broker(listeners=("kafka",), workers=1) as broker:  # each of several has an address of its own
        assert nodes_told(broker) == [(1, "127.0.0.1", broker.kafka_port)]
    with Broker(listeners=("kafka",), settings={"kafka.advertised": "kafka.example:1234", "kafka.node_id": 7}, workers=1) as broker:
        assert nodes_told(broker) == [(7, "kafka.example", 1234)]


def test_each_worker_has_an_address_behind_the_one_that_is_advertised():
    with socket.create_server(("127.0.0.1", 0)) as free:
        ports = {"kafka": free.getsockname()[1]}
    with Broker(ports=ports, listeners=(), settings={"kafka.advertised": "kafka.example:1234", "kafka.node_id": 7}, workers=2) as broker:
        first, second = nodes_told(broker)
        assert (first[:2], second[:2]) == ((7, "kafka.example"), (8, "kafka.example"))
        assert (first[2] - 1235) % 100 == 0  # by the rule, if nobody has these ports
        assert second[2] - first[2] == 1


def test_an_advertised_address_that_is_none_is_refused_at_start():
    with pytest.raises(BrokerFailed, match="kafka.advertised = 'nonsense'"):
        Broker(listeners=("kafka",), settings={"kafka.advertised": "nonsense"}).start()


def test_with_users_nobody_comes_in_without_a_login_and_each_sees_his_namespace(tmp_path):
    text = 'namespaces = ["public/default", "team/a"]\n[users.ann]\npassword = "secret"\n[users.bob]\npassword = "hidden"\nnamespaces = ["team/a"]\n'
    with with_users(tmp_path, text) as broker:
        with pytest.raises(KafkaException):
            admin(broker).list_topics(timeout=2)
        with pytest.raises(KafkaException):
            admin(broker, **login("ann", "wrong")).list_topics(timeout=2)
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            producer = Producer({"bootstrap.servers": broker.kafka_bootstrap, "log_level": 0, **login("ann", "secret", mechanism)})
            producer.produce("anns", b"x")
            assert producer.flush(20) == 0
        assert "anns" in admin(broker, **login("ann", "secret")).list_topics(timeout=20).topics
        assert "anns" not in admin(broker, **login("bob", "hidden", "SCRAM-SHA-512")).list_topics(timeout=20).topics
        with urllib.request.urlopen(f"{broker.http_url}/metrics") as answer:
            figures = answer.read().decode()
        assert 'entrepot_kafka_requests_total{api="Produce"}' in figures
        assert 'entrepot_kafka_errors_total{api="SaslAuthenticate"} 0.0' not in figures
        assert "Metadata before authentication" in broker.log
