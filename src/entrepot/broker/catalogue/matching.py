"""Matching: which bindings of a topic or headers exchange a message satisfies, and where they lead.

Destinations are opaque here. Each has the makers of the bindings that lead to it, a tuple of names for each binding; `carries`(makers), where it is given,
says which of them count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from entrepot.broker.catalogue.arguments import same_value, text_of, type_name
from entrepot.model.errors import Reason, Refused

_ELEMENTS_MAX = 500  # of a table or list that a header has, which are looked at to find who wants it


class TrieNode:
    """A word of topic patterns, with the destinations of the patterns that end here and the makers of each of their bindings."""

    __slots__ = ("destinations", "is_hash", "parent", "seen", "word", "words")

    parent: TrieNode | None
    word: str
    is_hash: bool  # stays for any number of words
    words: dict[str, TrieNode]  # `*` and `#` among them
    destinations: dict[Any, tuple[tuple[str, ...], ...]]
    seen: int  # the step of a match that came by last


def _make_node(parent: TrieNode | None, word: str) -> TrieNode:
    node = TrieNode.__new__(TrieNode)
    node.parent = parent
    node.word = word
    node.is_hash = parent is not None and word == "#"
    node.words = {}
    node.destinations = {}
    node.seen = 0
    return node


def words_of(key: str) -> list[str]:
    """The words of a routing key or pattern: separated by dots, possibly empty; the empty key has none."""
    return key.split(".") if key else []


class TopicTrie:
    """Patterns of words, `*` (one word, perhaps empty) and `#` (none or more), matched as an automaton.

    A match costs words times the nodes that are alive at once, whatever the patterns: `#.#.#.#` is no worse than its length.
    """

    def __init__(self) -> None:
        self.root = _make_node(None, "")
        self.count = 0
        self.walked = 0  # nodes looked at by the last match
        self._step = 0

    def add(self, pattern: str, destination: Any, makers: tuple[str, ...] = ()) -> None:
        """One binding more from `pattern` to `destination`."""
        node = self.root
        for word in words_of(pattern):
            child = node.words.get(word)
            if child is None:
                child = _make_node(node, word)
                node.words[word] = child
            node = child
        count_up(node.destinations, destination, makers)
        self.count += 1

    def remove(self, pattern: str, destination: Any, makers: tuple[str, ...] = ()) -> None:
        """One binding less; the last one of a word takes the word along."""
        node = self.root
        for word in words_of(pattern):
            node = node.words[word]
        self.count -= 1
        count_down(node.destinations, destination, makers)
        while node.parent is not None and not node.destinations and not node.words:
            parent = node.parent
            del parent.words[node.word]
            node = parent

    def match(self, key: str, found: dict[Any, bool], carries: Callable[[tuple[str, ...]], bool] | None = None) -> None:
        """Add to `found` every destination with a pattern that matches `key`; with `carries`, by a binding whose makers it says yes to."""
        self.walked = 0
        if self.count == 0:
            return
        alive: list[TrieNode] = []
        self._step += 1
        self._enter(alive, self.root)
        for word in words_of(key):
            following: list[TrieNode] = []
            self._step += 1
            self.walked += len(alive)
            for node in alive:
                if node.is_hash:
                    self._enter(following, node)
                child = node.words.get(word)
                # the words `*` and `#` of a routing key are words like others, and match such a pattern as any word does
                if child is not None and word != "*" and word != "#":
                    self._enter(following, child)
                child = node.words.get("*")
                if child is not None:
                    self._enter(following, child)
            if not following:
                return
            alive = following
        for node in alive:
            add_carried(node.destinations, found, carries)

    def _enter(self, alive: list[TrieNode], node: TrieNode) -> None:
        """Make `node` alive, and every `#` that follows it at once, since it may stand for no word."""
        current: TrieNode | None = node
        while current is not None and current.seen != self._step:
            current.seen = self._step
            alive.append(current)
            current = current.words.get("#")


class HeadersPattern:
    """What bindings to a headers exchange ask of a message's headers, and where those lead that ask for the same."""

    __slots__ = ("destinations", "keys", "match_all", "wanted")

    destinations: dict[Any, tuple[tuple[str, ...], ...]]
    keys: list[tuple[Any, ...]]  # of HeadersIndex, one for each that is wanted
    match_all: bool
    wanted: list[tuple[str, Any]]  # name, value; None: the name alone must be there

    def matches(self, headers: Mapping[str, Any]) -> bool:
        """Whether `headers` satisfy it; asking for nothing, `all` always does and `any` never."""
        for name, value in self.wanted:
            same = name in headers and (value is None or same_value(value, headers[name]))
            if same != self.match_all:
                return not self.match_all
        return self.match_all


