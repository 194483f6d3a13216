"""Topic names and filters: what is one, what matches, and that `amq.topic` finds the same for what they are translated to."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.catalogue.matching import TopicTrie
from entrepot.protocols.mqtt.reason_codes import MqttError
from entrepot.protocols.mqtt.topics import check_name, filter_of, is_filter, key_of, matches, shared, topic_of

# Few characters, so that much matches; among them all that mean something on either side.
LETTERS = st.sampled_from(["a", "b", ".", "*", "$", "", " ", "ü"])
levels = st.lists(LETTERS, max_size=3).map("".join)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool).map(str.encode)


@st.composite
def filters(draw: st.DrawFn) -> bytes:
    wanted = draw(st.lists(levels | st.just("+") | st.just("+"), max_size=5))
    if draw(st.booleans()):
        wanted.append("#")
    assume("/".join(wanted))
    return "/".join(wanted).encode()


def matched(topic_filter: list[str], topic: list[str]) -> bool:
    """As the specification says it (4.7.1), level by level."""
    if topic_filter == ["#"]:
        return True
    if not topic_filter or not topic:
        return topic_filter == topic
    return topic_filter[0] in ("+", topic[0]) and matched(topic_filter[1:], topic[1:])


@settings(max_examples=examples(120), deadline=None)
@given(filters(), topics)
def test_matching_is_the_specifications(topic_filter: bytes, topic: bytes) -> None:
    wanted = matched(topic_filter.decode().split("/"), topic.decode().split("/"))
    if topic.startswith(b"$") and topic_filter[:1] in (b"+", b"#"):
        wanted = False
    assert matches(topic_filter, topic) == wanted


@settings(max_examples=examples(120), deadline=None)
@given(st.lists(filters(), max_size=6, unique=True), topics)
def test_the_exchange_finds_the_same(wanted: list[bytes], topic: bytes) -> None:
    """But for topics with `$` in front: there it finds what begins with a wildcard, too, which the session leaves out."""
    trie = TopicTrie()
    for topic_filter in wanted:
        trie.add(key_of(topic_filter).decode(), topic_filter)
    found: dict[bytes, bool] = {}
    trie.match(key_of(topic).decode(), found)
    ours = {topic_filter for topic_filter in wanted if matches(topic_filter, topic)}
    assert ours <= set(found)
    if topic.startswith(b"$"):
        assert all(topic_filter[:1] in (b"+", b"#") for topic_filter in set(found) - ours)
    else:
        assert ours == set(found)


@given(topics)
def test_a_topic_comes_back_from_its_key(topic: bytes) -> None:
    key = key_of(topic)
    assert topic_of(key) == topic
    assert b"*" not in key
    assert b"#" not in key
    assert len(key) == len(topic)


@given(filters())
def test_a_filter_comes_back_from_its_pattern(topic_filter: bytes) -> None:
    assert is_filter(topic_filter)
    assert filter_of(key_of(topic_filter)) == topic_filter


@given(st.text(alphabet="ab/.+*#$\0ü", max_size=6))
def test_a_key_has_a_topic_where_that_leads_back_to_it(key: str) -> None:
    topic = topic_of(key.encode())
    if topic is None:
        assert not key or set(key) & set("*#\0")
    else:
        check_name(topic)
        assert key_of(topic) == key.encode()


@pytest.mark.parametrize(
    ("topic", "key"),
    [(b"sport/tennis/p1", b"sport.tennis.p1"), (b"a.b/c*", b"a/b.c+"), (b"/", b"."), (b"/finance", b".finance"), (b"$SYS/x", b"$SYS.x"), (b"*", b"+")],
)
def test_keys(topic: bytes, key: bytes) -> None:
    assert (key_of(topic), topic_of(key)) == (key, topic)


@pytest.mark.parametrize(("topic_filter", "pattern"), [(b"sport/+/#", b"sport.*.#"), (b"#", b"#"), (b"+/a.b/*", b"*.a/b.+")])
def test_patterns(topic_filter: bytes, pattern: bytes) -> None:
    assert (key_of(topic_filter), filter_of(pattern)) == (pattern, topic_filter)


@pytest.mark.parametrize("key", [b"", b"a.#", b"a*", b"#", b"\xff", b"a\0"])
def test_keys_that_are_no_topic(key: bytes) -> None:
    assert topic_of(key) is None


@pytest.mark.parametrize("pattern", [b"#.a", b"a#", b"*a.b", b"", b"\xff", b"\0"])
def test_patterns_that_are_no_filter(pattern: bytes) -> None:
    assert filter_of(pattern) is None


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [
        (b"sport/tennis/player1/#", b"sport/tennis/player1"),
        (b"sport/tennis/player1/#", b"sport/tennis/player1/score/wimbledon"),
        (b"sport/#", b"sport"),
        (b"#", b"a/b"),
        (b"#", b"/"),
        (b"sport/+", b"sport/"),
        (b"+/+", b"/finance"),
        (b"/+", b"/finance"),
        (b"$SYS/#", b"$SYS/x"),
        (b"$SYS/+/x", b"$SYS/monitor/x"),
        (b"+/#", b"a"),
        (b"a/$b/#", b"a/$b"),
    ],
)
def test_what_matches(topic_filter: bytes, topic: bytes) -> None:
    assert matches(topic_filter, topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [
        (b"sport/+", b"sport"),
        (b"+", b"/finance"),
        (b"sport/tennis/+", b"sport/tennis/a/b"),
        (b"#", b"$SYS/x"),
        (b"+/monitor/x", b"$SYS/monitor/x"),
        (b"a", b"A"),
        (b"a/b/#", b"a"),
        (b"a", b"a/"),
    ],
)
def test_what_does_not(topic_filter: bytes, topic: bytes) -> None:
    assert not matches(topic_filter, topic)


@pytest.mark.parametrize("topic_filter", [b"", b"sport/tennis#", b"sport/tennis/#/ranking", b"sport+", b"+a", b"a/b+/c", b"#/", b"##", b"++"])
def test_what_is_no_filter(topic_filter: bytes) -> None:
    assert not is_filter(topic_filter)
    assert shared(topic_filter) is None


@pytest.mark.parametrize(
    ("topic_filter", "found"),
    [
        (b"$share/g/a/+", (b"g", b"a/+")),
        (b"$share/g//a", (b"g", b"/a")),
        (b"$share/g/$share/h/a", (b"g", b"$share/h/a")),
        (b"a/#", (b"", b"a/#")),
        (b"$shared/g", (b"", b"$shared/g")),
        (b"$share", None),
        (b"$share/", None),
        (b"$share/g", None),
        (b"$share/g/", None),
        (b"$share//a", None),
        (b"$share/g+/a", None),
        (b"$share/#/a", None),
        (b"$share/g/a#", None),
    ],
)
def test_shared(topic_filter: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert shared(topic_filter) == found


@pytest.mark.parametrize("topic", [b"", b"a/#", b"+", b"a\0", b"\xed\xa0\x80", b"\xff"])
def test_what_is_no_topic(topic: bytes) -> None:
    with pytest.raises(MqttError):
        check_name(topic)
