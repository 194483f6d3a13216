"""WorkersClient: what a command asks of a broker that is several workers, each with a socket of its own in the node's directory.

what is decided (users, namespaces, queues, …)   the first worker that runs: worker 0, which decides, if it does
what is each process's own                       all of them, and put together
a connection is ended                            by the worker that has it: a connection's id is said as id * workers + number of the worker
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from entrepot.admin import requests as r
from entrepot.admin.client import Client, NotRunning
from entrepot.cluster.workers.directory import WorkersFile, directory_of
from entrepot.model.errors import Reason, Refused, Unavailable

RowT = TypeVar("RowT", bound=r.Row)


class OneClient(Protocol):
    """See Client."""

    def rows(self, request: r.ListRequest, row: type[RowT]) -> list[RowT]:
        """See Client."""

    def change(self, request: r.ChangeRequest) -> r.Made:
        """See Client."""

    def get(self, path: str) -> bytes:
        """See Client."""

    def close(self) -> None:
        """See Client."""


class WorkersClient:
    """Of `count` workers, those that run, by their numbers; one at least. Raises as Client does."""

    def __init__(self, clients: Mapping[int, OneClient], count: int) -> None:
        self.clients = clients
        self.count = count

    def rows(self, request: r.ListRequest, row: type[RowT]) -> list[RowT]:
        """A list, whole."""
        if isinstance(request, r.ListConnections):
            return [self._shown(number, one) for number, client in self.clients.items() for one in client.rows(request, row)]
        if isinstance(request, r.ListGroups):
            self._check_all()
            return [one for client in self.clients.values() for one in client.rows(request, row)]
        return self._first.rows(request, row)

    def change(self, request: r.ChangeRequest) -> r.Made:
        """Done, and durable."""
        if isinstance(request, r.CloseConnection):
            return self._close_connection(request)
        if isinstance(request, r.DeleteNamespace):
            self._check_unused(request.name)
        return self._first.change(request)

    def close(self) -> None:
        """Nothing more is asked."""
        for client in self.clients.values():
            client.close()

    @property
    def _first(self) -> OneClient:
        return self.clients[min(self.clients)]

    def _shown(self, number: int, row: RowT) -> RowT:
        assert isinstance(row, r.ConnectionRow)
        return msgspec.structs.replace(row, id=row.id * self.count + number)

    def _close_connection(self, request: r.CloseConnection) -> r.Made:
        own, number = divmod(request.id, self.count)
        client = self.clients.get(number)
        try:
            if client is not None:
                return client.change(msgspec.structs.replace(request, id=own))
        except Refused as refused:
            if refused.reason is not Reason.NOT_FOUND:
                raise
        raise Refused(Reason.NOT_FOUND, f"there is no connection {request.id}")

    def _check_all(self) -> None:
        missing = [number for number in range(self.count) if number not in self.clients]
        if missing:
            raise Unavailable(f"worker {missing[0]} does not run, and what it has is not known: it is started again in a moment")

    def _check_unused(self, name: str) -> None:
        """What no worker knows of the others: connections and groups. Who decides looks at its own again."""
        attached = len(self.rows(r.ListConnections(name), r.ConnectionRow))
        if attached:
            raise Refused(Reason.IN_USE, f"namespace {name} is in use by {attached} connections: `entrepot connections list --namespace {name}`")
        if self.rows(r.ListGroups(name), r.GroupRow):
            raise Refused(Reason.NOT_EMPTY, f"namespace {name} is not empty: delete its consumer groups first")


def workers_client(directory: Path, file: WorkersFile, make: Callable[[Path], OneClient] = Client) -> WorkersClient:
    """Over the sockets of a node's directory. Raises NotRunning where no worker runs, and as Client does."""
    found: dict[int, OneClient] = {}
    try:
        for number in range(file.workers):
            try:
                found[number] = make(directory_of(directory, number))
            except NotRunning:
                continue
    except BaseException:
        for client in found.values():
            client.close()
        raise
    if not found:
        raise NotRunning
    return WorkersClient(found, file.workers)
