"""What Apache Kafka's protocol needs: its listeners and settings, and how it is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from entrepot.model.listeners import ListenerKind
from entrepot.protocol import BrokerTerms, Protocol, Site, Speaker
from entrepot.settings import Config, Section, address, key

if TYPE_CHECKING:
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.protocols.kafka.listener import KafkaListener

KAFKA = "Kafka"  # what it looks like

_SIZE_MAX = 1 << 24  # of a connection's first request
_KEY_MAX = 127
_VERSION_MAX = 31


class KafkaSection(Section, frozen=True):
    """Apache Kafka."""

    node_id: Annotated[int, key("the broker's id, as clients see it (broker.id)", least=0, most=0x7FFFFFFF)] = 1
    advertised: Annotated[
        str,
        key(
            "address that clients of listen.kafka are told to connect to, as HOST:PORT: where it is not the one at which they arrive (a port forwarded to "
            "another number, a container); empty: that one (advertised.listeners)"
        ),
    ] = ""
    advertised_tls: Annotated[str, key("the same of listen.kafkas")] = ""
    namespace: Annotated[str, key("namespace of connections whose user may use it, or may use all")] = "public/default"
    create_topics: Annotated[bool, key("topics are made when a client that wants it first asks for them (auto.create.topics.enable)")] = True
    partitions: Annotated[int, key("partitions of a topic whose maker does not say (num.partitions)", unit="partitions", least=1, most=10_000)] = 1
    retention_ms: Annotated[
        int, key("how long topics that Kafka's clients make keep their records, unless they say otherwise; -1 for ever (log.retention.ms)", unit="ms", least=-1)
    ] = 604_800_000
    producer_idle_ms: Annotated[
        int,
        key(
            "silence after which the sequence of a producer is forgotten (producer.id.expiration.ms); from five minutes on where limits are reached",
            unit="ms",
            least=1,
        ),
    ] = 86_400_000
    idle_s: Annotated[int, key("silence after which a connection is closed (connections.max.idle.ms)", unit="s", least=1, most=86_400 * 30)] = 600


class KafkaLimits(Section, frozen=True):
    """What is Kafka's alone of [limits]."""

    after: ClassVar[str] = "message_bytes"

    unpacked_batch_bytes: Annotated[
        int, key("one compressed Kafka record batch, unpacked", unit="bytes", at="a larger one is refused", least=1 << 16, most=1 << 30)
    ] = 64 << 20
    kafka_produce_bytes: Annotated[
        int,
        key("one Produce request (socket.request.max.bytes)", unit="bytes", at="its connection is closed", least=1 << 20, most=1 << 30),
    ] = 100 << 20
    kafka_request_bytes: Annotated[int, key("any other Kafka request", unit="bytes", at="its connection is closed", least=1 << 16, most=1 << 30)] = 16 << 20
    kafka_fetch_bytes: Annotated[
        int, key("records in one answer to a Fetch (fetch.max.bytes)", unit="bytes", at="the rest comes with the next one", least=1 << 16, most=1 << 30)
    ] = 55 << 20


def looks_like_kafka(first: bytes) -> bool:
    """Whether a request begins there: a size, an API key and its version."""
    if len(first) < 8 or int.from_bytes(first[:4], "big") not in range(8, _SIZE_MAX) or first[4] or first[6]:
        return False
    return first[5] <= _KEY_MAX and first[7] <= _VERSION_MAX


def speak(site: Site) -> Speaker:
    """Imported only where somebody listens: it is a large package."""
    from entrepot.protocols.kafka.checking import Checks
    from entrepot.protocols.kafka.cluster import check_ids, told_addresses
    from entrepot.protocols.kafka.figures import register
    from entrepot.protocols.kafka.listener import KafkaListener
    from entrepot.protocols.kafka.record_batch import BatchValidator
    from entrepot.protocols.kafka.session import Settings, Shared

    config, network = site.config, site.network
    kafka, limits = config.of(KafkaSection), config.of(KafkaLimits)
    check_ids(site.nodes, kafka.node_id)
    checks = Checks(limits.unpacked_batch_bytes, site.beside.do)
    validator = BatchValidator(limits.unpacked_batch_bytes)
    shared = Shared(site.entropy, validator, network.loop.call_soon, network.unfinished, network.strangers, turns=network.turns, checks=checks)
    register(site.metrics, shared)

    def make(name: str, host: str, port: int, namespace: str | None) -> KafkaListener:
        kind = LISTENERS[name]
        key_name, advertised = ("kafka.advertised_tls", kafka.advertised_tls) if kind.without_tls else ("kafka.advertised", kafka.advertised)
        found = address(key_name, advertised) if advertised else None
        shared_port = address(name, config.listen.get(name) or kind.address or f"{host}:{port}")[1]
        settings = Settings(
            node_id=kafka.node_id,
            nodes=site.nodes,
            addresses=() if namespace else told_addresses(site.nodes, name, shared_port, found),
            cluster_id=site.broker.cluster_id,
            namespace=namespace or kafka.namespace,
            advertised=found,
            produce_size_max=limits.kafka_produce_bytes,
            request_size_max=limits.kafka_request_bytes,
            fetch_size_max=limits.kafka_fetch_bytes,
            handshake_timeout_s=config.limits.handshake_timeout_ms / 1000,
            idle_s=kafka.idle_s,
        )
        tls = site.tls_of(kind)
        return KafkaListener(network, host, port, port=site.broker, authenticator=site.authenticator, settings=settings, shared=shared, tls=tls)

    return Speaker(make)


def _entry_codec(config: Config) -> EntryCodec:
    from entrepot.protocols.kafka.records import KafkaEntryCodec

    return KafkaEntryCodec(config.of(KafkaLimits).unpacked_batch_bytes, config.limits.message_bytes)


def _broker_terms(config: Config) -> BrokerTerms:
    from entrepot.broker.topic.topic_config import TopicDefaults

    kafka = config.of(KafkaSection)
    return {"topic_defaults": TopicDefaults(kafka.create_topics, kafka.partitions, kafka.retention_ms), "producer_idle_ms": kafka.producer_idle_ms}


LISTENERS = {
    "kafka": ListenerKind("Apache Kafka", KAFKA, "127.0.0.1:9092", "kafka", "Apache Kafka clients; behind another address or port: kafka.advertised"),
    "kafkas": ListenerKind(
        "Apache Kafka over TLS", KAFKA, "", "kafkas", "Apache Kafka clients, TLS; behind another address or port: kafka.advertised_tls", "kafka"
    ),
}
PROTOCOL = Protocol(
    name="kafka",
    listeners=LISTENERS,
    looks={KAFKA: looks_like_kafka},
    settings=KafkaSection,
    limits=KafkaLimits,
    entry_codec=_entry_codec,
    broker_terms=_broker_terms,
    speak=speak,
    namespace_listener="kafka",
    tells_nodes_apart=True,
)
