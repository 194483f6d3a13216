"""Names: namespaces, addresses, and what is legal in one.

A namespace is `tenant/name`. AMQP knows it as a virtual host: `/` and `default` are `public/default`, a word without a slash is a
namespace of the tenant `public`, anything else is `tenant/name` as it stands.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from entrepot.model.errors import Reason, Refused
from entrepot.model.printable import printable

DEFAULT_TENANT = "public"
DEFAULT_NAMESPACE = "public/default"

NAME_SIZE_MAX = 255  # bytes of UTF-8: an AMQP short string, and Kafka's and SQS's limits are below it
NAMESPACE_PART_SIZE_MAX = 64

_NAMESPACE = re.compile(rf"([-=:.\w]{{1,{NAMESPACE_PART_SIZE_MAX}}})/([-=:.\w]{{1,{NAMESPACE_PART_SIZE_MAX}}})", re.ASCII)


class Address(NamedTuple):
    """One place within a namespace; `queue:orders` and `topic:orders` are two."""

    kind: str  # "queue" or "topic"
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_address(text: str) -> Address:
    """`queue:NAME` or `topic:NAME`; Refused (INVALID) for anything else."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in ("queue", "topic"):
        raise Refused(Reason.INVALID, f"address {text!r} is neither 'queue:NAME' nor 'topic:NAME'")
    return Address(kind, check_name(kind, name))


def check_name(kind: str, name: str) -> str:
    """`name` itself when a thing of `kind` may be called that; Refused (INVALID) if empty, over NAME_SIZE_MAX bytes or not UTF-8."""
    if not name:
        raise Refused(Reason.INVALID, f"{kind} name is empty")
    if len(name) * 4 > NAME_SIZE_MAX or not name.isascii():
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise Refused(Reason.INVALID, f"{kind} name {_why_no_utf8(name)}") from None
        if size > NAME_SIZE_MAX:
            raise Refused(Reason.INVALID, f"{kind} name of {size} bytes exceeds the maximum of {NAME_SIZE_MAX}")
    return name


def _why_no_utf8(name: str) -> str:
    """Octets that are no UTF-8 are surrogate escapes in it; any other surrogate is half of a pair."""
    try:
        octets = name.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        half = ord(name[error.start])
        return f"'{printable(name)}' has half of a surrogate pair without the other half (U+{half:04X}), which is no character"
    return f"'{printable(octets.decode(errors='backslashreplace'))}' is not UTF-8"


def shown(name: str) -> str:
    """`name` as an error's text shows it: what no legal name is as long as, is cut short."""
    return name if len(name) <= NAME_SIZE_MAX else f"{name[:NAME_SIZE_MAX]}…"


def check_namespace(namespace: str) -> str:
    """`namespace` itself when it is `tenant/name`, each of letters, digits and `_ - = : .`; Refused (INVALID) otherwise."""
    if not _NAMESPACE.fullmatch(namespace):
        raise Refused(
            Reason.INVALID,
            f"namespace {namespace!r} is not 'tenant/name', each 1 to {NAMESPACE_PART_SIZE_MAX} of letters, digits and '_-=:.'",
        )
    return namespace


def namespace_of_vhost(vhost: str) -> str:
    """The namespace an AMQP virtual host stands for; not checked for legality or existence."""
    if vhost == "/":
        return DEFAULT_NAMESPACE
    if "/" in vhost:
        return vhost
    return f"{DEFAULT_TENANT}/{vhost}"


def vhost_of(namespace: str) -> str:
    """The shortest virtual host that means `namespace`: the one error texts show to AMQP's clients."""
    if namespace == DEFAULT_NAMESPACE:
        return "/"
    tenant, _, name = namespace.partition("/")
    return name if tenant == DEFAULT_TENANT else namespace


_IN_VHOST = re.compile(r" in vhost '[^\s']+'")
_VHOST = re.compile(r"vhost ('?)([^\s',]+)\1")


def without_vhosts(text: str) -> str:
    """An error's text for clients that know no virtual hosts: where those of AMQP are told one, `in vhost '/'` goes, `vhost 'a'` is `namespace 'public/a'`."""
    if "vhost" not in text:
        return text
    return _VHOST.sub(lambda found: f"namespace '{namespace_of_vhost(found[2])}'", _IN_VHOST.sub("", text))
