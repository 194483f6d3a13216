"""A real broker for anybody's test suite, on free ports and a temporary directory, in about a second.

    from entrepot.testing import sqs
    with sqs():                                    # as moto's mock_aws, but every SDK, and a broker
        boto3.client("sqs").create_queue(QueueName="orders")

    from entrepot.testing import Broker
    with Broker() as broker:                       # a broker of one's own, to restart or kill
        pika.BlockingConnection(pika.URLParameters(broker.amqp_url))

sqs(), kafka() and amqp() share one broker for the whole process, and are namespaces of their own: an SQS account, a Kafka listener, a virtual host.
With pytest the fixtures `entrepot_sqs`, `entrepot_kafka`, `entrepot_amqp`, `entrepot_namespace` (all three of one namespace) and
`entrepot_broker` are there as soon as Entrepot is installed (plugin.py).
"""

from entrepot.testing.broker import Broker, BrokerFailed
from entrepot.testing.endpoints import amqp, kafka, shared_broker, sqs
from entrepot.testing.namespace import Namespace

__all__ = ["Broker", "BrokerFailed", "Namespace", "amqp", "kafka", "shared_broker", "sqs"]
