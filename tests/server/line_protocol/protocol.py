from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from entrepot.model.listeners import ListenerKind
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.settings import Section, key

if TYPE_CHECKING:
    from line_protocol.listener import LineListener

LINE = "LINE"


class LineSection(Section, frozen=True):
    """Lines."""

    greeting: Annotated[str, key("what every answer begins with")] = "hello"
    patience_s: Annotated[int, key("silence after which a connection is closed", unit="s", least=1, most=60)] = 30


class LineLimits(Section, frozen=True):
    """What is the line protocol's of [limits]."""

    line_bytes: Annotated[int, key("one line", unit="bytes", at="its connection is closed", least=16, most=1 << 16)] = 1024


def looks_like_line(first: bytes) -> bool:
    return first.startswith(b"LINE")


def speak(site: Site) -> Speaker:
    from line_protocol.listener import LineListener

    counts = {"lines": 0}
    site.metrics.counter("entrepot_line_lines_total", "Lines answered", lambda: counts["lines"])
    own, limits = site.config.of(LineSection), site.config.of(LineLimits)

    def make(name: str, host: str, port: int, namespace: str | None) -> LineListener:
        greeting = f"{own.greeting} from {namespace or 'public/default'}: "
        return LineListener(site.network, host, port, site.tls_of(LISTENERS[name]), name, greeting.encode(), limits.line_bytes, counts)

    return Speaker(make)


LISTENERS = {
    "line": ListenerKind("Lines", LINE, "127.0.0.1:7100", "line", "line clients"),
    "lines": ListenerKind("Lines over TLS", LINE, "", "lines", "line clients, TLS", "line"),
}
PROTOCOL = Protocol(
    name="line", listeners=LISTENERS, looks={LINE: looks_like_line}, settings=LineSection, limits=LineLimits, speak=speak, namespace_listener="line"
)
