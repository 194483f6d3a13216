"""Accounts: which namespace a caller's queues are in, and the twelve digits by which SQS calls it.

The default namespace is the account of the setting; `public/123456789012` is the account 123456789012. Any other namespace has digits made from
its name. Without users a key id of twelve digits is the account itself, whose namespace is made when it is first used.

Where regions are kept apart, what is said of an account holds for the home region, and `public/123456789012:eu-west-1` is the same account in another one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from entrepot.model.errors import NotDone
from entrepot.model.names import DEFAULT_NAMESPACE, DEFAULT_TENANT

ACCOUNT_SIZE = 12
DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

Made = Callable[[NotDone | None], None]


def is_account(text: str) -> bool:
    """Whether it is an account's number."""
    return len(text) == ACCOUNT_SIZE and text.isascii() and text.isdigit()


def is_queue_path(path: bytes) -> bool:
    """Whether a URL's path is a queue's: /ACCOUNT/NAME."""
    account, _, name = path.strip(b"/").partition(b"/")
    return bool(name) and b"/" not in name and is_account(account.decode("latin-1"))


class Accounts:
    """The accounts of one broker. namespaces: those there are, by name; create(name, made) has one made: it is there then, or made(error) is called once it is
    known, at a later turn.

    home: the region of what says none. apart: queues belong to the region that a request is signed for; otherwise all is of the home region.
    """

    def __init__(
        self,
        namespaces: Any,
        create: Callable[[str, Made], object],
        default_account: str = DEFAULT_ACCOUNT,
        home: str = DEFAULT_REGION,
        apart: bool = False,
    ) -> None:
        self._namespaces: Any = namespaces
        self._create = create
        self.default_account = default_account
        self.home = home
        self.apart = apart
        self._made: dict[tuple[str, str], str] = {}  # digits made from names, region -> namespace
        self._seen = (0, "")  # how many namespaces there were when _made was filled, and the latest

    def has(self, namespace: str) -> bool:
        """Whether there is a namespace."""
        return namespace in self._namespaces

    def region_of(self, namespace: str) -> str:
        """The region of a namespace."""
        return self._parted(namespace)[1]

    def account_of(self, namespace: str) -> str:
        """The account's number of a namespace."""
        base = self._parted(namespace)[0]
        if base == DEFAULT_NAMESPACE:
            return self.default_account
        tenant, _, name = base.partition("/")
        if tenant == DEFAULT_TENANT and is_account(name) and name != self.default_account:
            return name
        number = int.from_bytes(hashlib.blake2b(base.encode(errors="surrogateescape"), digest_size=8).digest(), "big")
        return f"9{number % 10**11:011d}"

    def in_region(self, namespace: str, region: str) -> str:
        """The namespace of the same account in a region; of what is no region's name, in the home region. It need not exist."""
        if not self.apart:
            return namespace
        base = self._parted(namespace)[0]
        return base if region == self.home or not _REGION.fullmatch(region) else f"{base}:{region}"

    def maybe_namespace(self, account: str, region: str) -> str | None:
        """The namespace of an account in a region, if there is one."""
        plain = self.in_region(DEFAULT_NAMESPACE if account == self.default_account else f"{DEFAULT_TENANT}/{account}", region)
        if plain in self._namespaces:
            return plain
        seen = (len(self._namespaces), next(reversed(self._namespaces), ""))
        if seen != self._seen:
            self._seen = seen
            self._made = {(self.account_of(name), self.region_of(name)): name for name in self._namespaces}
        found = self._made.get((account, self.region_of(plain)))
        return found if found is not None and found in self._namespaces else None

    def namespace_of_key_id(self, key_id: str, region: str, made: Made) -> str | None:
        """Where a key id of twelve digits is the account, in a region; made if there is none. None: it is not there yet, and made() is called later."""
        account = key_id if is_account(key_id) else self.default_account
        namespace = self.maybe_namespace(account, region)
        if namespace is None:
            namespace = self.in_region(DEFAULT_NAMESPACE if account == self.default_account else f"{DEFAULT_TENANT}/{account}", region)
            if namespace != DEFAULT_NAMESPACE:
                self._create(namespace, made)
                if namespace not in self._namespaces:
                    return None
        return namespace

    def _parted(self, namespace: str) -> tuple[str, str]:
        """What a namespace is called in the home region, and its own."""
        if self.apart:
            base, _, region = namespace.rpartition(":")
            if base and _REGION.fullmatch(region) and region != self.home:
                return base, region
        return namespace, self.home
