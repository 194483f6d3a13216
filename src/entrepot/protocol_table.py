"""The one table of protocols: a package a line. Server, configuration, command line, metrics and the test plugin read what they need of it.

Of each line only what is asked for is imported: PACKAGE.protocol for the broker and its commands, PACKAGE.endpoints where tests run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.model.endpoints import Endpoints
    from entrepot.model.listeners import Listeners
    from entrepot.protocol import Protocol

PACKAGES: tuple[str, ...] = (
    "entrepot.protocols.amqp091",
    "entrepot.protocols.kafka",
    "entrepot.protocols.sqs",
    "entrepot.protocols.stomp",
    "entrepot.protocols.mqtt",
    "entrepot.http",
)


@cache
def protocols() -> Mapping[str, Protocol]:
    """By name, in the order of the table."""
    found: list[Protocol] = [import_module(f"{package}.protocol").PROTOCOL for package in PACKAGES]
    return {protocol.name: protocol for protocol in found}


@cache
def listeners() -> Listeners:
    """Those of all protocols."""
    from entrepot.model.listeners import Listeners

    kinds = {name: kind for protocol in protocols().values() for name, kind in protocol.listeners.items()}
    looks = {look: is_so for protocol in protocols().values() for look, is_so in protocol.looks.items()}
    return Listeners(kinds, looks)


@cache
def endpoints() -> Mapping[str, Endpoints]:
    """By the protocol's name, in the order of the table."""
    found: list[Endpoints] = [import_module(f"{package}.endpoints").ENDPOINTS for package in PACKAGES]
    return {offered.name: offered for offered in found}
