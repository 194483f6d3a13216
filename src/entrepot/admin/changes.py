"""Changes: what an administrator has done to a broker, over the objects that its clients meet.

What is of the catalogue is decided where that is, in this process or in another (broker/operations/administration.py); connections are each process's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from entrepot.admin import requests
from entrepot.broker.calls import administration as calls
from entrepot.broker.operations.administration import told_verifiers
from entrepot.broker.users.users import Verifiers
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Reason, Refused

if TYPE_CHECKING:
    from entrepot.net.connection import ConnectionCore
    from entrepot.net.network import Network
    from entrepot.node import Node

REASON_MAX = 128  # bytes of UTF-8: it is told to the peer
NOTHING = requests.Made()

Done = Callable[[NotDone | None, requests.Made], None]


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

    def perform(self, request: requests.ChangeRequest, verifiers: Verifiers | None, done: Done) -> None:
        """Have it done; `verifiers`: what password_work() came to. done(error, made), when it is durable and everybody has applied it, or it is refused.

        Raises Refused or Unavailable, and CorruptData of the key that secrets are sealed with: it is not done, and nobody is called.
        """
        if isinstance(request, requests.CloseConnection):
            self._close_connection(request)
            done(None, NOTHING)
            return
        asked = self._asked(request, verifiers)
        self._node.administration.ask(asked, partial(self._done, request, done))

    def perform_here(self, request: requests.ChangeRequest, verifiers: Verifiers | None) -> requests.Made:
        """Do it in the open commit of this process, which decides. Raises as perform()."""
        return self._made(request, self._node.administration.perform(self._asked(request, verifiers)))

    def _asked(self, request: Any, verifiers: Verifiers | None) -> calls.Request:
        """What is to be decided. Raises what this process alone knows against it."""
        if isinstance(request, requests.DeleteNamespace) and request.name in self._node.catalogue.namespaces:
            self._node.administration.check_unused(request.name)
        elif isinstance(request, requests.AddKey):
            self._users.open_secrets()
        return _CALLS[type(request)](request, verifiers)

    def _done(self, request: requests.ChangeRequest, done: Done, error: NotDone | None, result: Any) -> None:
        made = NOTHING
        try:
            if error is None:
                made = self._made(request, result)
        except (Refused, CorruptData) as wrong:  # what was made is gone again, or has not come here; whoever brought the answer is not to blame
            error = OutcomeUnknown(f"it was done, and what came of it cannot be told: {wrong}")
        done(error, made)

    def _made(self, request: requests.ChangeRequest, result: Any) -> requests.Made:
        return requests.Made(result, self._users.secret_of(result)) if isinstance(request, requests.AddKey) else NOTHING

    def _close_connection(self, request: requests.CloseConnection) -> None:
        """See CloseConnection."""
        if len(request.reason.encode("utf-8", "replace")) > REASON_MAX:
            raise Refused(Reason.INVALID, f"the reason is over {REASON_MAX} bytes")
        connection = self._connection(request.id)
        connection.listener.end(connection, request.reason)
        connection.listener.linger(connection)

    def _connection(self, number: int) -> ConnectionCore:
        for listener in [] if self._network is None else self._network.listeners:
            for connection in listener.connections if listener.for_clients else ():
                if connection.arrival is not None and connection.arrival.number == number:
                    return connection
        raise Refused(Reason.NOT_FOUND, f"there is no connection {number}")


_CALLS: dict[type, Callable[[Any, Any], calls.Request]] = {
    requests.AddUser: lambda asked, told: calls.AddUser(asked.name, told_verifiers(told), list(asked.namespaces), asked.administrator),
    requests.SetPassword: lambda asked, told: calls.SetPassword(asked.name, told_verifiers(told)),
    requests.DeleteUser: lambda asked, _: calls.DeleteUser(asked.name),
    requests.Permit: lambda asked, _: calls.SetPermission(asked.name, asked.namespace, asked.configure, asked.write, asked.read),
    requests.Forbid: lambda asked, _: calls.ClearPermission(asked.name, asked.namespace),
    requests.AddKey: lambda asked, _: calls.AddAccessKey(asked.user),
    requests.DeleteKey: lambda asked, _: calls.DeleteAccessKey(asked.id),
    requests.AddNamespace: lambda asked, _: calls.MakeNamespace(asked.name, is_new=True),
    requests.DeleteNamespace: lambda asked, _: calls.DeleteNamespace(asked.name),
}
"""What each asks to have decided, with the verifiers where there is a password."""
assert {*_CALLS, requests.CloseConnection} == {*requests.CHANGES.values()}
