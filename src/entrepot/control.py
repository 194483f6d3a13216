"""Commands of the program that started the broker, over a socket that it handed down: namespaces of their own while the broker runs.

Test suites use it (entrepot.testing): one broker for all tests, a namespace for each. One JSON object a line, each answered by one line:

    {"open": "public/123456789012", "kafka_port": 0}   -> {"kafka": 40001}
        The namespace is there, and a Kafka listener on loopback is in it (port 0: a free one; none where Kafka is not listened for).
    {"close": "public/123456789012"}                   -> {}
        Its listener is closed, its connections are cut off; the namespace stays.
    {"users": ["clear_permission", "ann", "acme/x"]}   -> {}
        A change of users, by the name of its method (USER_CHANGES) and its arguments, where a permission is its three patterns.
    what cannot be done                                -> {"error": "..."}
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

from entrepot.broker.users import Permission
from entrepot.model.errors import Reason, Refused

if TYPE_CHECKING:
    from entrepot.net.listener import Listener
    from entrepot.server import Server

LOOPBACK = "127.0.0.1"
USER_CHANGES = frozenset({"add_user", "clear_permission", "delete_access_key", "delete_user", "set_password", "set_permission"})


class Control:
    """Serves one socket until its other end is closed. Nobody else can reach it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listeners: dict[str, Listener] = {}  # by namespace

    async def serve(self, descriptor: int) -> None:
        """Until the other end is closed. `descriptor` is a connected stream socket, and ours from now on."""
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def answer(self, line: bytes) -> dict[str, Any]:
        """What one command is answered with."""
        try:
            command = json.loads(line)
            if "open" in command:
                return await self._open(command["open"], int(command.get("kafka_port", 0)))
            if "close" in command:
                self._close(command["close"])
                return {}
            if "users" in command:
                self._change_users(*command["users"])
                return {}
            raise Refused(Reason.INVALID, "a command is open, close or users")
        except (Refused, OSError, ValueError, TypeError) as error:
            return {"error": str(error)}

    async def _open(self, namespace: str, kafka_port: int) -> dict[str, Any]:
        node = self._server.node
        assert node is not None
        node.catalogue.create_namespace(namespace)
        make = self._server.make_kafka_listener
        if make is None:
            return {}
        if namespace not in self._listeners:
            listener = make("kafka", LOOPBACK, kafka_port, namespace)
            await self._server.network.listen(listener)
            self._listeners[namespace] = listener
        return {"kafka": self._listeners[namespace].port}

    def _change_users(self, change: str, *arguments: Any) -> None:
        node = self._server.node
        assert node is not None
        if change not in USER_CHANGES:
            raise Refused(Reason.INVALID, f"{change} is no change of users")
        getattr(node.users, change)(*(Permission(*argument) if isinstance(argument, list) else argument for argument in arguments))
        node.store.urgent()

    def _close(self, namespace: str) -> None:
        listener = self._listeners.pop(namespace, None)
        if listener is not None:
            self._server.network.drop(listener)
