"""What MQTT needs: its listeners and settings, and how it is spoken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from entrepot import __version__
from entrepot.model.listeners import WEBSOCKET, ListenerKind
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.settings import Config, Section, key

if TYPE_CHECKING:
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.net.listener import Listener
    from entrepot.protocols.mqtt.listener import MqttListener

MQTT = "MQTT"  # what it looks like
NEVER_S = 0xFFFFFFFF  # as times.py has it
PATHS = frozenset(("/", "/mqtt", "/ws"))  # of WebSockets, as clients of Mosquitto, RabbitMQ and HiveMQ have them
SUBPROTOCOLS = ("mqtt", "mqttv3.1")
_NAMES = (b"\x00\x04MQTT", b"\x00\x06MQIsdp")


class MqttSection(Section, frozen=True):
    """MQTT 3.1, 3.1.1 and 5."""

    namespace: Annotated[str, key("namespace of connections whose user name says no virtual host (VHOST:NAME)")] = "public/default"
    keep_alive_max_s: Annotated[int, key("keep alive of clients of version 5 at most; those that want none have it", unit="s", least=1, most=65_535)] = 65_535
    session_expiry_max_s: Annotated[
        int, key("for how long at most a session is kept whose client is away; all ones: for ever", unit="s", least=0, most=NEVER_S)
    ] = NEVER_S
    receive_maximum: Annotated[
        int, key("messages of QoS 1 and 2 that a client of version 5 may send without an acknowledgement", unit="messages", least=1, most=65_535)
    ] = 1000
    in_flight: Annotated[int, key("messages of QoS 1 and 2 that a client is sent without an acknowledgement", unit="messages", least=1, most=65_535)] = 1000
    topic_aliases: Annotated[int, key("topic aliases that a client of version 5 may use", unit="topics", least=0, most=65_535)] = 16


class MqttLimits(Section, frozen=True):
    """What is MQTT's alone of [limits]."""

    mqtt_subscriptions: Annotated[int, key("subscriptions of one MQTT client", unit="subscriptions", at="SUBACK refuses (0x97)", least=1)] = 1000
    mqtt_queued: Annotated[
        int,
        key(
            "messages that wait for an MQTT client, in each queue of a session that ends with its connection",
            unit="messages",
            at="the oldest are dropped",
            least=1,
        ),
    ] = 100_000
    mqtt_kept: Annotated[
        int,
        key(
            "messages that wait for an MQTT client whose session is kept, besides those that are under way to it",
            unit="messages",
            at="the oldest are dropped",
            least=1,
        ),
    ] = 1_000_000
    mqtt_kept_bytes: Annotated[int, key("the same in bytes, as they are stored", unit="bytes", at="the oldest are dropped", least=1 << 20)] = 256 << 20


def looks_like_mqtt(first: bytes) -> bool:
    """Whether a CONNECT begins there: its protocol name stands behind at most five bytes, of which the first eight may show a part."""
    if first[:1] != b"\x10":
        return False
    for at in range(2, 6):
        shown = first[at:]
        if any(name.startswith(shown) or shown.startswith(name) for name in _NAMES) and len(shown) >= 3:
            return True
    return False


def speak(site: Site) -> Speaker:
    """Imported only where somebody listens."""
    from entrepot.protocols.mqtt.connecting import Settings
    from entrepot.protocols.mqtt.listener import MqttListener
    from entrepot.protocols.mqtt.negotiation import Offer
    from entrepot.protocols.mqtt.packets import VARIABLE_MAX

    config = site.config
    section, limits, own = config.of(MqttSection), config.limits, config.of(MqttLimits)
    listeners: list[MqttListener] = []
    offer = Offer(
        receive_maximum=section.receive_maximum,
        packet_max=min(limits.message_bytes, VARIABLE_MAX + 5),
        topic_alias_maximum=section.topic_aliases,
        session_expiry_max_s=section.session_expiry_max_s,
        keep_alive_max_s=section.keep_alive_max_s,
        in_flight_max=section.in_flight,
    )

    def plain(name: str, host: str, port: int, namespace: str | None) -> MqttListener:
        settings = Settings(
            offer=offer,
            handshake_timeout_s=limits.handshake_timeout_ms / 1000,
            namespace=namespace or section.namespace,
            is_only=namespace is not None,
            figures=partial(_figures, site, listeners, site.clock.monotonic_s()),
            subscriptions_max=own.mqtt_subscriptions,
            queued_max=own.mqtt_queued,
            kept_max=own.mqtt_kept,
            kept_bytes_max=own.mqtt_kept_bytes,
        )
        listener = MqttListener(
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
        listeners.append(listener)
        return listener

    def make(name: str, host: str, port: int, namespace: str | None) -> Listener:
        found = plain(name, host, port, namespace)
        if LISTENERS[name].look != WEBSOCKET:
            return found
        from entrepot.net.websocket import Terms, around

        terms = Terms(PATHS, SUBPROTOCOLS, found.settings.handshake_timeout_s, names_subprotocol=True)
        return around(site.network, found, name, terms, site.config.websocket_origins, site.pages)

    return Speaker(make)


def _figures(site: Site, listeners: list[MqttListener], started_s: float) -> dict[bytes, bytes]:
    """Of this process, by topic of `$SYS`."""
    figures = site.broker.statistics()
    said = {
        "version": f"Entrepot {__version__}",
        "uptime": f"{site.clock.monotonic_s() - started_s:.0f} seconds",
        "clients/connected": sum(listener.open_count for listener in listeners),
        "messages/received": figures["published_total"],
        "messages/sent": figures["delivered_total"],
        "bytes/received": figures["published_bytes_total"],
        "publishers_throttled": figures["publishers_throttled"],
    }
    return {f"$SYS/broker/{name}".encode(): (value if isinstance(value, str) else f"{value:.0f}").encode() for name, value in said.items()}


def _entry_codec(_: Config) -> EntryCodec:
    from entrepot.protocols.mqtt.records import MqttEntryCodec

    return MqttEntryCodec()


LISTENERS = {
    "mqtt": ListenerKind("MQTT", MQTT, "127.0.0.1:1883", "mqtt", "MQTT clients"),
    "mqtts": ListenerKind("MQTT over TLS", MQTT, "", "mqtts", "MQTT clients, TLS", "mqtt"),
    "mqtt-ws": ListenerKind("MQTT over WebSocket", WEBSOCKET, "", "ws", "MQTT clients in browsers"),
    "mqtt-wss": ListenerKind("MQTT over WebSocket and TLS", WEBSOCKET, "", "wss", "MQTT clients in browsers, TLS", "mqtt-ws"),
}
PROTOCOL = Protocol(
    name="mqtt",
    listeners=LISTENERS,
    looks={MQTT: looks_like_mqtt},
    settings=MqttSection,
    limits=MqttLimits,
    entry_codec=_entry_codec,
    speak=speak,
    namespace_listener="mqtt",
    reserved_queues=("mqtt.",),  # as reserved.py has them
    reserved_exchanges=("mqtt.share.",),
)
