"""What the administration, and whoever acts for it in a process, has decided of the catalogue: requests of a port.Ask, each with what its result is.

Only the broker itself may ask (Principal.is_internal): who reaches it has been let in elsewhere. Refused as the methods of Users and Decisions say; the
result of all but AddAccessKey is None.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

Verifier: TypeAlias = tuple[str, bytes, int, bytes, bytes]
"""What is kept of a password for one mechanism: the fields of users.credentials.ScramVerifier. No password crosses processes."""


class MakeNamespace(Struct):
    """See that there is a namespace; `is_new`: and that there was none, EXISTS_DIFFERENT."""

    name: str
    is_new: bool = False


class DeleteNamespace(Struct):
    """An empty namespace that nobody is connected to, in the process that decides."""

    name: str


class AddUser(Struct):
    """Users.add_user()."""

    name: str
    verifiers: list[Verifier]
    namespaces: list[str] = []
    administrator: bool = False


class SetPassword(Struct):
    """Users.set_password()."""

    name: str
    verifiers: list[Verifier]


class DeleteUser(Struct):
    """Users.delete_user()."""

    name: str


class SetPermission(Struct):
    """Users.set_permission()."""

    name: str
    namespace: str
    configure: str
    write: str
    read: str


class ClearPermission(Struct):
    """Users.clear_permission()."""

    name: str
    namespace: str


class AddAccessKey(Struct):
    """Users.add_access_key(). result: its id; its secret every process can open that has the key of the data directory."""

    user: str


class DeleteAccessKey(Struct):
    """Users.delete_access_key()."""

    id: str


Request: TypeAlias = MakeNamespace | DeleteNamespace | AddUser | SetPassword | DeleteUser | SetPermission | ClearPermission | AddAccessKey | DeleteAccessKey

REQUESTS: tuple[type[Request], ...] = (
    MakeNamespace,
    DeleteNamespace,
    AddUser,
    SetPassword,
    DeleteUser,
    SetPermission,
    ClearPermission,
    AddAccessKey,
    DeleteAccessKey,
)
