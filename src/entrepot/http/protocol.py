"""The HTTP port of who operates the broker, as the table of protocols has it; server.py makes its listener before the store is there."""

from __future__ import annotations

from entrepot.model.listeners import HTTP, ListenerKind, looks_like_http
from entrepot.protocol import Protocol

PROTOCOL = Protocol(
    name="http",
    listeners={"http": ListenerKind("health and metrics", HTTP, "127.0.0.1:9700", "http", "/healthz /readyz /metrics")},
    looks={HTTP: looks_like_http},
)