def make_headers_pattern(arguments: Mapping[str, Any]) -> HeadersPattern:
    """Read x-match (all, any, all-with-x, any-with-x) and the headers asked for. Refused (INVALID) for another x-match."""
    pattern = HeadersPattern.__new__(HeadersPattern)
    match = check_headers_match(arguments)
    with_x = match.endswith("-with-x")
    pattern.destinations = {}
    pattern.match_all = match.startswith("all")
    pattern.wanted = []
    pattern.keys = []
    for name, value in arguments.items():
        if name != "x-match" and (with_x or not name.startswith("x-")):
            pattern.wanted.append((name, value))
            pattern.keys.append((name,) if value is None else _key_of(name, value))
    return pattern


def _key_of(name: str, value: Any) -> tuple[Any, ...]:
    """Under what those are found that want this header: values have the same if same_value() says so, and very long tables and lists have one."""
    kind = value.__class__
    if kind is dict or kind is list:
        return (name, kind, _hashable(value) if _elements_left(value, _ELEMENTS_MAX) >= 0 else None)
    return (name, kind, value)


def _elements_left(value: Any, most: int) -> int:
    """How many fewer than `most` elements there are in a table or list, and what is in it; below 0: more."""
    most -= len(value)
    for inner in value.values() if value.__class__ is dict else value:
        if most < 0:
            break
        if inner.__class__ is dict or inner.__class__ is list:
            most = _elements_left(inner, most)
    return most


def _hashable(value: Any) -> Any:
    """A value, or something that stands for what a table or list holds."""
    kind = value.__class__
    if kind is dict:
        return frozenset([(name, inner.__class__, _hashable(inner)) for name, inner in value.items()])
    if kind is list:
        return tuple([(inner.__class__, _hashable(inner)) for inner in value])
    return value


