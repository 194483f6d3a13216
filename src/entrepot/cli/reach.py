"""How a command gets at a broker's objects: over the socket of the broker that runs on the data directory, or in the directory itself while none does.

A directory of several workers has a socket for each; what is decided lies in worker 0's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from entrepot.model.errors import Reason, Refused

if TYPE_CHECKING:
    from entrepot.admin.client import Client
    from entrepot.admin.requests import ChangeRequest, ListRequest, Made, Row
    from entrepot.admin.workers_client import WorkersClient
    from entrepot.settings import Config

RowT = TypeVar("RowT", bound="Row")


class Reached(Protocol):
    """Who carries out requests. Raises Refused; a running broker's also Unavailable and OutcomeUnknown."""

    def rows(self, request: ListRequest, row: type[RowT]) -> list[RowT]:
        """A list, whole, in no order."""

    def change(self, request: ChangeRequest) -> Made:
        """Done, and durable when the command ends."""


@contextmanager
def running(config: Config) -> Iterator[Reached]:
    """The broker that runs on the data directory; Refused where none does."""
    from entrepot.admin.client import NotRunning

    directory = Path(config.data)
    try:
        client = _connected(directory)
    except NotRunning:
        raise Refused(Reason.NOT_FOUND, no_broker(directory)) from None
    try:
        yield client
    finally:
        client.close()


@contextmanager
def kept(config: Config, may_make: bool = False) -> Iterator[Reached]:
    """The running broker, else the data directory. Refused where that is none, unless it may be made, and while a broker starts or stops on it."""
    from entrepot.admin.client import NotRunning

    directory = Path(config.data)
    try:
        client = _connected(directory)
    except NotRunning:
        if not may_make and not _is_data(directory):
            raise Refused(Reason.NOT_FOUND, _no_directory(directory)) from None
        with _opened(config) as here:
            yield here
        return
    try:
        yield client
    finally:
        client.close()


def _connected(directory: Path) -> Client | WorkersClient:
    """To the broker that runs there, or to its workers. Raises NotRunning."""
    from entrepot.admin.client import Client
    from entrepot.admin.workers_client import workers_client
    from entrepot.cluster.workers.directory import read

    file = read(directory)
    return Client(directory) if file is None else workers_client(directory, file)


class _Here:
    """The same over a node in this process, that nobody else has."""

    def __init__(self, node: Any) -> None:
        from entrepot.admin.changes import Changes
        from entrepot.admin.lists import Lists

        self._lists = Lists(node, None)
        self._changes = Changes(node, None)

    def rows(self, request: ListRequest, row: type[RowT]) -> list[RowT]:
        """See Reached."""
        return [each for each in self._lists.steps(request) if isinstance(each, row)]

    def change(self, request: ChangeRequest) -> Made:
        """See Reached."""
        work = self._changes.password_work(request)
        return self._changes.perform_here(request, None if work is None else work())


@contextmanager
def _opened(config: Config) -> Iterator[Reached]:
    from entrepot.server import offline

    with ExitStack() as ending:
        try:
            node = ending.enter_context(offline(*_deciding(config, ending)))
        except Refused as refused:
            if refused.reason is not Reason.IN_USE:
                raise
            raise Refused(Reason.IN_USE, f"{refused}; it does not take commands yet, or no more: it starts or stops, or its log says why") from None
        yield _Here(node)


def _deciding(config: Config, held: ExitStack) -> tuple[Config, range | None]:
    """What the store is opened by that has the catalogue, and which shards are its own; None: all. Of several workers nobody starts, or is divided, meanwhile.

    Raises Refused: somebody has the directory, or a split of it was interrupted.
    """
    from entrepot.broker.users.secret_box import KEY_FILE_NAME
    from entrepot.cluster.workers.directory import check_whole, directory_of, read
    from entrepot.cluster.workers.opening import lock
    from entrepot.entropy import SystemEntropy
    from entrepot.secret_file import make_key

    directory = Path(config.data)
    check_whole(directory)
    if read(directory) is None:
        return config, None
    held.callback(os.close, lock(directory))
    check_whole(directory)
    file = read(directory)
    if file is None:  # until now it was of several
        raise Refused(Reason.IN_USE, f"{directory} has just been divided anew: try again")
    if not config.secrets_key_file:
        make_key(directory / KEY_FILE_NAME, SystemEntropy())
    secrets_key_file = config.secrets_key_file or str(directory / KEY_FILE_NAME)
    return msgspec.structs.replace(config, data=str(directory_of(directory, 0)), secrets_key_file=secrets_key_file), range(0, file.shards, file.workers)


def _is_data(directory: Path) -> bool:
    from entrepot.cluster.workers.directory import NAME
    from entrepot.store.local.posix_disk import LOCK

    return (directory / LOCK).exists() or (directory / NAME).exists()


def _no_directory(directory: Path) -> str:
    return f"{directory} is no data directory: --data says where it is, or --config which configuration does"


def no_broker(directory: Path) -> str:
    """What to say where none runs on it."""
    if not _is_data(directory):
        return _no_directory(directory)
    return (
        f"no broker runs on {directory}, or it is still starting, or its log says why it takes no commands; `entrepot serve` starts one, "
        "--data or --config says where another's data is"
    )
