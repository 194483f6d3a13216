"""Who a request comes from: by its signature, or by its key id alone where there are no users.

Without users any credentials are the guest's, as test suites use them, from loopback only; the key id chooses the account. With users a request
is signed with one of their access keys, or is nobody's: nobody may do what a queue's own policy allows to everybody, unless the setting
sqs.anonymous names the user whose the unsigned requests are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.broker.users.users import ACCESS_KEY
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal
from entrepot.protocols.sqs.accounts import Accounts
from entrepot.protocols.sqs.cors import Cors
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.making import Making, Waits
from entrepot.protocols.sqs.policy import ALLOW, DENY, OWNER_ONLY, Context, Policy
from entrepot.protocols.sqs.sigv4 import KEYS_MAX, Verifier, read_claim

if TYPE_CHECKING:
    from entrepot.broker.calls.port import Attachment
    from entrepot.net.pages import Pages
    from entrepot.net.session import Peer
    from entrepot.protocols.sqs.framing import Request

CALLERS_MAX = 16  # of one connection, and attachments of each: one more begins anew
TARGETS_MAX = 256  # queue URLs that a caller has ready
DECISIONS_MAX = 1024  # what policies said, per caller; one more forgets all
POLICIES_MAX = 256  # policies of the process that are ready; one more forgets all
READING = frozenset({"GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues", "ListMessageMoveTasks", "ListQueueTags", "ListQueues"})
"""Actions that change nothing, whose answers a browser shows to nobody but who has typed the address."""
NOBODY = Principal("", frozenset(), "anonymous")


class Caller:
    """One principal on one connection, with its attachments to namespaces."""

    __slots__ = ("account", "arn", "attachments", "decisions", "namespace", "principal", "region", "sender", "targets")

    def __init__(self, principal: Principal, namespace: str, account: str, region: str, arn: str, sender: bytes) -> None:
        self.principal = principal
        self.region = region
        self.namespace = namespace
        self.account = account
        self.arn = arn  # "": nobody
        self.sender = sender  # SenderId of what it sends
        self.attachments: dict[str, Attachment] = {}
        self.targets: dict[str, tuple[Attachment, str]] = {}  # by queue URL
        self.decisions: dict[tuple[str, str, str], tuple[int, bool]] = {}  # (namespace, queue, action) -> policy's version, whether it grants


class Callers:
    """Finds out who a request comes from. `users` and `authenticator` are the broker's; `anonymous`, `pages` and `cors` are the settings."""

    def __init__(self, users: Any, authenticator: Any, accounts: Accounts, anonymous: str, clock: Any, pages: Pages, cors: Cors) -> None:
        self.accounts = accounts
        self.pages = pages
        self.cors = cors
        self.version = 0  # another one whenever users change
        self._users = users
        self._authenticator = authenticator
        self._anonymous = anonymous
        self._clock = clock
        self._verifier = Verifier()
        self._keys: dict[str, tuple[str, Principal]] = {}  # by the access key's id
        self._policies: dict[str, Policy] = {}
        users.on_changed.append(self._changed)

    def guest(self, peer: Peer) -> Principal | None:
        """Whose all requests are, whatever their credentials; None: they must be signed."""
        found: Principal | None = self._authenticator.anonymous(peer)
        return found

    def guest_caller(self, principal: Principal, key_id: str, region: str, making: Making) -> Caller:
        """The caller of a key id, in the region that it signs for, where there are no users. Raises SqsError; Waits: its namespace is being made."""
        namespace = self.accounts.namespace_of_key_id(key_id, region, making)
        if namespace is None:
            making.waits = True
            raise Waits
        account = self.accounts.account_of(namespace)
        return Caller(principal, namespace, account, self.accounts.region_of(namespace), f"arn:aws:iam::{account}:root", account.encode())

    def check_page(self, request: Request, action: str, peer: Peer) -> None:
        """Of any request without a signature that counts: whether a web page may have had it sent. Raises SqsError."""
        host = request.host.decode("latin-1")
        reads = action in READING
        listed = len(request.origin) > 0 and self.cors.is_listed(request.origin)
        from_page, from_browser = request.from_page and not listed, request.from_browser and not listed
        why = self.pages.why_not(host, peer.local_host, from_page=from_page, from_browser=from_browser, reads=reads)
        if why is not None:
            raise SqsError("AccessDeniedException", why)

    def signed(self, request: Request) -> tuple[str, str, Principal]:
        """Key id ("": not signed), region and principal of a request. Raises SqsError."""
        claim = read_claim(request)
        if claim is None:
            if not self._anonymous:
                return "", self.accounts.home, NOBODY
            user = self._users.maybe_user(self._anonymous)
            if user is None:
                raise SqsError("AccessDeniedException", "Requests must be signed: the user whose unsigned ones would be does not exist.")
            return "", self.accounts.home, Principal(user.name, user.tags, "anonymous")
        known = self._keys.get(claim.key_id)
        if known is None:
            known = self._key(claim.key_id)
        secret, principal = known
        self._verifier.verify(request, claim, secret, self._clock.wall_ms())
        return claim.key_id, claim.signer.region, principal

    def _key(self, key_id: str) -> tuple[str, Principal]:
        """Secret and user of an access key, remembered until users change. Raises SqsError."""
        try:
            access_key = self._users.access_key(key_id)
            secret = self._users.secret_of(key_id)
        except Refused:
            raise SqsError("UnrecognizedClientException", "The security token included in the request is invalid.") from None
        user = self._users.maybe_user(access_key.user)
        if user is None:
            raise SqsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if len(self._keys) >= KEYS_MAX:
            self._keys.clear()
        found = self._keys[key_id] = (secret, Principal(user.name, user.tags, ACCESS_KEY, access_key.standing))
        return found

    def signed_caller(self, principal: Principal, usual: str, region: str) -> Caller:
        """The caller that a principal is, in the region that it signs for. `usual` is the namespace of who may use all."""
        if principal is NOBODY or not principal.name:
            return Caller(principal, usual, self.accounts.account_of(usual), self.accounts.home, "", b"anonymous")
        namespace = self.accounts.in_region(self._authenticator.namespace_of(principal, usual), region)
        account = self.accounts.account_of(namespace)
        sender = principal.name.encode()[:255].decode(errors="ignore").encode()
        return Caller(principal, namespace, account, self.accounts.region_of(namespace), f"arn:aws:iam::{account}:user/{principal.name}", sender)

    def decide(self, caller: Caller, action: str, namespace: str, queue: str, changed: PolicyChanged, peer: Peer, user_agent: str) -> bool:
        """What a queue's policy says of a caller: whether it grants what permissions may not. Raises SqsError where it denies."""
        if not changed.policy:
            return False
        policy = self._policies.get(changed.policy)
        if policy is None:
            if len(self._policies) >= POLICIES_MAX:
                self._policies.clear()
            policy = self._policies[changed.policy] = Policy(changed.policy)
        keys = {"aws:sourceip": peer.host, "aws:securetransport": "true" if peer.tls else "false"}
        if user_agent:
            keys["aws:useragent"] = user_agent
        if caller.arn:
            keys |= {"aws:principalarn": caller.arn, "aws:principalaccount": caller.account, "aws:username": caller.principal.name}
        context = Context(action, self.arn_of(namespace, queue), caller.account if caller.arn else "", caller.arn, keys)
        found = policy.decide(context)
        if found == DENY:
            raise SqsError("AccessDeniedException", f"Access to the resource is denied: the queue's policy denies sqs:{action} to the caller.")
        if found == ALLOW and action in OWNER_ONLY:  # as in AWS, no policy gives these to other accounts
            return bool(caller.arn) and caller.namespace == namespace
        return found == ALLOW

    def arn_of(self, namespace: str, queue: str) -> str:
        """The ARN of a queue."""
        return f"arn:aws:sqs:{self.accounts.region_of(namespace)}:{self.accounts.account_of(namespace)}:{queue}"

    def _changed(self) -> None:
        self.version += 1
        self._keys.clear()
        self._verifier.forget()