class HeadersIndex:
    """Patterns of one headers exchange: looked at are those that want one of a message's headers, not all there are."""

    __slots__ = ("_always", "_by_identity", "_by_key", "_names", "_patterns", "walked")

    def __init__(self) -> None:
        self.walked = 0  # headers looked at by the last match, of the message and of patterns
        self._patterns: dict[tuple[bool, frozenset[Any]], HeadersPattern] = {}  # by whether they want all, and their keys
        self._by_identity: dict[Any, HeadersPattern] = {}  # by the binding's
        self._by_key: dict[tuple[Any, ...], dict[HeadersPattern, bool]] = {}  # who wants one of them by each of its keys, who wants all by one
        self._names: dict[tuple[str, bool], int] = {}  # how often a header of that name is wanted, as a table or list or not
        self._always: dict[HeadersPattern, bool] = {}  # who wants all of nothing

    def count(self) -> int:
        """How many bindings there are."""
        return len(self._by_identity)

    def add(self, identity: Any, arguments: Mapping[str, Any], destination: Any, makers: tuple[str, ...]) -> None:
        """Take in a binding."""
        pattern = self._same(make_headers_pattern(arguments))
        self._by_identity[identity] = pattern
        count_up(pattern.destinations, destination, makers)

    def remove(self, identity: Any, destination: Any, makers: tuple[str, ...]) -> None:
        """Drop one that is there, as it was added."""
        pattern = self._by_identity.pop(identity)
        count_down(pattern.destinations, destination, makers)
        if pattern.destinations:
            return
        alike = (pattern.match_all, frozenset(pattern.keys))
        del self._patterns[alike]
        self._count_names(pattern, -1)
        self._always.pop(pattern, None)
        for key in pattern.keys:
            _discard(self._by_key, key, pattern)

    def match(self, headers: Mapping[str, Any], found: dict[Any, bool], carries: Callable[[tuple[str, ...]], bool] | None) -> None:
        """Add what `headers` lead to to `found`. `carries`: see TopicTrie.match()."""
        self.walked = 2 * len(headers)
        for pattern in self._always:
            add_carried(pattern.destinations, found, carries)
        if len(self._by_key) == 0:
            return
        seen: dict[HeadersPattern, bool] = {}
        for name, value in headers.items():
            kind = value.__class__
            nested = kind is dict or kind is list
            self._look((name,), headers, seen, found, carries)
            if (name, nested) in self._names:
                self._look(_key_of(name, value), headers, seen, found, carries)
                if nested:
                    self.walked += 8 * (_ELEMENTS_MAX - max(0, _elements_left(value, _ELEMENTS_MAX)))

    def _look(
        self,
        key: tuple[Any, ...],
        headers: Mapping[str, Any],
        seen: dict[HeadersPattern, bool],
        found: dict[Any, bool],
        carries: Callable[[tuple[str, ...]], bool] | None,
    ) -> None:
        """Add what those lead to that are found under a key, and match; each is looked at once."""
        patterns = self._by_key.get(key)
        if patterns is None:
            return
        for pattern in patterns:
            if pattern not in seen:
                seen[pattern] = True
                self.walked += 1 + len(pattern.wanted)
                if pattern.matches(headers):
                    add_carried(pattern.destinations, found, carries)

    def _count_names(self, pattern: HeadersPattern, by: int) -> None:
        for name, value in pattern.wanted:
            if value is not None:
                key = (name, value.__class__ is dict or value.__class__ is list)
                left = self._names.get(key, 0) + by
                if left:
                    self._names[key] = left
                else:
                    del self._names[key]

    def match_any(self, found: dict[Any, bool], carries: Callable[[tuple[str, ...]], bool] | None) -> None:
        """Add what some headers could lead to."""
        self.walked = len(self._by_identity)
        for pattern in self._patterns.values():
            add_carried(pattern.destinations, found, carries)

    def _same(self, pattern: HeadersPattern) -> HeadersPattern:
        """The one that asks for the same, or this one, which is taken in then."""
        keys = pattern.keys
        same = self._patterns.setdefault((pattern.match_all, frozenset(keys)), pattern)
        if same is not pattern:
            return same
        self._count_names(pattern, 1)
        if not pattern.match_all:
            for key in keys:
                self._by_key.setdefault(key, {})[pattern] = True
        elif keys:
            rarest = min(keys, key=lambda key: len(self._by_key.get(key, ())))
            self._by_key.setdefault(rarest, {})[pattern] = True
        else:
            self._always[pattern] = True
        return pattern


def _discard(table: dict[Any, dict[HeadersPattern, bool]], key: Any, pattern: HeadersPattern) -> None:
    """It is not there any more, if it was; nothing empty stays."""
    patterns = table.get(key)
    if patterns is not None and pattern in patterns:
        del patterns[pattern]
        if not patterns:
            del table[key]


def check_headers_match(arguments: Mapping[str, Any]) -> str:
    """The x-match of a binding's arguments, `all` where there is none; Refused (INVALID) for what is none of the four."""
    match = arguments.get("x-match", "all")
    if not isinstance(match, str):
        raise Refused(Reason.INVALID, f"Invalid x-match field type {type_name(match)} (value {text_of(match)}); expected longstr")
    if match not in ("all", "any", "all-with-x", "any-with-x"):
        raise Refused(Reason.INVALID, f'Invalid x-match field value <<"{match}">>; expected all, any, all-with-x, or any-with-x')
    return match


def count_up(destinations: dict[Any, tuple[tuple[str, ...], ...]], destination: Any, makers: tuple[str, ...]) -> None:
    """One binding more of these makers."""
    destinations[destination] = (*destinations.get(destination, ()), makers)


def count_down(destinations: dict[Any, tuple[tuple[str, ...], ...]], destination: Any, makers: tuple[str, ...]) -> None:
    """One less; the last one takes the destination along."""
    left = list(destinations[destination])
    left.remove(makers)
    if left:
        destinations[destination] = tuple(left)
    else:
        del destinations[destination]


def add_carried(destinations: dict[Any, tuple[tuple[str, ...], ...]], found: dict[Any, bool], carries: Callable[[tuple[str, ...]], bool] | None) -> None:
    """Add to `found` those that a binding leads to which carries."""
    for destination in destinations:
        if carries is None:
            found[destination] = True
            continue
        for makers in destinations[destination]:
            if carries(makers):
                found[destination] = True
                break
