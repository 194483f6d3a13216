"""Administration: users, access keys, permissions and namespaces are changed: where the catalogue is decided, whichever process is asked.

ask(request, done)   in any process; done(error, result) when it is durable and everybody has applied it, and at once where it is refused here
perform(request)     in the process that decides: done, in the open commit
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from entrepot.broker.calls import administration as calls
from entrepot.broker.calls.port import Ask
from entrepot.broker.front.door import Door
from entrepot.broker.operations.operations import FurtherHandler, Outcome
from entrepot.broker.operations.own_calls import Done, ask_as_broker
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.users.credentials import HASHES, ITERATIONS_MIN, ScramVerifier
from entrepot.broker.users.users import Permission, Users, Verifiers
from entrepot.model.errors import CorruptData, Reason, Refused, Unavailable
from entrepot.model.names import DEFAULT_NAMESPACE


class Administration:
    """Over one broker, whose operations it joins, and its users."""

    def __init__(self, broker: Any, users: Users) -> None:
        self._broker: BrokerParts = broker
        self._users = users
        broker.operations.add_handlers(self.handlers())

    def handlers(self) -> dict[type, FurtherHandler]:
        """For Operations."""
        return dict.fromkeys(calls.REQUESTS, self._asked)

    def ask(self, request: calls.Request, done: Done) -> None:
        """See the module."""
        ask_as_broker(self._broker, DEFAULT_NAMESPACE, request, done)

    def perform(self, request: calls.Request) -> Any:
        """See the module. Raises NotDone, and has changed nothing then; CorruptData: what secrets are sealed with."""
        return _PERFORM[type(request)](self, request)

    def check_unused(self, name: str) -> None:
        """Whether nobody is attached to a namespace, and no group is in it, as far as this process has them. Raises IN_USE, NOT_EMPTY, Unavailable."""
        broker: Any = self._broker
        attached = sum(door.namespace == name for door in broker.doors)
        if attached:
            raise Refused(Reason.IN_USE, f"namespace {name} is in use by {attached} connections: `entrepot connections list --namespace {name}`")
        try:
            for shard in broker.store.closed:
                broker.owners.owner_of(shard)
        except Unavailable:
            raise Unavailable("shards are on their way: whether the namespace has consumer groups is not known here now") from None
        if any(namespace == name for namespace, _ in broker.groups.places()):
            raise Refused(Reason.NOT_EMPTY, f"namespace {name} is not empty: delete its consumer groups first")

    def _asked(self, door: Door, call: Ask, request: Any) -> Outcome:
        """A request of a port's."""
        if not door.principal.is_internal:
            raise Refused(Reason.NOT_PERMITTED, "users and namespaces are changed by the administration")
        try:
            result = self.perform(request)
        except CorruptData as error:  # nothing that the asking process has said
            raise Unavailable(str(error)) from None
        return result, self._broker.decisions.stream.ticket()

    # ---- each

    def _make_namespace(self, request: calls.MakeNamespace) -> None:
        if request.is_new and request.name in self._broker.catalogue.namespaces:
            raise Refused(Reason.EXISTS_DIFFERENT, f"there is a namespace {request.name} already")
        self._broker.decisions.create_namespace(request.name)

    def _delete_namespace(self, request: calls.DeleteNamespace) -> None:
        if request.name not in self._broker.catalogue.namespaces:
            raise Refused(Reason.NOT_FOUND, f"there is no namespace {request.name!r}")
        self.check_unused(request.name)
        self._broker.decisions.delete_namespace(request.name)

    def _add_user(self, request: calls.AddUser) -> None:
        self._users.add_user(request.name, kept_verifiers(request.verifiers), tuple(request.namespaces), request.administrator)

    def _set_password(self, request: calls.SetPassword) -> None:
        self._users.set_password(request.name, kept_verifiers(request.verifiers))

    def _delete_user(self, request: calls.DeleteUser) -> None:
        self._users.delete_user(request.name)

    def _set_permission(self, request: calls.SetPermission) -> None:
        _check_texts((request.configure, request.write, request.read))
        self._users.set_permission(request.name, request.namespace, Permission(request.configure, request.write, request.read))

    def _clear_permission(self, request: calls.ClearPermission) -> None:
        self._users.clear_permission(request.name, request.namespace)

    def _add_access_key(self, request: calls.AddAccessKey) -> str:
        return self._users.add_access_key(request.user)[0].id

    def _delete_access_key(self, request: calls.DeleteAccessKey) -> None:
        self._users.delete_access_key(request.id)


def told_verifiers(verifiers: Verifiers) -> list[calls.Verifier]:
    """Of a password, as a request says them."""
    return [(one.mechanism, one.salt, one.iterations, one.stored_key, one.server_key) for one in verifiers]


def kept_verifiers(told: Iterable[calls.Verifier]) -> Verifiers:
    """The same back; those of mechanisms that are not known here are left out. Refused (INVALID) where none is left, or one is too weak."""
    found = tuple(ScramVerifier(*one) for one in told if one[0] in HASHES)
    if not found or any(one.iterations < ITERATIONS_MIN for one in found):
        raise Refused(Reason.INVALID, "what is kept of the password cannot be used")
    return found


def _check_texts(texts: Iterable[str]) -> None:
    """Raises Refused (INVALID) for what cannot be written as UTF-8."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise Refused(Reason.INVALID, "a regular expression that is not UTF-8") from None


_PERFORM: dict[type, Callable[[Administration, Any], Any]] = {
    calls.MakeNamespace: Administration._make_namespace,  # noqa: SLF001 - the table of this class
    calls.DeleteNamespace: Administration._delete_namespace,  # noqa: SLF001
    calls.AddUser: Administration._add_user,  # noqa: SLF001
    calls.SetPassword: Administration._set_password,  # noqa: SLF001
    calls.DeleteUser: Administration._delete_user,  # noqa: SLF001
    calls.SetPermission: Administration._set_permission,  # noqa: SLF001
    calls.ClearPermission: Administration._clear_permission,  # noqa: SLF001
    calls.AddAccessKey: Administration._add_access_key,  # noqa: SLF001
    calls.DeleteAccessKey: Administration._delete_access_key,  # noqa: SLF001
}
assert _PERFORM.keys() == {*calls.REQUESTS}
