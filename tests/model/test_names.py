import pytest

from entrepot.model.errors import Refused
from entrepot.model.names import Address, check_name, check_namespace, namespace_of_vhost, parse_address, vhost_of
from entrepot.model.principal import BROKER, Principal


@pytest.mark.parametrize(
    ("vhost", "namespace", "shown"),
    [
        ("/", "public/default", "/"),
        ("default", "public/default", "/"),
        ("orders", "public/orders", "orders"),
        ("acme/orders", "acme/orders", "acme/orders"),
        ("public/orders", "public/orders", "orders"),
    ],
)
def test_virtual_hosts_are_namespaces(vhost, namespace, shown):
    assert namespace_of_vhost(vhost) == namespace
    assert vhost_of(namespace) == shown
    assert check_namespace(namespace) == namespace


@pytest.mark.parametrize("namespace", ["", "a", "/a", "a/", "a/b/c", "a b/c", "é/b", "a/" + "b" * 65])
def test_what_is_no_namespace(namespace):
    with pytest.raises(Refused, match="is not 'tenant/name'"):
        check_namespace(namespace)


def test_addresses():
    assert parse_address("queue:a:b") == Address("queue", "a:b")
    assert str(parse_address("topic:t")) == "topic:t"
    for text in ("q", "exchange:e", "queue", ":q"):
        with pytest.raises(Refused, match="is neither"):
            parse_address(text)
    with pytest.raises(Refused, match="name is empty"):
        parse_address("queue:")


def test_names_are_limited_in_bytes():
    assert check_name("queue", "x" * 255)
    with pytest.raises(Refused, match="queue name of 256 bytes exceeds the maximum of 255"):
        check_name("queue", "x" * 256)
    assert check_name("queue", "é" * 127)
    with pytest.raises(Refused, match="256 bytes"):
        check_name("queue", "é" * 128)


def test_principals_are_values():
    assert Principal("a", frozenset({"x"})) == Principal("a", frozenset({"x"}))
    assert len({Principal("a"), Principal("a"), Principal("b")}) == 2
    assert BROKER.is_internal
    assert not Principal("a").is_internal
