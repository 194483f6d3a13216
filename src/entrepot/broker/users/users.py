"""Users: who there is, how they prove it, and what they may do; changes of the catalogue, as definitions are (catalogue/stream.py).

A password is kept as SCRAM verifiers only. Checking one by PLAIN costs milliseconds and is work for another thread:

    begin_plain(name, password) -> Principal (cached), or PlainCheck
    PlainCheck.run() -> bool, anywhere; touches nothing of the broker
    finish_plain(check, ok) -> Principal, on the loop again

`guest` with password `guest` exists until it is deleted or given another password, and is let in from loopback addresses only.
Errors are Refused: UNAUTHENTICATED (never says what was wrong), NOT_FOUND, EXISTS_DIFFERENT, INVALID.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from entrepot.broker.catalogue.changes import Revision, Row
from entrepot.broker.catalogue.kept_definitions import CATALOGUE_SHARD, decode_value, gone, scan_all
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state import CATALOGUE_PREFIX, set_value
from entrepot.broker.users.credentials import HASHES, ITERATIONS, ITERATIONS_MIN, SALT_SIZE, SCRAM_SHA_256, ScramVerifier, check_password, derive, may_be_right
from entrepot.broker.users.permission_pattern import compiled, half_anchored_text, is_half_anchored
from entrepot.clock import Clock
from entrepot.entropy import Entropy
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import check_name, check_namespace
from entrepot.model.principal import GUEST, TAG_ADMINISTRATOR, Principal

if TYPE_CHECKING:
    from entrepot.broker.users.secret_box import SecretBox  # its library takes a while to import, and many never need it

USER_KEY = CATALOGUE_PREFIX + b"u"
ACCESS_KEY_KEY = CATALOGUE_PREFIX + b"k"
DECOY_KEY = CATALOGUE_PREFIX + b"d"  # 32 random octets, from which the salts of users who do not exist are made

ALL_NAMESPACES = "*"
ACCESS_KEY = "access-key"  # mechanisms of a Principal that are none of SASL's
NO_CREDENTIALS = "none"
PLAIN_CACHE_S = 600  # how long a checked password is remembered
PLAIN_CACHE_MAX = 10_000  # passwords remembered; one more forgets all
ACCESS_KEYS_MAX = 100_000
USERS_MAX = 100_000

Verifiers: TypeAlias = tuple[ScramVerifier, ...]
"""What is kept of a password, for each mechanism."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a user may do in a namespace: three regular expressions over whole names; "" permits nothing.

    `closed`: the namespace cannot be opened at all, whatever ALL_NAMESPACES says.
    """

    configure: str = ".*"
    write: str = ".*"
    read: str = ".*"
    closed: bool = False

    @property
    def patterns(self) -> tuple[str, str, str]:
        """The three."""
        return self.configure, self.write, self.read


FORBIDDEN = Permission("", "", "", closed=True)


@dataclass(frozen=True, slots=True)
class User:
    """A user as kept. `permissions` by namespace, ALL_NAMESPACES for every one that is not listed. `deleted`: a guest that shall not be.

    `configured`: the configuration made it, and it goes with its section; None: not known, from before this was kept. `standing`: see Principal; not kept.
    """

    name: str
    tags: frozenset[str] = frozenset()
    verifiers: tuple[ScramVerifier, ...] = ()
    permissions: dict[str, Permission] = field(default_factory=dict)
    deleted: bool = False
    configured: bool | None = False
    standing: int = field(default=0, compare=False)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those it may use, by name; empty for all but those it is forbidden."""
        return () if ALL_NAMESPACES in self.permissions else tuple(sorted(name for name, permission in self.permissions.items() if not permission.closed))

    @property
    def forbidden(self) -> tuple[str, ...]:
        """Those it may not use whatever ALL_NAMESPACES says."""
        return tuple(sorted(name for name, permission in self.permissions.items() if permission.closed))

    def permission(self, namespace: str) -> Permission | None:
        """What it may do in a namespace; None: it may not use it."""
        found = self.permissions.get(namespace) or self.permissions.get(ALL_NAMESPACES)
        return None if found is None or found.closed else found

    @property
    def administrator(self) -> bool:
        """May change users and namespaces."""
        return TAG_ADMINISTRATOR in self.tags

    def verifier(self, mechanism: str) -> ScramVerifier | None:
        """What a SCRAM mechanism is checked against."""
        return next((verifier for verifier in self.verifiers if verifier.mechanism == mechanism), None)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key id and a secret that sign requests in a user's name; `sealed` is the secret as kept. `standing`: see Principal; not kept."""

    id: str
    user: str
    sealed: bytes
    standing: int = field(default=0, compare=False)


