"""A real broker for anybody's test suite, on free ports and a temporary directory, in under a second.

    from entrepot.testing import Broker
    with Broker() as broker:
        pika.BlockingConnection(pika.URLParameters(broker.amqp_url))

With pytest the fixtures `entrepot_broker`, `entrepot_amqp_url` and `entrepot_kafka_bootstrap` are there as soon as Entrepot is installed (plugin.py).
"""

from entrepot.testing.broker import Broker, BrokerFailed

__all__ = ["Broker", "BrokerFailed"]
