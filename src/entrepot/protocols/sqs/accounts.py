"""Accounts: which namespace a caller's queues are in, and the twelve digits by which SQS calls it.

The default namespace is the account of the setting; `public/123456789012` is the account 123456789012. Any other namespace has digits made from
its name. Without users a key id of twelve digits is the account itself, whose namespace is made when it is first used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from entrepot.model.names import DEFAULT_NAMESPACE, DEFAULT_TENANT

ACCOUNT_SIZE = 12
DEFAULT_ACCOUNT = "000000000000"


def is_account(text: str) -> bool:
    """Whether it is an account's number."""
    return len(text) == ACCOUNT_SIZE and text.isascii() and text.isdigit()


def is_queue_path(path: bytes) -> bool:
    """Whether a URL's path is a queue's: /ACCOUNT/NAME."""
    account, _, name = path.strip(b"/").partition(b"/")
    return bool(name) and b"/" not in name and is_account(account.decode("latin-1"))


class Accounts:
    """The accounts of one broker. namespaces: those there are, by name; create(name) makes one, Refused where that is not possible."""

    def __init__(self, namespaces: Any, create: Callable[[str], object], default_account: str = DEFAULT_ACCOUNT) -> None:
        self._namespaces: Any = namespaces
        self._create = create
        self.default_account = default_account
        self._made: dict[str, str] = {}  # digits made from names -> namespace
        self._seen = 0  # how many namespaces there were when _made was filled

    def account_of(self, namespace: str) -> str:
        """The account's number of a namespace."""
        if namespace == DEFAULT_NAMESPACE:
            return self.default_account
        tenant, _, name = namespace.partition("/")
        if tenant == DEFAULT_TENANT and is_account(name) and name != self.default_account:
            return name
        number = int.from_bytes(hashlib.blake2b(namespace.encode(errors="surrogateescape"), digest_size=8).digest(), "big")
        return f"9{number % 10**11:011d}"

    def maybe_namespace(self, account: str) -> str | None:
        """The namespace of an account, if there is one."""
        if account == self.default_account:
            return DEFAULT_NAMESPACE
        plain = f"{DEFAULT_TENANT}/{account}"
        if plain in self._namespaces:
            return plain
        if len(self._namespaces) != self._seen:
            self._seen = len(self._namespaces)
            self._made = {self.account_of(name): name for name in self._namespaces}
        found = self._made.get(account)
        return found if found is not None and found in self._namespaces else None

    def namespace_of_key_id(self, key_id: str) -> str:
        """Where a key id of twelve digits is the account; made if there is none. Refused where that is not possible."""
        if not is_account(key_id) or key_id == self.default_account:
            return DEFAULT_NAMESPACE
        namespace = self.maybe_namespace(key_id)
        if namespace is None:
            namespace = f"{DEFAULT_TENANT}/{key_id}"
            self._create(namespace)
        return namespace