class PlainCheck:
    """One PLAIN password to be checked, off the loop."""

    __slots__ = ("digest", "password", "user", "verifier")

    def __init__(self, user: User | None, verifier: ScramVerifier, password: str, digest: bytes) -> None:
        self.user = user
        self.verifier = verifier
        self.password = password
        self.digest = digest

    def run(self) -> bool:
        """Whether the password is right. As slow for a user who does not exist."""
        return self.verifier.is_password(self.password) and self.user is not None


class Users:
    """All users and access keys. `secrets` gives the box at first use, None where there are no access keys; on_changed is called after every change.

    Changes are Unavailable, and change nothing, while the catalogue's shard is not open here.
    """

    prefixes: tuple[bytes, ...] = (USER_KEY, ACCESS_KEY_KEY, DECOY_KEY)

    def __init__(
        self, stream: CatalogueStream, clock: Clock, entropy: Entropy, secrets: Callable[[], SecretBox] | None = None, iterations: int = ITERATIONS
    ) -> None:
        assert iterations >= ITERATIONS_MIN, iterations
        self.on_changed: list[Callable[[], None]] = []
        self._stream = stream
        self._clock = clock
        self._entropy = entropy
        self._secrets = secrets
        self._opened: SecretBox | None = None
        self._iterations = iterations
        self._users: dict[str, User] = {}
        self._access_keys: dict[str, AccessKey] = {}
        self._key_standings: dict[int, str] = {}  # of access keys -> their user
        self._checked: dict[bytes, tuple[Principal, float]] = {}
        self._standing_count = 0
        self._digest_key = entropy.octets(32)
        self._decoy_key = entropy.octets(32)  # until load() has the one that is kept
        self._decoy = ScramVerifier(SCRAM_SHA_256, entropy.octets(SALT_SIZE), iterations, entropy.octets(32), b"")
        guest_salt = entropy.octets(SALT_SIZE)
        self._guest = User(
            GUEST, frozenset({TAG_ADMINISTRATOR}), _derive(GUEST, guest_salt, iterations), {ALL_NAMESPACES: Permission()}, standing=self._next_standing()
        )
        stream.add(self)

    def load(self, *, decides: bool = True) -> None:
        """Take in what the store has kept; once, before the first call. Raises CorruptData for what cannot be understood.

        `decides`: False of a process that hears of all this from another, and keeps nothing of it.
        """
        store = self._stream.store
        kept = store.get(CATALOGUE_SHARD, DECOY_KEY)
        if kept is None and decides:
            store.fold(CATALOGUE_SHARD, DECOY_KEY, set_value(self._decoy_key))
        elif kept is not None:
            self._decoy_key = kept
        for prefix in (USER_KEY, ACCESS_KEY_KEY):
            for key, value in scan_all(store, prefix):
                self._apply(Row(key, decode_value(key, value)))

    # What the catalogue's changes say

    def apply(self, revision: Revision, rows: list[Row], *, more: bool = False) -> None:
        """See snapshots.Part."""
        changes = [self._apply(row) for row in rows]
        if any(changes):
            self._checked.clear()
            for tell in self.on_changed:
                tell()

    def rows(self) -> Iterator[Row]:
        """See snapshots.Part."""
        for name in list(self._users):
            if name in self._users:
                yield _user_row(self._users[name])
        for key_id in list(self._access_keys):
            if key_id in self._access_keys:
                yield _key_row(self._access_keys[key_id])
        yield Row(DECOY_KEY, self._decoy_key)

    def snapshot(self) -> list[Row]:
        """All of rows()."""
        return list(self.rows())

    def value(self, key: bytes, kept: bytes) -> Any:
        """See snapshots.Part."""
        return kept if key == DECOY_KEY else decode_value(key, kept)

    def _apply(self, row: Row) -> bool:
        """Whether somebody who is let in may not be any more, or may do something else."""
        if row.key.startswith(USER_KEY):
            name = row.key[len(USER_KEY) :].decode()
            return self._apply_user(name, None if row.gone else _read_user(name, row.fields))
        if row.key == DECOY_KEY and not row.gone:  # the same in every process, or a name that nobody has would show several salts
            self._decoy_key = row.fields
        if not row.key.startswith(ACCESS_KEY_KEY):
            return False
        key_id = row.key[len(ACCESS_KEY_KEY) :].decode()
        return self._apply_key(key_id, None if row.gone else AccessKey(key_id, row.fields["user"], row.fields["sealed"]))

    def _apply_user(self, name: str, user: User | None) -> bool:
        """As _apply(). What is so already changes nothing: whose password is being checked is still the same."""
        before = self._users.get(name)
        if user == before:
            return False
        self._users.pop(name, None)
        if user is not None:
            before = before or (self._guest if name == GUEST else None)
            same = before is not None and not before.deleted and before.verifiers == user.verifiers
            self._users[name] = replace(user, standing=before.standing if same and before is not None else self._next_standing())
        return True

    def _apply_key(self, key_id: str, access_key: AccessKey | None) -> bool:
        """As _apply()."""
        known = self._access_keys.get(key_id)
        if access_key == known:
            return False
        if known is not None:
            del self._access_keys[key_id], self._key_standings[known.standing]
        if access_key is not None:
            self._add_key(replace(access_key, standing=self._next_standing()))
        return known is not None

    # Who there is

    def users(self) -> Iterator[User]:
        """Every user, by name; `guest` among them while it is as it came."""
        names = {user.name for user in self._users.values() if not user.deleted}
        if GUEST not in self._users:
            names.add(GUEST)
        return (self.user(name) for name in sorted(names))

    def names(self) -> list[str]:
        """Of all that there are now, in no order; and perhaps of some that there are not."""
        return list(self._users.keys() | {GUEST})

    def maybe_user(self, name: str) -> User | None:
        """The user of that name, or None."""
        user = self._users.get(name)
        if user is None:
            return self._guest if name == GUEST else None
        return None if user.deleted else user

    def user(self, name: str) -> User:
        """The user of that name; NOT_FOUND."""
        user = self.maybe_user(name)
        if user is None:
            raise Refused(Reason.NOT_FOUND, f"there is no user {name!r}")
        return user

    def has_own(self) -> bool:
        """Whether anybody may come in from elsewhere: there is a user besides guest."""
        return any(not user.deleted and user.name != GUEST for user in self._users.values())

    def pattern_notes(self) -> Iterator[str]:
        """What there is to say of kept patterns: which permit nothing, for they are not understood, and which permit fewer than they may seem to."""
        for user in self.users():
            for namespace, permission in user.permissions.items():
                for pattern in dict.fromkeys(permission.patterns):
                    try:
                        compiled(pattern)
                    except Refused as refused:
                        yield f"user '{user.name}' in {namespace}: {pattern!r} permits nothing: {refused}"
                        continue
                    if is_half_anchored(pattern):
                        yield f"user '{user.name}' in {namespace}: {half_anchored_text(pattern)}"

    def guest_is_as_it_came(self) -> bool:
        """Whether guest still has the password that everybody knows."""
        return GUEST not in self._users

    def is_current(self, principal: Principal) -> bool:
        """Whether what it showed would still let it in: its user is there, with that password or access key."""
        if principal.is_internal or not principal.name:
            return True
        if principal.mechanism == NO_CREDENTIALS:
            return self.anonymous(True) is not None
        user = self.maybe_user(principal.name)
        if user is None:
            return False
        if principal.mechanism == ACCESS_KEY:
            return self._key_standings.get(principal.standing) == user.name
        return principal.standing in (0, user.standing)

    # Who was let in by one process of several, and goes on at another: `standing` is a number of one process

    def credential_of(self, principal: Principal) -> bytes | None:
        """What says to another process that has the same users which password somebody has shown; None: he would not be let in any more."""
        if not self.is_current(principal) or principal.mechanism == ACCESS_KEY:
            return None
        return self._credential(self.maybe_user(principal.name), principal.mechanism)

    def who_has(self, name: str, mechanism: str, credential: bytes) -> Principal | None:
        """Whom another process has let in, by credential_of(); None: he would not be let in here."""
        user = self.maybe_user(name)
        if mechanism == NO_CREDENTIALS:
            return self.anonymous(True) if name == GUEST else None
        if user is None or mechanism == ACCESS_KEY or not hmac.compare_digest(self._credential(user, mechanism), credential):
            return None
        return Principal(user.name, user.tags, mechanism, user.standing)

    def _credential(self, user: User | None, mechanism: str) -> bytes:
        digest = hashlib.blake2b(mechanism.encode(), digest_size=32)
        if user is not None and not (user.name == GUEST and self.guest_is_as_it_came()):  # whose salt is a process's own
            for verifier in user.verifiers:
                for part in (verifier.mechanism.encode(), verifier.salt, verifier.stored_key, verifier.server_key):
                    digest.update(len(part).to_bytes(4, "big") + part)
        return digest.digest()

    # Changes

    def password_work(self, password: str) -> Callable[[], Verifiers]:
        """What is to be kept of a password, as work of milliseconds for any thread; add_user() and set_password() take its result. INVALID."""
        return partial(_derive, check_password(password), self._entropy.octets(SALT_SIZE), self._iterations)

    def add_user(self, name: str, password: str | Verifiers, namespaces: tuple[str, ...] = (), administrator: bool = False, configured: bool = False) -> User:
        """A new user with every permission in `namespaces` (empty: in all). EXISTS_DIFFERENT where there is one."""
        if name in self._users and not self._users[name].deleted:
            raise Refused(Reason.EXISTS_DIFFERENT, f"there is a user {name!r} already; set-password changes the password")
        if len(self._users) >= USERS_MAX:
            raise Refused(Reason.LIMIT, f"there are {USERS_MAX} users already, which is the limit")
        check_name("user", name)
        verifiers = self._verifiers(password)
        permissions = {check_namespace(namespace): Permission() for namespace in namespaces} or {ALL_NAMESPACES: Permission()}
        tags = frozenset({TAG_ADMINISTRATOR}) if administrator else frozenset[str]()
        return self._keep(User(name, tags, verifiers, permissions, configured=configured))

    def seed_user(self, name: str, password: str, namespaces: tuple[str, ...] = (), administrator: bool = False) -> None:
        """See that there is a user with this password, these namespaces and this role; changes nothing where there is.

        A namespace that the user was forbidden stays so. The user is the configuration's (forget_seeded()) unless it was made otherwise.
        """
        user = self._users.get(name)
        if user is None or user.deleted:
            self.add_user(name, password, namespaces, administrator, configured=True)
            return
        verifier = user.verifier(SCRAM_SHA_256)
        if verifier is None or not verifier.is_password(password):
            user = self.set_password(name, password)
        tags = user.tags | {TAG_ADMINISTRATOR} if administrator else user.tags - {TAG_ADMINISTRATOR}
        permissions = {check_namespace(namespace): user.permissions.get(namespace, Permission()) for namespace in namespaces}
        if not namespaces:
            permissions = {**user.permissions, ALL_NAMESPACES: user.permissions.get(ALL_NAMESPACES, Permission())}
        configured = True if user.configured is None else user.configured
        if tags != user.tags or permissions != user.permissions or configured != user.configured:
            self._keep(replace(user, tags=tags, permissions=permissions, configured=configured))

    def forget_seeded(self, names: Container[str]) -> list[str]:
        """Delete the users that a configuration made which is not `names` any more, with their access keys; who they were."""
        gone = [user.name for user in self._users.values() if user.configured and not user.deleted and user.name not in names]
        for name in gone:
            self.delete_user(name)
        return gone

    def set_password(self, name: str, password: str | Verifiers) -> User:
        """Another password; connections that showed the old one end."""
        user = self.user(name)
        verifiers = self._verifiers(password)
        return self._keep(replace(user, verifiers=verifiers))

    def set_tags(self, name: str, tags: frozenset[str]) -> User:
        """Other tags; they count at once."""
        return self._keep(replace(self.user(name), tags=tags))

    def set_permission(self, name: str, namespace: str, permission: Permission) -> User:
        """What the user may do in a namespace, or in ALL_NAMESPACES; INVALID for what is no regular expression."""
        if namespace != ALL_NAMESPACES:
            check_namespace(namespace)
        for pattern in permission.patterns:
            compiled(pattern)
        user = self.user(name)
        return self._keep(replace(user, permissions={**user.permissions, namespace: permission}))

    def clear_permission(self, name: str, namespace: str) -> User:
        """The user may not use the namespace, also where it may use all others; with ALL_NAMESPACES: none that is not listed."""
        user = self.user(name)
        permissions = {other: permission for other, permission in user.permissions.items() if other != namespace}
        if namespace != ALL_NAMESPACES:
            permissions[check_namespace(namespace)] = FORBIDDEN
        return self._keep(replace(user, permissions=permissions))

    def delete_user(self, name: str) -> None:
        """The user and its access keys; what it made stays, and its open connections end."""
        user = self.user(name)
        rows = [gone(_key_row(access_key)) for access_key in self.access_keys(name)]
        self._stream.commit([*rows, _user_row(User(GUEST, deleted=True)) if name == GUEST else gone(_user_row(user))])

    # Passwords

    def begin_plain(self, name: str, password: str, from_loopback: bool) -> Principal | PlainCheck:
        """Check a PLAIN password: the principal where it was checked lately, else the work to do. UNAUTHENTICATED at once for guest from elsewhere."""
        user = self.maybe_user(name)
        if name == GUEST and not from_loopback:
            raise _not_authenticated()
        if not may_be_right(name, password):  # answered as any other that is wrong
            return PlainCheck(None, self._decoy, "", b"")
        digest = hashlib.blake2b(name.encode(errors="surrogateescape"), key=self._digest_key, digest_size=32)
        digest.update(b"\x00" + password.encode(errors="surrogateescape"))
        key = digest.digest()
        known = self._checked.get(key)
        if known is not None and user is not None and self._clock.monotonic_s() < known[1]:
            return known[0]
        verifier = None if user is None else user.verifier(SCRAM_SHA_256)
        return PlainCheck(user if verifier is not None else None, verifier or self._decoy, password, key)

    def finish_plain(self, check: PlainCheck, ok: bool) -> Principal:
        """Who it is, after PlainCheck.run(). UNAUTHENTICATED, also where the user was changed meanwhile."""
        user = check.user
        if not ok or user is None or self.maybe_user(user.name) is not user:
            raise _not_authenticated()
        principal = Principal(user.name, user.tags, "PLAIN", user.standing)
        if len(self._checked) >= PLAIN_CACHE_MAX:
            self._checked.clear()
        self._checked[check.digest] = (principal, self._clock.monotonic_s() + PLAIN_CACHE_S)
        return principal

    # Connections without a password on the wire

    def anonymous(self, from_loopback: bool) -> Principal | None:
        """Who shows no credentials where a protocol has none: guest, from loopback, while nobody changed that and there is no other user."""
        if not from_loopback or GUEST in self._users or self.has_own():
            return None
        return Principal(GUEST, self._guest.tags, NO_CREDENTIALS)

    def scram_verifier(self, name: str, mechanism: str, from_loopback: bool) -> ScramVerifier:
        """What a SCRAM proof is checked against. Of a name that nobody has, salt and iterations look like anybody's, and no proof fits."""
        user = self.maybe_user(name) if from_loopback or name != GUEST else None
        verifier = None if user is None else user.verifier(mechanism)
        if verifier is not None:
            return verifier
        salt = hashlib.blake2b(name.encode(errors="surrogateescape"), key=self._decoy_key, digest_size=SALT_SIZE).digest()
        return ScramVerifier(mechanism, salt, self._iterations, self._decoy.stored_key, b"")

    def scram_principal(self, name: str, mechanism: str, verifier: ScramVerifier) -> Principal | None:
        """Who it is, after check_proof() of `verifier`; None where that is not the user's any more."""
        user = self.maybe_user(name)
        if user is None or user.verifier(mechanism) != verifier:
            return None
        return Principal(user.name, user.tags, mechanism, user.standing)

    # Access keys

    def add_access_key(self, user: str) -> tuple[AccessKey, str]:
        """A new access key of a user, and its secret (40 characters); it can be shown again at any time."""
        self.user(user)
        if len(self._access_keys) >= ACCESS_KEYS_MAX:
            raise Refused(Reason.LIMIT, f"there are {ACCESS_KEYS_MAX} access keys already, which is the limit")
        key_id = "ENTK" + base64.b32encode(self._entropy.octets(10)).decode()
        secret = base64.b64encode(self._entropy.octets(30)).decode()
        self._stream.commit([_key_row(AccessKey(key_id, user, self._box().seal(secret.encode(), key_id)))])
        return self.access_key(key_id), secret

    def access_key(self, key_id: str) -> AccessKey:
        """The access key of that id; NOT_FOUND."""
        access_key = self._access_keys.get(key_id)
        if access_key is None:
            raise Refused(Reason.NOT_FOUND, f"there is no access key {key_id!r}")
        return access_key

    def access_keys(self, user: str) -> list[AccessKey]:
        """Every access key of a user."""
        return [access_key for access_key in self._access_keys.values() if access_key.user == user]

    def secret_of(self, key_id: str) -> str:
        """The secret of an access key. Raises CorruptData where the key file is not the one it was sealed with."""
        return self._box().open(self.access_key(key_id).sealed, key_id).decode()

    def check_secrets(self) -> None:
        """Whether the key is the one that what there is was sealed with; of one access key, which tells it. Raises CorruptData."""
        for key_id in self._access_keys:
            self.secret_of(key_id)
            return

    def open_secrets(self) -> None:
        """Have the key that secrets are sealed with at hand. Raises Refused where there is none, CorruptData where it is damaged."""
        self._box()

    def delete_access_key(self, key_id: str) -> None:
        """It signs nothing more."""
        self._stream.commit([gone(_key_row(self.access_key(key_id)))])

    # Below: how

    def _box(self) -> SecretBox:
        if self._opened is None:
            if self._secrets is None:
                raise Refused(Reason.NOT_SUPPORTED, "access keys need the key file of the data directory, which was not given")
            self._opened = self._secrets()
        return self._opened

    def _next_standing(self) -> int:
        self._standing_count += 1
        return self._standing_count

    def _add_key(self, access_key: AccessKey) -> None:
        self._access_keys[access_key.id] = access_key
        self._key_standings[access_key.standing] = access_key.user

    def _verifiers(self, password: str | Verifiers) -> Verifiers:
        return self.password_work(password)() if isinstance(password, str) else password

    def _keep(self, user: User) -> User:
        self._stream.commit([_user_row(user)])
        return self._users[user.name]


