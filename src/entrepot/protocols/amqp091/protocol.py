"""What AMQP 0-9-1 needs: its listeners and settings, and how it is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from entrepot.model.listeners import ListenerKind
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.settings import Config, Section, key

if TYPE_CHECKING:
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.protocols.amqp091.listener import AmqpListener

AMQP = "AMQP"  # what it looks like


class AmqpSection(Section, frozen=True):
    """AMQP 0-9-1."""

    after: ClassVar[str] = "disk"

    heartbeat_s: Annotated[int, key("heartbeat interval suggested to clients; 0 for none", unit="s", least=0, most=65_535)] = 60


class AmqpLimits(Section, frozen=True):
    """What is AMQP's alone of [limits]."""

    after: ClassVar[str] = "handshake_timeout_ms"

    channels: Annotated[int, key("AMQP channels of one connection", unit="channels", at="the next one is an error 530", least=1, most=65_535)] = 2047
    frame_bytes: Annotated[int, key("one AMQP frame", unit="bytes", at="a larger one is an error 501", least=4096, most=1 << 24)] = 131_072


def looks_like_amqp(first: bytes) -> bool:
    """Whether a protocol header begins there, of whichever version."""
    return first.startswith(b"AMQP")


def speak(site: Site) -> Speaker:
    """Imported only where somebody listens."""
    from entrepot.protocols.amqp091.handshake import Settings
    from entrepot.protocols.amqp091.listener import AmqpListener

    config = site.config
    limits, own = config.limits, config.of(AmqpLimits)
    settings = Settings(
        frame_max=own.frame_bytes,
        channel_max=own.channels,
        message_size_max=limits.message_bytes,
        heartbeat_s=config.of(AmqpSection).heartbeat_s,
        handshake_timeout_s=limits.handshake_timeout_ms / 1000,
        consumer_prefetch_max=limits.prefetch,
    )

    def make(name: str, host: str, port: int, namespace: str | None) -> AmqpListener:
        assert namespace is None, "a connection names its virtual host"
        tls = site.tls_of(LISTENERS[name])
        return AmqpListener(site.network, host, port, port=site.broker, authenticator=site.authenticator, settings=settings, tls=tls)

    return Speaker(make)


def _entry_codec(_: Config) -> EntryCodec:
    from entrepot.protocols.amqp091.records import AmqpEntryCodec

    return AmqpEntryCodec()


LISTENERS = {
    "amqp": ListenerKind("AMQP 0-9-1", AMQP, "127.0.0.1:5672", "amqp", "RabbitMQ clients"),
    "amqps": ListenerKind("AMQP 0-9-1 over TLS", AMQP, "", "amqps", "RabbitMQ clients, TLS", "amqp"),
}
PROTOCOL = Protocol(
    name="amqp",
    listeners=LISTENERS,
    looks={AMQP: looks_like_amqp},
    settings=AmqpSection,
    limits=AmqpLimits,
    entry_codec=_entry_codec,
    speak=speak,
)
