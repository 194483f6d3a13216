"""Topic patterns: against `re` where both know the syntax; refused where they are not supported; linear where `re` is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.groups.work import at_once
from entrepot.broker.users.name_pattern import HELD_MAX, NODES_MAX, NamePattern
from entrepot.model.errors import Reason, Refused

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", "\\d", "\\w", "\\.", "(?:)", "^", "$", "-"])


def expressions():
    return st.recursive(
        ATOMS,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda both: f"(?:{both[0]}|{both[1]})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(lambda both: f"(?:{both[0]}){both[1]}"),
        ),
        max_leaves=8,
    )


@given(expressions(), st.lists(st.text("abcA1._-", max_size=6), max_size=8))
def test_as_python_says(text, names):
    pattern = NamePattern(text)
    for name in names:
        expected = re.compile(text + r"\Z").match(name) is not None
        assert at_once(NamePattern(text).matching(name)) == expected, (text, name)
        assert pattern.matches(name) == at_once(pattern.matching(name)) == expected, (text, name)


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("", [""], ["a"]),
        ("orders", ["orders"], ["orders2", "order", "xorders", ""]),
        ("^orders.*$", ["orders", "orders.eu"], ["my.orders"]),
        ("(eu|us)-[a-z]+", ["eu-x", "us-abc"], ["eu-", "de-x", "eu-X"]),
        ("(?i)Orders-[a-c]", ["ORDERS-A", "orders-b"], ["orders-d"]),
        ("a{2,3}", ["aa", "aaa"], ["a", "aaaa"]),
        ("[]a]+", ["]a"], ["b"]),
        ("[a-]+", ["a-"], ["b"]),
        ("[\\d.]+", ["1.2"], ["a"]),
        ("(?:a|b)?c", ["c", "ac", "bc"], ["abc"]),
        ("\\w+\\.\\d{4}", ["log.2026"], ["log.26"]),
        ("a|", ["a", ""], ["b"]),
        ("ä+", ["ää"], ["a"]),
    ],
)
def test_examples(text, matching, others):
    pattern = NamePattern(text)
    assert [name for name in [*matching, *others] if pattern.matches(name)] == matching


@pytest.mark.parametrize(
    "text",
    [
        "(",
        ")",
        "a)",
        "[",
        "[a",
        "*",
        "a**",
        "a{",
        "a{2",
        "a{3,2}",
        "a{999}",
        "a{x}",
        "(?=a)",
        "(?P<n>a)",
        "(?i:a)",
        "\\1",
        "\\b",
        "\\pL",
        "\\",
        "[b-a]",
        "[[:alpha:]]",
        "[\\D]",
        "[a-\\d]",
        "x" * 1025,
        "(" * 40 + ")" * 40,
        "((((a{99}){99}){99}){99})",
        "+",
        "?",
        "{1}",
        "a|*",
    ],
)
def test_what_is_not_supported_is_refused(text):
    with pytest.raises(Refused) as caught:
        NamePattern(text)
    assert caught.value.reason is Reason.INVALID_PATTERN


def test_what_explodes_elsewhere_does_not_here():
    pattern = NamePattern("(a*)*(a|aa)+(.*a.*)*b")
    assert not pattern.matches("a" * 200)
    assert pattern.matches("a" * 200 + "b")


def test_many_states_are_forgotten():
    pattern = NamePattern("[ab]*a[ab]{12}")
    for number in range(3000):
        name = f"{number:020b}".replace("0", "a").replace("1", "b")
        assert pattern.matches(name) == (name[7] == "a")


def held(pattern):
    """What its states hold that grows with names."""
    states, waiting = {}, [pattern._first, *pattern._states.values()]
    while waiting:
        state = waiting.pop()
        if id(state) not in states:
            states[id(state)] = state
            waiting += [following for following in (*state.ascii, *state.others.values()) if following is not None]
    return sum(len(state.nodes) + len(state.others) for state in states.values())


@pytest.mark.once
def test_names_of_very_many_characters_take_little():
    pattern = NamePattern(".*", any_is_all=True)
    for first in range(0x4E00, 0x4E00 + 4 * HELD_MAX, 200):
        assert pattern.matches("".join(map(chr, range(first, first + 200))))
        assert held(pattern) <= HELD_MAX + 2 * NODES_MAX


@pytest.mark.once
def test_states_of_very_many_nodes_take_little():
    pattern = NamePattern(".*a(.{200}){3}")
    for number in range(200):
        name = f"{number:08b}".replace("0", "a").replace("1", "b") * 30
        assert not pattern.matches(name)
        assert held(pattern) <= HELD_MAX + 2 * NODES_MAX


@given(st.text("ab()[]{}*+?|^$\\.,-01:i<P=", max_size=20))
def test_any_text_compiles_or_is_refused(text):
    try:
        pattern = NamePattern(text)
    except Refused as refused:
        why = refused.reason
    else:
        pattern.matches("ab")
        why = Reason.INVALID_PATTERN
    assert why is Reason.INVALID_PATTERN