def _derive(password: str, salt: bytes, iterations: int) -> Verifiers:
    return tuple(derive(mechanism, password, salt, iterations) for mechanism in HASHES)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or a peer's, is this machine and nobody else's."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_listen(name: str, host: str, users: Users) -> None:
    """Refused (NOT_PERMITTED) where a listener would be open to others and nobody but guest could use it."""
    if not is_loopback(host) and not users.has_own():
        raise Refused(
            Reason.NOT_PERMITTED,
            f"listen.{name} = {host!r}: that address is open to other machines, and there are no users; add one with `entrepot users add NAME`, "
            "or listen on 127.0.0.1",
        )


def _not_authenticated() -> Refused:
    return Refused(Reason.UNAUTHENTICATED, "name and password do not match a user who may come from this address")


def _key_row(access_key: AccessKey) -> Row:
    return Row(ACCESS_KEY_KEY + access_key.id.encode(), {"user": access_key.user, "sealed": access_key.sealed})


def _user_row(user: User) -> Row:
    fields = {
        "tags": sorted(user.tags),
        "verifiers": [
            {
                "mechanism": verifier.mechanism,
                "salt": verifier.salt,
                "iterations": verifier.iterations,
                "stored_key": verifier.stored_key,
                "server_key": verifier.server_key,
            }
            for verifier in user.verifiers
        ],
        "permissions": {namespace: [permission.configure, permission.write, permission.read] for namespace, permission in user.permissions.items()},
        "forbidden": list(user.forbidden),
        "deleted": user.deleted,
        "configured": user.configured,
    }
    return Row(USER_KEY + user.name.encode(), fields)


def _read_user(name: str, fields: dict[str, Any]) -> User:
    return User(
        name,
        frozenset(fields["tags"]),
        tuple(ScramVerifier(**verifier) for verifier in fields["verifiers"] if verifier["mechanism"] in HASHES),
        {namespace: Permission(*patterns) for namespace, patterns in fields["permissions"].items()} | dict.fromkeys(fields.get("forbidden", ()), FORBIDDEN),
        fields["deleted"],
        fields.get("configured"),
    )
