"""What type checkers and editors know of the protocols' endpoints beforehand. Nothing of it runs: what is not here is offered all the same, as Any."""

from __future__ import annotations


class Offered:
    """Attributes of a Broker and of a Namespace, where that listener is."""

    amqp_port: int
    amqp_url: str
    kafka_port: int
    kafka_bootstrap: str
    sqs_port: int
    sqs_url: str
    credentials: dict[str, str]
    stomp_port: int
    stomp_address: tuple[str, int]
    stomp_host: str
    mqtt_port: int
    mqtt_address: tuple[str, int]
    mqtt_user: str
    http_url: str
