"""Endpoints: what a protocol offers to who tests against a broker (entrepot.testing). Imported wherever pytest runs: nothing but light modules here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where a client is to go. `host_port`: of the protocol's listener in the clear, as clients dial it; `account`: a namespace's name, "": the default's."""

    host_port: str
    account: str = ""


class Endpoints(NamedTuple):
    """A protocol's, of a whole broker and of each namespace alike."""

    name: str  # of the protocol, and of its listener in the clear
    values: Mapping[str, Callable[[Place], Any]]  # by attribute of Broker and Namespace: addresses in the words of the protocol's clients
    client: str | None = None  # which of them its fixtures and its function give; "": the namespace itself, in its environment; None: it has none
    environment: Callable[[Place], dict[str, str]] | None = None  # variables that bring its clients to a namespace
    unset: tuple[str, ...] = ()  # variables that would bring them elsewhere
    around: Callable[[], AbstractContextManager[None]] | None = None  # what else is to be, while those variables are set
