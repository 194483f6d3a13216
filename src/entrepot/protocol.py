"""What a protocol's package says of itself, so that nobody else need name it.

Its `protocol.py` holds the one PROTOCOL, its `endpoints.py` the ENDPOINTS of tests (model/endpoints.py). Both are read where no broker runs, too, for
`--help` and for the configuration: what speaks on a wire is imported by the functions given here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

import msgspec

from entrepot.model.listeners import ListenerKind
from entrepot.model.nodes import ALONE, Nodes
from entrepot.settings import Config, Section

if TYPE_CHECKING:
    import ssl

    from entrepot.beside import Beside
    from entrepot.broker.broker import Broker
    from entrepot.broker.catalogue.decisions import Decisions
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.broker.operations.administration import Administration
    from entrepot.broker.topic.topic_config import TopicDefaults
    from entrepot.broker.users.users import Users
    from entrepot.clock import Clock
    from entrepot.entropy import Entropy
    from entrepot.metrics import Metrics
    from entrepot.net.listener import Listener
    from entrepot.net.network import Network
    from entrepot.net.pages import Pages

    MakeListener: TypeAlias = Callable[[str, str, int, str | None], Listener]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where a protocol is spoken: a node that has recovered, and this process's sockets."""

    config: Config
    network: Network
    broker: Broker
    decisions: Decisions
    administration: Administration  # has what a protocol changes by itself decided, in whichever process
    users: Users
    authenticator: Any  # checks credentials; it stands above the protocols, which say themselves what they ask of it
    clock: Clock
    entropy: Entropy
    pages: Pages
    beside: Beside  # for what would hold up the loop
    metrics: Metrics
    tls: Callable[[], ssl.SSLContext]  # for the listeners that need it
    nodes: Nodes = ALONE

    def tls_of(self, kind: ListenerKind) -> ssl.SSLContext | None:
        """The context of a listener of that kind; None in the clear."""
        return self.tls() if kind.without_tls else None


def _nothing() -> None:
    pass


class Speaker(msgspec.Struct, frozen=True):
    """One protocol of a running broker: what its listeners have in common is made. `close` is called when no connection is left.

    make_listener(name, host, port, namespace): one that does not listen yet. namespace: the only one that it leads to; None: its connections say, or settings.
    """

    make_listener: MakeListener
    close: Callable[[], None] = _nothing


class BrokerTerms(TypedDict, total=False):
    """Arguments of the broker that are settings of one protocol."""

    topic_defaults: TopicDefaults
    producer_idle_ms: int


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """All that others need of a protocol."""

    name: str  # of its section of the configuration, and of its listener in the clear
    listeners: Mapping[str, ListenerKind]
    looks: Mapping[str, Callable[[bytes], bool]] = {}  # what the first bytes of its connections look like
    settings: type[Section] | None = None  # its section
    limits: type[Section] | None = None  # its lines of [limits]
    entry_codec: Callable[[Config], EntryCodec] | None = None  # of what its producers store: every node has it, whoever listens
    broker_terms: Callable[[Config], BrokerTerms] | None = None
    speak: Callable[[Site], Speaker] | None = None  # called once, where one of its listeners is wanted; None: the server makes the listener, before the store
    tells_nodes_apart: bool = False  # its clients know each node by an address of its own: there it listens besides
    namespace_listener: str = ""  # which of its listeners a namespace has one of its own of, for tests: where a connection cannot say which it means
    reserved_queues: tuple[str, ...] = ()  # what names of queues begin with that only it makes
    reserved_exchanges: tuple[str, ...] = ()
