import pytest

from entrepot.model.errors import Refused
from entrepot.model.names import Address, check_name, check_namespace, namespace_of_vhost, parse_address, vhost_of, without_vhosts
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cut \ud83d", "queue name 'cut \\ud83d' has half of a surrogate pair without the other half (U+D83D), which is no character"),
        ("caf\udce9", "queue name 'caf\\xe9' is not UTF-8"),
    ],
)
def test_what_is_no_text_is_named_as_what_it_is(name, text):
    with pytest.raises(Refused) as caught:
        check_name("queue", name)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "elsewhere"),
    [
        ("no queue 'q' in vhost '/'", "no queue 'q'"),
        ("queue 'q' in vhost 'acme/shop' is exclusive to another connection", "queue 'q' is exclusive to another connection"),
        ("consumer prefetch count is not set for 'queue 'q' in vhost '/''", "consumer prefetch count is not set for 'queue 'q''"),
        ("access to vhost 'shop' refused for user 'ann'", "access to namespace 'public/shop' refused for user 'ann'"),
        ("access to vhost '/' was taken from user 'ann'", "access to namespace 'public/default' was taken from user 'ann'"),
        ("vhost acme/shop not found", "namespace 'acme/shop' not found"),
        ("no topic 'vhosts'", "no topic 'vhosts'"),
    ],
)
def test_who_knows_no_virtual_hosts_hears_of_none(text, elsewhere):
    assert without_vhosts(text) == elsewhere


def test_principals_are_values():
    assert Principal("a", frozenset({"x"})) == Principal("a", frozenset({"x"}))
    assert len({Principal("a"), Principal("a"), Principal("b")}) == 2
    assert BROKER.is_internal
    assert not Principal("a").is_internal
