"""A real broker for anybody's test suite, on free ports and a temporary directory, in under a second.

    from entrepot.testing import Broker
    with Broker() as broker:
        pika.BlockingConnection(pika.URLParameters(broker.amqp_url))

With pytest the fixtures `entrepot_broker` and `entrepot_amqp_url` are there as soon as Entrepot is installed (plugin.py).
"""

from entrepot.testing.broker import Broker, BrokerFailed

__all__ = ["Broker", "BrokerFailed"]
