"""Changes: what an administrator has done to a broker, over the objects that its clients meet.

They take effect at once, in memory and in the store's open commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from entrepot.admin import requests
from entrepot.broker.users.users import Permission, Verifiers
from entrepot.model.errors import Reason, Refused, Unavailable

if TYPE_CHECKING:
    from entrepot.net.connection import ConnectionCore
    from entrepot.net.network import Network
    from entrepot.node import Node

REASON_MAX = 128  # bytes of UTF-8: it is told to the peer
NOTHING = requests.Made()


class Changes:
    """Over one node, and its sockets where it has any."""

    def __init__(self, node: Node, network: Network | None) -> None:
        self._node = node
        self._users = node.users
        self._network = network

    def password_work(self, request: requests.ChangeRequest) -> Callable[[], Verifiers] | None:
        """The milliseconds of work that come before a change, for any thread; None: nothing does. Raises Refused."""
        if isinstance(request, requests.AddUser | requests.SetPassword):
            return self._users.password_work(request.password)
        return None

    def perform(self, request: requests.ChangeRequest, verifiers: Verifiers | None = None) -> requests.Made:
        """Do it; `verifiers`: what password_work() came to. Raises Refused or Unavailable, and has changed nothing then."""
        if isinstance(request, requests.AddUser | requests.SetPassword):
            assert verifiers is not None
            return _PASSWORD_CHANGES[type(request)](self, request, verifiers)
        return _CHANGES[type(request)](self, request)

    def add_user(self, request: requests.AddUser, verifiers: Verifiers) -> requests.Made:
        """See AddUser."""
        self._users.add_user(request.name, verifiers, request.namespaces, request.administrator)
        return NOTHING

    def set_password(self, request: requests.SetPassword, verifiers: Verifiers) -> requests.Made:
        """See SetPassword."""
        self._users.set_password(request.name, verifiers)
        return NOTHING

    def delete_user(self, request: requests.DeleteUser) -> requests.Made:
        """See DeleteUser."""
        self._users.delete_user(request.name)
        return NOTHING

    def permit(self, request: requests.Permit) -> requests.Made:
        """See Permit."""
        self._users.set_permission(request.name, request.namespace, Permission(request.configure, request.write, request.read))
        return NOTHING

    def forbid(self, request: requests.Forbid) -> requests.Made:
        """See Forbid."""
        self._users.clear_permission(request.name, request.namespace)
        return NOTHING

    def add_key(self, request: requests.AddKey) -> requests.Made:
        """See AddKey."""
        key, secret = self._users.add_access_key(request.user)
        return requests.Made(key.id, secret)

    def delete_key(self, request: requests.DeleteKey) -> requests.Made:
        """See DeleteKey."""
        self._users.delete_access_key(request.id)
        return NOTHING

    def add_namespace(self, request: requests.AddNamespace) -> requests.Made:
        """See AddNamespace."""
        if request.name in self._node.catalogue.namespaces:
            raise Refused(Reason.EXISTS_DIFFERENT, f"there is a namespace {request.name} already")
        self._node.decisions.create_namespace(request.name)
        return NOTHING

    def delete_namespace(self, request: requests.DeleteNamespace) -> requests.Made:
        """See DeleteNamespace."""
        name, broker = request.name, self._node.broker
        if name not in self._node.catalogue.namespaces:
            raise Refused(Reason.NOT_FOUND, f"there is no namespace {name!r}")
        attached = sum(door.namespace == name for door in broker.doors)
        if attached:
            raise Refused(Reason.IN_USE, f"namespace {name} is in use by {attached} connections: `entrepot connections list --namespace {name}`")
        if self._node.store.closed:
            raise Unavailable("shards are on their way: whether the namespace has consumer groups is not known here now")
        if any(namespace == name for namespace, _ in broker.groups.places()):
            raise Refused(Reason.NOT_EMPTY, f"namespace {name} is not empty: delete its consumer groups first")
        self._node.decisions.delete_namespace(name)
        return NOTHING

    def close_connection(self, request: requests.CloseConnection) -> requests.Made:
        """See CloseConnection."""
        if len(request.reason.encode("utf-8", "replace")) > REASON_MAX:
            raise Refused(Reason.INVALID, f"the reason is over {REASON_MAX} bytes")
        connection = self._connection(request.id)
        connection.listener.end(connection, request.reason)
        connection.listener.linger(connection)
        return NOTHING

    def _connection(self, number: int) -> ConnectionCore:
        for listener in [] if self._network is None else self._network.listeners:
            for connection in listener.connections if listener.for_clients else ():
                if connection.arrival is not None and connection.arrival.number == number:
                    return connection
        raise Refused(Reason.NOT_FOUND, f"there is no connection {number}")


_PASSWORD_CHANGES: dict[type, Callable[[Changes, Any, Verifiers], requests.Made]] = {
    requests.AddUser: Changes.add_user,
    requests.SetPassword: Changes.set_password,
}
_CHANGES: dict[type, Callable[[Changes, Any], requests.Made]] = {
    requests.DeleteUser: Changes.delete_user,
    requests.Permit: Changes.permit,
    requests.Forbid: Changes.forbid,
    requests.AddKey: Changes.add_key,
    requests.DeleteKey: Changes.delete_key,
    requests.AddNamespace: Changes.add_namespace,
    requests.DeleteNamespace: Changes.delete_namespace,
    requests.CloseConnection: Changes.close_connection,
}
assert {*_PASSWORD_CHANGES, *_CHANGES} == {*requests.CHANGES.values()}
