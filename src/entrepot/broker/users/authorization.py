"""Authorization: authorize(), the one place that says whether a principal may do something.

As RabbitMQ: a user has three regular expressions for each namespace (configure, write, read), which a resource's whole name has to match
(RabbitMQ's are found anywhere in it).
The default exchange is called `amq.default` here. Answers are remembered until any user changes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import replace

from entrepot.broker.users.name_pattern import NamePattern
from entrepot.broker.users.permission_pattern import compiled
from entrepot.broker.users.users import Permission, Users
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import vhost_of
from entrepot.model.principal import Principal

DEFAULT_EXCHANGE_NAME = "amq.default"
CACHE_MAX = 65_536  # answers remembered; one more forgets all


class Action(enum.Enum):
    """What is to be done."""

    CONFIGURE = "configure"  # declare, delete
    WRITE = "write"  # publish; be bound to
    READ = "read"  # consume, get, purge; be bound from


class ResourceKind(enum.Enum):
    """To what kind of thing."""

    QUEUE = "queue"
    TOPIC = "topic"
    EXCHANGE = "exchange"
    GROUP = "group"


class Authorizer:
    """Asks the users what their permissions say."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._answers: dict[tuple[str, Action, str, str], bool] = {}
        self._patterns: dict[str, NamePattern | None] = {}
        self.version = 0  # another one whenever answers may be others
        self._watching: list[Callable[[], object]] = []
        users.on_changed.append(self._forget)

    def watch(self, tell: Callable[[], object]) -> None:
        """Have `tell` called whenever answers may be others, after `version` is another."""
        self._watching.append(tell)

    def authorize(self, principal: Principal, action: Action, namespace: str, kind: ResourceKind, name: str, granted: bool = False) -> None:
        """Refused (NOT_PERMITTED) unless `principal` may do `action` to the thing called `name`, or the thing's own policy has `granted` it."""
        if not granted and not self.may(principal, action, namespace, name):
            raise Refused(
                Reason.NOT_PERMITTED,
                f"access to {kind.value} '{name or DEFAULT_EXCHANGE_NAME}' in vhost '{vhost_of(namespace)}' refused for user '{principal.name}'",
            )

    def authorize_namespace(self, principal: Principal, namespace: str) -> None:
        """Refused (NOT_PERMITTED) unless `principal` may use the namespace at all."""
        if not self.may_use(principal, namespace):
            raise Refused(Reason.NOT_PERMITTED, f"access to vhost '{vhost_of(namespace)}' refused for user '{principal.name}'")

    def may_use(self, principal: Principal, namespace: str) -> bool:
        """Whether it may use the namespace at all, by what it showed when it came."""
        return principal.is_internal or (self.is_current(principal) and self._permission(principal.name, namespace) is not None)

    def is_current(self, principal: Principal) -> bool:
        """Whether it would still be let in by what it showed when it came."""
        return self._users.is_current(principal)

    def refreshed(self, principal: Principal) -> Principal:
        """The same, with the tags that its user has now."""
        user = self._users.maybe_user(principal.name)
        return principal if user is None or principal.is_internal or user.tags == principal.tags else replace(principal, tags=user.tags)

    def may(self, principal: Principal, action: Action, namespace: str, name: str) -> bool:
        """Whether it may."""
        if principal.is_internal:
            return True
        key = (principal.name, action, namespace, name)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= CACHE_MAX:
                self._answers.clear()
            answer = self._answers[key] = self._look_up(principal.name, action, namespace, name or DEFAULT_EXCHANGE_NAME)
        return answer

    def may_some(self, principal: Principal, action: Action, namespace: str) -> bool:
        """Whether there are names in the namespace with which it may; the pattern `^$`, which only the empty name matches, counts as none."""
        if principal.is_internal:
            return True
        permission = self._permission(principal.name, namespace)
        return permission is not None and _text_of(permission, action) not in ("", "^$")

    def _look_up(self, user: str, action: Action, namespace: str, name: str) -> bool:
        permission = self._permission(user, namespace)
        if permission is None:
            return False
        text = _text_of(permission, action)
        if text not in self._patterns:
            try:
                self._patterns[text] = compiled(text)
            except Refused:  # kept from before, and told of at the start
                self._patterns[text] = None
        pattern = self._patterns[text]
        return pattern is not None and pattern.matches(name)

    def _permission(self, name: str, namespace: str) -> Permission | None:
        user = self._users.maybe_user(name)
        return None if user is None else user.permission(namespace)

    def _forget(self) -> None:
        self._answers.clear()
        self._patterns.clear()
        self.version += 1
        for tell in self._watching:
            tell()


def _text_of(permission: Permission, action: Action) -> str:
    """The pattern that says which names an action is permitted for."""
    return {Action.CONFIGURE: permission.configure, Action.WRITE: permission.write, Action.READ: permission.read}[action]
