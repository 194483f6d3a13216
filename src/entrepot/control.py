"""Commands of the program that started the broker, over a socket that it handed down: namespaces of their own while the broker runs.

Test suites use it (entrepot.testing): one broker for all tests, a namespace for each. One JSON object a line, each answered by one line:

    {"open": "public/123456789012", "ports": {}}       -> {"ports": {"kafka": 40001}}
        The namespace is there, and so are listeners on loopback that lead to it alone, of the protocols that are spoken and whose connections
        cannot say which one they mean. `ports`: those that they shall have; else free ones.
    {"close": "public/123456789012"}                   -> {}
        Its listeners are closed, their connections are cut off; the namespace stays.
    {"nodes": "public/123456789012", "addresses": {"kafka": ["127.0.0.1:40001", "127.0.0.1:40101"]}}  -> {}
        Of one of several workers: where each of them has opened that namespace's listeners, in their order. Clients that tell nodes apart are told these;
        until then, this node's alone.
    {"users": ["clear_permission", "ann", "acme/x"]}   -> {}
        A change of users, by the name of its method (USER_CHANGES) and its arguments, where a permission is its three patterns. Decided where the
        catalogue is, as namespaces are.
    what cannot be done                                -> {"error": "..."}

It stands below server.py, which hands it what it works on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import administration as calls
from entrepot.broker.operations.administration import told_verifiers
from entrepot.control_socket import serve
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.node import Node
from entrepot.settings import address

if TYPE_CHECKING:
    from entrepot.protocol import MakeListener

LOOPBACK = "127.0.0.1"
USER_CHANGES = frozenset({"add_user", "clear_permission", "delete_access_key", "delete_user", "set_password", "set_permission"})


class Control:
    """Serves one socket until its other end is closed. Nobody else can reach it. `makers`: of the listeners that namespaces get, by name."""

    def __init__(self, node: Node, network: Network, makers: Mapping[str, MakeListener]) -> None:
        self._node = node
        self._network = network
        self._makers = makers
        self._listeners: dict[str, dict[str, Listener]] = {}  # by namespace and name

    async def serve(self, descriptor: int) -> None:
        """See control_socket.serve()."""
        await serve(descriptor, self.answer)

    async def answer(self, line: bytes) -> dict[str, Any]:
        """What one command is answered with."""
        try:
            command = json.loads(line)
            if "open" in command:
                return await self._open(command["open"], command.get("ports", {}))
            if "close" in command:
                self._close(command["close"])
                return {}
            if "nodes" in command:
                self._tell_nodes(command["nodes"], command["addresses"])
                return {}
            if "users" in command:
                await self._change_users(*command["users"])
                return {}
            raise Refused(Reason.INVALID, "a command is open, close, nodes or users")
        except (NotDone, OSError, ValueError, TypeError, KeyError) as error:
            return {"error": str(error)}

    async def _open(self, namespace: str, ports: Mapping[str, int]) -> dict[str, Any]:
        if namespace not in self._node.catalogue.namespaces:
            await self._decided(calls.MakeNamespace(namespace))
        opened = self._listeners.setdefault(namespace, {})
        for name, make in self._makers.items():
            if name not in opened:
                listener = make(name, LOOPBACK, ports.get(name, 0), namespace)
                await self._network.listen(listener)
                opened[name] = listener
        return {"ports": {name: listener.port for name, listener in opened.items()}}

    def _tell_nodes(self, namespace: str, addresses: Mapping[str, Sequence[str]]) -> None:
        for name, listener in self._listeners.get(namespace, {}).items():
            listener.tell_nodes([address(name, where) for where in addresses[name]])

    async def _change_users(self, change: str, *arguments: Any) -> None:
        if change not in USER_CHANGES:
            raise Refused(Reason.INVALID, f"{change} is no change of users")
        await self._decided(getattr(self, f"_{change}")(*arguments))

    def _add_user(self, name: str, password: str, namespaces: Sequence[str] = (), administrator: bool = False) -> calls.Request:
        return calls.AddUser(name, self._verifiers(password), list(namespaces), administrator)

    def _set_password(self, name: str, password: str) -> calls.Request:
        return calls.SetPassword(name, self._verifiers(password))

    def _set_permission(self, name: str, namespace: str, patterns: Sequence[str]) -> calls.Request:
        return calls.SetPermission(name, namespace, *patterns)

    def _clear_permission(self, name: str, namespace: str) -> calls.Request:
        return calls.ClearPermission(name, namespace)

    def _delete_user(self, name: str) -> calls.Request:
        return calls.DeleteUser(name)

    def _delete_access_key(self, key_id: str) -> calls.Request:
        return calls.DeleteAccessKey(key_id)

    def _verifiers(self, password: str) -> list[calls.Verifier]:
        return told_verifiers(self._node.users.password_work(password)())

    async def _decided(self, request: calls.Request) -> None:
        """Have it decided, wherever that is: done, durable, and applied by everybody. Raises NotDone."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: NotDone | None, _: Any) -> None:
            if not answered.done():
                answered.set_result(None) if error is None else answered.set_exception(error)

        self._node.administration.ask(request, done)
        await answered

    def _close(self, namespace: str) -> None:
        for listener in self._listeners.pop(namespace, {}).values():
            self._network.drop(listener)
