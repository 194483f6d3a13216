"""MQTT's port: 1883, or 8883 with TLS."""

from __future__ import annotations

from entrepot.net.session_listener import SessionListener
from entrepot.protocols.mqtt.session import Session


class MqttListener(SessionListener):
    """Gives each connection an MQTT session."""

    name = "mqtt"
    made = Session
