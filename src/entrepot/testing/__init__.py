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

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entrepot.protocol_table import endpoints as _endpoints

if TYPE_CHECKING:
    from entrepot.testing.broker import Broker as Broker
    from entrepot.testing.broker import BrokerFailed as BrokerFailed
    from entrepot.testing.endpoints import shared_broker as shared_broker
    from entrepot.testing.namespace import Namespace as Namespace
    from entrepot.testing.offered_functions import *  # noqa: F403

_HOMES = {"Broker": "broker", "BrokerFailed": "broker", "Namespace": "namespace", "shared_broker": "endpoints"}  # imported when they are asked for


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "__all__":
        return sorted(_names())
    if name in _names():
        from entrepot.testing.endpoints import endpoint

        return endpoint(_endpoints()[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_names()})


def _names() -> set[str]:
    """What there is to import: for each protocol a function."""
    return {*_HOMES, *(name for name, offered in _endpoints().items() if offered.client is not None)}
