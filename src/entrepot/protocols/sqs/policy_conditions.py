"""Conditions of policies: what of them holds for a request. None, here and in policy.py, is "not understood".

Understood are the operators of texts, ARNs, addresses and truth over the keys of KEYS. Not understood are those of numbers, dates and binaries, those
over sets, other keys, policy variables (`${aws:username}`), values of another form than the operator's, and what a request says in over VALUE_MAX characters.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from entrepot.protocols.sqs.patterns import Pattern, Steps

VALUE_MAX = 256  # characters of what a request has for a key
KEYS = frozenset(
    {"aws:sourceip", "aws:securetransport", "aws:sourcearn", "aws:sourceaccount", "aws:principalarn", "aws:principalaccount", "aws:username", "aws:useragent"}
)
ARN_PARTS = 6
IF_EXISTS = "IfExists"
SETS = ("ForAllValues:", "ForAnyValue:")

Test = Callable[[str, Steps], bool | None]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Operator(NamedTuple):
    """One operator of AWS's. `make` is None where it is known and not understood; a negative one holds where its test does not."""

    make: Callable[[list[str]], Test] | None = None
    negative: bool = False


class Condition(NamedTuple):
    """One operator over one key, ready to be asked."""

    key: str
    test: Test | None  # None: not understood
    negative: bool = False
    if_exists: bool = False
    is_null: bool | None = None  # of the operator Null: what it asks for

    def holds(self, keys: Mapping[str, str], steps: Steps) -> bool | None:
        """Whether it holds; None: not understood. Raises Exhausted."""
        there = keys.get(self.key)
        if self.is_null is not None:
            return (there is None) == self.is_null
        if self.test is None:
            return None
        if there is None:
            return self.if_exists or self.negative
        if len(there) > VALUE_MAX:
            return None
        found = self.test(there, steps)
        return found if found is None else found != self.negative


def texts_of(value: Any) -> list[str] | None:
    """A value or values as texts; None: there are none, or one is no text, number or truth."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, (str, int, float)) for item in values):
        return None
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


def has_variable(text: str) -> bool:
    """Whether a policy variable may be meant."""
    return "${" in text


def maybe_network(text: str) -> Network | None:
    """Addresses in CIDR form; IPv4 ones that are written as IPv6 are IPv4. None: it is no such."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped) is not None:
        return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def maybe_arn_pattern(text: str) -> list[str] | None:
    """The parts of a pattern of ARNs; a lone * is all of them. None: it is no such."""
    parts = text.split(":", ARN_PARTS - 1)
    if text == "*":
        return ["*"] * ARN_PARTS
    return parts if len(parts) == ARN_PARTS and parts[0] == "arn" else None


# ---- one maker for each way to compare. True: one of the values fits; None: none does, and one is not understood.


def _equal(values: list[str], fold: bool = False) -> Test:
    unknown = None if any(map(has_variable, values)) else False
    wanted = frozenset(item.lower() if fold else item for item in values if not has_variable(item))
    return lambda there, _steps: (there.lower() if fold else there) in wanted or unknown


def _like(values: list[str]) -> Test:
    unknown = None if any(map(has_variable, values)) else False
    patterns = [Pattern(item) for item in values if not has_variable(item)]
    return lambda there, steps: any(pattern.matches(there, steps) for pattern in patterns) or unknown


def _arn(values: list[str]) -> Test:
    found = [None if has_variable(item) else maybe_arn_pattern(item) for item in values]
    patterns = [[Pattern(part) for part in parts] for parts in found if parts is not None]
    unknown = None if None in found else False

    def test(there: str, steps: Steps) -> bool | None:
        parts = there.split(":", ARN_PARTS - 1)
        if len(parts) != ARN_PARTS:
            return None
        return any(all(pattern.matches(part, steps) for pattern, part in zip(wanted, parts, strict=True)) for wanted in patterns) or unknown

    return test


def _address(values: list[str]) -> Test:
    found = [maybe_network(item) for item in values]
    networks = [(network.version, int(network.network_address), int(network.netmask)) for network in found if network is not None]
    unknown = None if None in found else False

    def test(there: str, steps: Steps) -> bool | None:
        network = maybe_network(there.partition("%")[0])
        if network is None or network.num_addresses != 1:
            return None
        version, address = network.version, int(network.network_address)
        for other, first, mask in networks:
            steps.take(1)
            if version == other and address & mask == first:
                return True
        return unknown

    return test


def _truth(values: list[str]) -> Test:
    wanted = frozenset(item.lower() for item in values)
    unknown = False if wanted <= {"true", "false"} else None
    return lambda there, _steps: there in wanted or unknown


OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_equal),
    "StringNotEquals": Operator(_equal, negative=True),
    "StringEqualsIgnoreCase": Operator(lambda values: _equal(values, fold=True)),
    "StringNotEqualsIgnoreCase": Operator(lambda values: _equal(values, fold=True), negative=True),
    "StringLike": Operator(_like),
    "StringNotLike": Operator(_like, negative=True),
    "ArnEquals": Operator(_arn),
    "ArnLike": Operator(_arn),
    "ArnNotEquals": Operator(_arn, negative=True),
    "ArnNotLike": Operator(_arn, negative=True),
    "IpAddress": Operator(_address),
    "NotIpAddress": Operator(_address, negative=True),
    "Bool": Operator(_truth),
    "Null": Operator(),
    "BinaryEquals": Operator(),
    **{
        f"{kind}{how}": Operator()
        for kind in ("Numeric", "Date")
        for how in ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
    },
}


def make_condition(operator: str, key: str, value: Any) -> Condition:
    """A condition ready to be asked, whatever it is."""
    name = operator.removesuffix(IF_EXISTS)
    key = key.lower()
    values = texts_of(value)
    if key not in KEYS or values is None:
        return Condition(key, None)
    if operator == "Null":
        said = {item.lower() for item in values}
        return Condition(key, None, is_null=said == {"true"} if said in ({"true"}, {"false"}) else None)
    found = OPERATORS.get(name)
    if found is None or found.make is None:
        return Condition(key, None)
    return Condition(key, found.make(values), found.negative, operator.endswith(IF_EXISTS))
