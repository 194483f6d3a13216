"""What may be asked, and what is answered: typed, and JSON by the same names. LISTS and CHANGES are the tables, by the name that the transport has.

A list's rows come in no order. Names are text of strangers: whoever shows them escapes them (model/printable.py).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

UNAVAILABLE = "UNAVAILABLE"  # the reason of what cannot be done now, and was not
UNKNOWN = "UNKNOWN"  # of what may have been done

# ---- lists


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every list can be narrowed to: a namespace (None: all), and names that begin with `prefix`."""

    namespace: str | None = None
    prefix: str = ""


class ListQueues(Listing, frozen=True):
    """Every queue: QueueRow."""


class ListTopics(Listing, frozen=True):
    """Every topic, streams among them: TopicRow."""


class ListGroups(Listing, frozen=True):
    """Every consumer group: GroupRow."""


class ListExchanges(Listing, frozen=True):
    """Every exchange, those that are there from the beginning, too, but for the default one: ExchangeRow."""


class ListBindings(Listing, frozen=True):
    """Every binding: BindingRow. The prefix is of the name of the exchange that it leads from."""


class ListConnections(Listing, frozen=True):
    """Every connection of a client: ConnectionRow. The prefix is of a user's name."""


class ListUsers(Listing, frozen=True):
    """Every user: UserRow. With a namespace: those who may use it."""


class ListNamespaces(Listing, frozen=True):
    """Every namespace: NamespaceRow. With a namespace: that one."""


class ListKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The access keys of a user: KeyRow, the secret "" where it is not asked for. NOT_FOUND."""

    user: str
    secrets: bool = False


class QueueRow(msgspec.Struct, frozen=True):
    """A queue. `bytes` is about what it takes of the store; `messages_delayed` are of those that are neither ready nor held by anybody.

    `known`: whether who has it has said how much is in it; else all figures are 0.
    """

    namespace: str
    name: str
    type: str
    durable: bool
    auto_delete: bool
    exclusive: bool
    messages_ready: int
    messages_unacknowledged: int
    messages_delayed: int
    consumers: int
    bytes: int
    known: bool = True


class TopicRow(msgspec.Struct, frozen=True):
    """A topic. `kind`: topic, or stream where AMQP's clients declared it. `offsets`: first and end offset of each partition. `consumers`: AMQP's."""

    namespace: str
    name: str
    kind: str
    partitions: int
    records: int
    bytes: int
    consumers: int
    offsets: list[tuple[int, int]]


class GroupRow(msgspec.Struct, frozen=True):
    """A consumer group. `lag`: records behind what it has committed, in all partitions that it has committed anything for."""

    namespace: str
    name: str
    kind: str
    state: str
    protocol_type: str
    members: int
    partitions_committed: int
    lag: int


class ExchangeRow(msgspec.Struct, frozen=True):
    """An exchange. `bindings`: how many lead from it."""

    namespace: str
    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    bindings: int


class BindingRow(msgspec.Struct, frozen=True):
    """A binding. `destination_kind`: exchange, queue or topic. `arguments` are shown as text, cut; `users`: who made it, where that is known."""

    namespace: str
    source: str
    destination_kind: str
    destination: str
    routing_key: str
    arguments: str
    users: list[str]


class ConnectionRow(msgspec.Struct, frozen=True):
    """A connection. `protocol` is the listener's name; `users` is empty as long as nobody has logged in; `since_ms` counts from 1970."""

    id: int
    protocol: str
    peer: str
    users: list[str]
    namespaces: list[str]
    name: str
    product: str
    channels: int
    consumers: int
    tls: bool
    since_ms: int


class PermissionRow(msgspec.Struct, frozen=True):
    """What a user may do in a namespace, * for those that are not listed."""

    namespace: str
    configure: str
    write: str
    read: str


class UserRow(msgspec.Struct, frozen=True):
    """A user. `configured`: the configuration made it, and takes it away."""

    name: str
    administrator: bool
    configured: bool
    permissions: list[PermissionRow]
    forbidden: list[str]


class NamespaceRow(msgspec.Struct, frozen=True):
    """A namespace, and what is in it."""

    name: str
    queues: int
    topics: int
    exchanges: int
    bindings: int


class KeyRow(msgspec.Struct, frozen=True):
    """An access key."""

    id: str
    user: str
    secret: str


# ---- changes


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes effect at once, for who is connected, too; answered when it is durable. Refused as the methods of Users and Catalogue say."""


class AddUser(Change, frozen=True):
    """A new user: Users.add_user()."""

    name: str
    password: str
    namespaces: tuple[str, ...] = ()
    administrator: bool = False


class SetPassword(Change, frozen=True):
    """Another password: Users.set_password()."""

    name: str
    password: str


class DeleteUser(Change, frozen=True):
    """Users.delete_user()."""

    name: str


class Permit(Change, frozen=True):
    """What a user may do in a namespace: Users.set_permission()."""

    name: str
    namespace: str
    configure: str = ".*"
    write: str = ".*"
    read: str = ".*"


class Forbid(Change, frozen=True):
    """Users.clear_permission()."""

    name: str
    namespace: str


class AddKey(Change, frozen=True):
    """A new access key of a user: answered with its id and secret, a Made."""

    user: str


class DeleteKey(Change, frozen=True):
    """Users.delete_access_key()."""

    id: str


class AddNamespace(Change, frozen=True):
    """A new namespace. EXISTS_DIFFERENT where there is one."""

    name: str


class DeleteNamespace(Change, frozen=True):
    """An empty namespace that nobody is connected to. NOT_FOUND, NOT_EMPTY, IN_USE, NOT_PERMITTED for the default one."""

    name: str


class CloseConnection(Change, frozen=True):
    """End a connection, with its protocol's goodbye if it has one. NOT_FOUND. Clients may come again at once."""

    id: int
    reason: str = "closed by an administrator"


class Made(msgspec.Struct, frozen=True):
    """What a change has made, where there is anything to tell: an access key and its secret."""

    id: str = ""
    secret: str = ""


Row: TypeAlias = QueueRow | TopicRow | GroupRow | ExchangeRow | BindingRow | ConnectionRow | UserRow | NamespaceRow | KeyRow
ListRequest: TypeAlias = ListQueues | ListTopics | ListGroups | ListExchanges | ListBindings | ListConnections | ListUsers | ListNamespaces | ListKeys
ChangeRequest: TypeAlias = AddUser | SetPassword | DeleteUser | Permit | Forbid | AddKey | DeleteKey | AddNamespace | DeleteNamespace | CloseConnection

LISTS: dict[str, tuple[type[ListRequest], type[Row]]] = {
    "queues": (ListQueues, QueueRow),
    "topics": (ListTopics, TopicRow),
    "groups": (ListGroups, GroupRow),
    "exchanges": (ListExchanges, ExchangeRow),
    "bindings": (ListBindings, BindingRow),
    "connections": (ListConnections, ConnectionRow),
    "users": (ListUsers, UserRow),
    "namespaces": (ListNamespaces, NamespaceRow),
    "keys": (ListKeys, KeyRow),
}
CHANGES: dict[str, type[ChangeRequest]] = {
    "users/add": AddUser,
    "users/set-password": SetPassword,
    "users/delete": DeleteUser,
    "users/permit": Permit,
    "users/forbid": Forbid,
    "keys/add": AddKey,
    "keys/delete": DeleteKey,
    "namespaces/add": AddNamespace,
    "namespaces/delete": DeleteNamespace,
    "connections/close": CloseConnection,
}
