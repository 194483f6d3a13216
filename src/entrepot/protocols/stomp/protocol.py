"""What STOMP needs: its listeners and settings, and how it is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from entrepot.model.listeners import WEBSOCKET, ListenerKind
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.settings import Config, Section, key

if TYPE_CHECKING:
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.net.listener import Listener
    from entrepot.protocols.stomp.listener import StompListener

STOMP = "STOMP"  # what it looks like
PATHS = frozenset(("/", "/stomp", "/ws", "/stomp/websocket"))  # of WebSockets, as clients of ActiveMQ, RabbitMQ and Spring have them
SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")


class StompSection(Section, frozen=True):
    """STOMP 1.0, 1.1 and 1.2."""

    heart_beat_ms: Annotated[int, key("heart-beats that clients are asked for, where they can have them; 0 for none", unit="ms", least=0, most=86_400_000)] = (
        10_000
    )
    namespace: Annotated[str, key("namespace of connections whose header host is the name of none (the machine's, say); empty: they are refused")] = (
        "public/default"
    )


class StompLimits(Section, frozen=True):
    """What is STOMP's alone of [limits]."""

    stomp_header_bytes: Annotated[
        int, key("command and headers of one STOMP frame; before CONNECT 8 KiB", unit="bytes", at="it is an ERROR", least=8192, most=65_536)
    ] = 65_536
    stomp_kept: Annotated[
        int,
        key("messages that wait for a durable STOMP subscription that says no arguments of a queue", unit="messages", at="the oldest are dropped", least=1),
    ] = 1_000_000
    stomp_kept_bytes: Annotated[int, key("the same in bytes, as they are stored", unit="bytes", at="the oldest are dropped", least=1 << 20)] = 256 << 20


def looks_like_stomp(first: bytes) -> bool:
    """Whether a CONNECT or STOMP frame begins there."""
    return first.startswith((b"CONNECT\n", b"CONNECT\r", b"STOMP\n", b"STOMP\r"))


def speak(site: Site) -> Speaker:
    """Imported only where somebody listens."""
    from entrepot.protocols.stomp.handshake import Settings
    from entrepot.protocols.stomp.listener import StompListener

    config = site.config
    section, limits = config.of(StompSection), config.limits

    def plain(name: str, host: str, port: int, namespace: str | None) -> StompListener:
        settings = Settings(
            header_max=config.of(StompLimits).stomp_header_bytes,
            message_size_max=limits.message_bytes,
            heart_beat_ms=section.heart_beat_ms,
            handshake_timeout_s=limits.handshake_timeout_ms / 1000,
            prefetch_max=limits.prefetch,
            kept_max=config.of(StompLimits).stomp_kept,
            kept_bytes_max=config.of(StompLimits).stomp_kept_bytes,
            namespace=namespace or section.namespace,
        )
        return StompListener(
            site.network,
            host,
            port,
            port=site.broker,
            authenticator=site.authenticator,
            settings=settings,
            new_name=lambda: site.entropy.octets(9).hex(),
            wall_ms=site.clock.wall_ms,
            tls=site.tls_of(LISTENERS[name]),
        )

    def make(name: str, host: str, port: int, namespace: str | None) -> Listener:
        found = plain(name, host, port, namespace)
        if LISTENERS[name].look != WEBSOCKET:
            return found
        from entrepot.net.websocket import Terms, around

        terms = Terms(PATHS, SUBPROTOCOLS, found.settings.handshake_timeout_s, takes_text=True)
        return around(site.network, found, name, terms, site.config.websocket_origins, site.pages)

    return Speaker(make)


def _entry_codec(_: Config) -> EntryCodec:
    from entrepot.protocols.stomp.records import StompEntryCodec

    return StompEntryCodec()


LISTENERS = {
    "stomp": ListenerKind("STOMP", STOMP, "127.0.0.1:61613", "stomp", "STOMP clients, of ActiveMQ and of RabbitMQ"),
    "stomps": ListenerKind("STOMP over TLS", STOMP, "", "stomps", "STOMP clients, TLS", "stomp"),
    "stomp-ws": ListenerKind("STOMP over WebSocket", WEBSOCKET, "", "ws", "STOMP clients in browsers"),
    "stomp-wss": ListenerKind("STOMP over WebSocket and TLS", WEBSOCKET, "", "wss", "STOMP clients in browsers, TLS", "stomp-ws"),
}
PROTOCOL = Protocol(
    name="stomp",
    listeners=LISTENERS,
    looks={STOMP: looks_like_stomp},
    settings=StompSection,
    limits=StompLimits,
    entry_codec=_entry_codec,
    speak=speak,
)
