"""A real broker for anybody's test suite, on free ports and a temporary directory, in about a second.

    from entrepot.testing import sqs
    with sqs():                                    # as moto's mock_aws, but every SDK, and a broker
        boto3.client("sqs").create_queue(QueueName="orders")

    from entrepot.testing import Broker
    with Broker() as broker:                       # a broker of one's own, to restart or kill
        pika.BlockingConnection(pika.URLParameters(broker.amqp_url))

sqs(), kafka() and amqp() share one broker for the whole process, and are namespaces of their own: an SQS account, a Kafka listener, a virtual host.
With pytest the fixtures `entrepot_sqs`, `entrepot_kafka`, `entrepot_amqp`, `entrepot_namespace` (all three of one namespace) and
`entrepot_broker` are there as soon as Entrepot is installed (plugin.py). Which protocols there are, entrepot.protocol_table says.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from entrepot import protocol_table
from entrepot.testing.broker import Broker, BrokerFailed
from entrepot.testing.endpoints import endpoint, shared_broker
from entrepot.testing.namespace import Namespace

_FUNCTIONS = {name: endpoint(offered) for name, offered in protocol_table.endpoints().items() if offered.client is not None}

__all__ = ["Broker", "BrokerFailed", "Namespace", "shared_broker", *_FUNCTIONS]


def __getattr__(name: str) -> Callable[[], AbstractContextManager[Any]]:
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS})
