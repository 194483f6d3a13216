"""NamePattern: a regular expression over whole names, matched in time linear in the name, whatever the expression.

Topics that groups read, and what users may do, are said by such. The syntax is the part of RE2's that names need: literals, `.`, classes with ranges
and `\\d \\w \\s`, groups, `|`, `* + ? {m,n}`, `^` and `$`, and `(?i)` at the start. Anything else is refused. It is compiled to a nondeterministic
automaton, and that to a deterministic one as names are matched; both have limits, whatever the names: they come from anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from entrepot.model.errors import Reason, Refused

PATTERN_SIZE_MAX = 1_024  # characters
NODES_MAX = 4_096
DEPTH_MAX = 32  # of groups
REPEAT_MAX = 256
STATES_MAX = 512  # of the deterministic automaton; one more empties it
HELD_MAX = 8 * NODES_MAX  # nodes that its states are, and characters beyond ASCII that lead on from them, together; one more empties it

_STEP_NODES = 4  # gone through in a microsecond

_SPLIT, _CHAR, _BEGIN, _END, _MATCH = range(5)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_DIGIT = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 10), (12, 13), (32, 32))
_CLASSES = {"d": (_DIGIT, False), "D": (_DIGIT, True), "w": (_WORD, False), "W": (_WORD, True), "s": (_SPACE, False), "S": (_SPACE, True)}
_ANY = (((10, 10),), True)
_ALL: tuple[tuple[tuple[int, int], ...], bool] = ((), True)

_Ranges = tuple[tuple[int, int], ...]
_Class = tuple[_Ranges, bool]  # ranges, whether it is everything else
_Nodes = frozenset[int]


class State:
    """A state of the deterministic automaton: the nodes that it is, and where each character seen so far leads (`ascii` by its code)."""

    __slots__ = ("accepts", "ascii", "nodes", "others")

    def __init__(self, nodes: _Nodes) -> None:
        self.nodes = nodes
        self.accepts: bool | None = None
        self.forget()

    def forget(self) -> None:
        """Where nothing leads."""
        self.ascii: list[State | None] = [None] * 128
        self.others: dict[str, State] = {}


_NOWHERE = State(frozenset())


class NamePattern:
    """One compiled expression. Raises Refused (INVALID_PATTERN) for what is no expression, not supported, or too large.

    `any_is_all`: `.` takes line ends, too.
    """

    __slots__ = ("_classes", "_first", "_fold", "_held", "_kinds", "_next", "_other", "_states", "any", "text")

    def __init__(self, text: str, any_is_all: bool = False) -> None:
        self.text = text
        self.any = _ALL if any_is_all else _ANY
        # nodes: what each is, and where it leads
        self._kinds: list[int] = []
        self._next: list[int] = []
        self._other: list[int] = []  # of a split: the other way; of a character: its class
        self._classes: list[_Class] = []
        self._fold = False
        parser = _Parser(text, self)
        start, ends = parser.parse()
        match = self.node(_MATCH)
        self.join(ends, match)
        self._fold = parser.ignores_case
        self._first = State(self._reached([start], True))
        self._states: dict[_Nodes, State] = {self._first.nodes: self._first}
        self._held = 0  # see HELD_MAX

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` matches."""
        if not name:
            return self._is_match(self._first.nodes, True)
        state = self._first
        for character in name:
            code = ord(character)
            following = state.ascii[code] if code < 128 else state.others.get(character)
            if following is None:
                following = self._step(state, character)
            if following is _NOWHERE:
                return False
            state = following
        return self._accepts(state)

    def matching(self, name: str) -> Generator[int, None, bool]:
        """matches(), in pieces: what it has not seen so far costs as much as the expression has nodes, for each character. Yields microseconds, about."""
        state = self._first
        for character in name:
            code = ord(character)
            following = state.ascii[code] if code < 128 else state.others.get(character)
            if following is None:
                following = self._step(state, character)
                yield 1 + (len(state.nodes) + len(following.nodes)) // _STEP_NODES
            if following is _NOWHERE:
                return False
            state = following
        return self._accepts(state) if name else self._is_match(self._first.nodes, True)

    # ---- building

    def node(self, kind: int, target: int = -1, other: int = -1) -> int:
        """A new node."""
        if len(self._kinds) >= NODES_MAX:
            raise _refusal(self.text, f"it is too large: over {NODES_MAX} states")
        self._kinds.append(kind)
        self._next.append(target)
        self._other.append(other)
        return len(self._kinds) - 1

    def character(self, which: _Class) -> int:
        """A new node that takes one character of a class."""
        self._classes.append(which)
        return self.node(_CHAR, other=len(self._classes) - 1)

    def join(self, ends: list[tuple[int, bool]], target: int) -> None:
        """Let loose ends (node, whether it is its other way) lead to `target`."""
        for node, is_other in ends:
            if is_other:
                self._other[node] = target
            else:
                self._next[node] = target

    # ---- running

    def _walk(self, nodes: Iterable[int], at_start: bool, at_end: bool) -> set[int]:
        """All nodes that can be reached without a character."""
        found: set[int] = set()
        work = list(nodes)
        while work:
            node = work.pop()
            if node in found:
                continue
            found.add(node)
            kind = self._kinds[node]
            if kind == _SPLIT:
                work += (self._next[node], self._other[node])
            elif (kind == _BEGIN and at_start) or (kind == _END and at_end):
                work.append(self._next[node])
        return found

    def _reached(self, nodes: Iterable[int], at_start: bool) -> _Nodes:
        """The nodes that a state is made of; `$` waits for the end."""
        return frozenset(node for node in self._walk(nodes, at_start, False) if self._kinds[node] in (_CHAR, _END, _MATCH))

    def _step(self, state: State, character: str) -> State:
        """Where a character leads to, remembered in `state`."""
        if self._held >= HELD_MAX:
            self.forget()
        nodes = self._reached(
            [self._next[node] for node in state.nodes if self._kinds[node] == _CHAR and self._takes(self._classes[self._other[node]], character)], False
        )
        following = self._states.get(nodes, _NOWHERE) if nodes else _NOWHERE
        if nodes and following is _NOWHERE:
            if len(self._states) >= STATES_MAX:
                self.forget()
            following = self._states[nodes] = State(nodes)
            self._held += len(nodes)
        code = ord(character)
        if code < 128:
            state.ascii[code] = following
        else:
            state.others[character] = following
            self._held += 1
        return following

    def forget(self) -> None:
        """What names have led to; it is found again as it is needed."""
        for known in self._states.values():
            known.forget()
        self._states = {self._first.nodes: self._first}
        self._held = 0

    def _takes(self, which: _Class, character: str) -> bool:
        ranges, is_other = which
        forms = {character, character.lower(), character.upper()} if self._fold else {character}
        return any(low <= ord(form) <= high for form in forms if len(form) == 1 for low, high in ranges) != is_other

    def _accepts(self, state: State) -> bool:
        """Whether a name may end there."""
        if state.accepts is None:
            state.accepts = self._is_match(state.nodes, False)
        return state.accepts

    def _is_match(self, nodes: _Nodes, at_start: bool) -> bool:
        """At the end of the name."""
        return any(self._kinds[node] == _MATCH for node in self._walk(nodes, at_start, True))


_Piece = tuple[int, list[tuple[int, bool]]]  # first node, loose ends


class _Parser:
    """Recursive descent; builds nodes as it goes."""

    def __init__(self, text: str, pattern: NamePattern) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.pattern = pattern
        self.ignores_case = False
        if len(text) > PATTERN_SIZE_MAX:
            raise _refusal(text[:40], f"it has {len(text)} characters, over {PATTERN_SIZE_MAX}")
        if text.startswith("(?i)"):
            self.ignores_case = True
            self.at = 4

    def parse(self) -> _Piece:
        piece = self._alternatives()
        if self.at < len(self.text):
            raise self._wrong("unexpected ')'")
        return piece

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise self._wrong("it ends too early")
        self.at += 1
        return character

    def _wrong(self, what: str) -> Refused:
        return _refusal(self.text, f"{what} at {self.at}")

    def _alternatives(self) -> _Piece:
        first, ends = self._sequence()
        while self._peek() == "|":
            self.at += 1
            other, other_ends = self._sequence()
            first = self.pattern.node(_SPLIT, first, other)
            ends = ends + other_ends
        return first, ends

    def _sequence(self) -> _Piece:
        empty = self.pattern.node(_SPLIT)  # so that nothing is a piece too
        piece: _Piece = (empty, [(empty, False), (empty, True)])
        while self._peek() not in ("", "|", ")"):
            first, ends = self._repeated()
            self.pattern.join(piece[1], first)
            piece = piece[0], ends
        return piece

    def _repeated(self) -> _Piece:
        begin, depth = self.at, self.depth
        piece = self._single()
        end = self.at
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return piece
        if self._peek() == "?":
            self.at += 1  # how greedy it is does not change whether it matches
        if self._peek() and self._peek() in "*+?":
            raise self._wrong("a repetition of a repetition")
        after = self.at

        def again() -> _Piece:
            self.at, self.depth = begin, depth
            copy = self._single()
            assert self.at == end
            self.at = after
            return copy

        return self._copies(piece, low, high, again)

    def _copies(self, piece: _Piece, low: int, high: int | None, again: Callable[[], _Piece]) -> _Piece:
        """`piece` low to high times; the first use is the piece itself, the others are made by `again`."""
        pattern = self.pattern
        made = [piece]

        def one() -> _Piece:
            return made.pop() if made else again()

        start = pattern.node(_SPLIT)
        ends: list[tuple[int, bool]] = [(start, False), (start, True)]
        for _ in range(low):
            first, piece_ends = one()
            pattern.join(ends, first)
            ends = piece_ends
        if high is None:
            first, piece_ends = one()
            loop = pattern.node(_SPLIT, first)
            pattern.join(ends, loop)
            pattern.join(piece_ends, loop)
            return start, [(loop, True)]
        skipped: list[tuple[int, bool]] = []
        for _ in range(high - low):
            first, piece_ends = one()
            choice = pattern.node(_SPLIT, first)
            pattern.join(ends, choice)
            skipped.append((choice, True))
            ends = piece_ends
        return start, ends + skipped

    def _quantifier(self) -> tuple[int, int | None]:
        character = self._peek()
        if character and character in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
        if character != "{":
            return 1, 1
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : close].partition(",") if close >= 0 else ("", "", "")
        if not low.isdecimal() or not (high == "" or high.isdecimal()) or len(low) > 4 or len(high) > 4:
            raise self._wrong("not a repetition")
        self.at = close + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if least > REPEAT_MAX or (most is not None and (most > REPEAT_MAX or most < least)):
            raise self._wrong(f"a repetition that is reversed, or over {REPEAT_MAX},")
        return least, most

    def _single(self) -> _Piece:
        character = self._take()
        pattern = self.pattern
        if character == "(":
            return self._group()
        if character in "^$":
            node = pattern.node(_BEGIN if character == "^" else _END)
        elif character == ".":
            node = pattern.character(pattern.any)
        elif character == "[":
            node = pattern.character(self._class())
        elif character == "\\":
            node = pattern.character(self._escape())
        elif character in "*+?{":
            raise self._wrong(f"nothing to repeat before '{character}'")
        else:
            node = pattern.character((((ord(character), ord(character)),), False))
        return node, [(node, False)]

    def _group(self) -> _Piece:
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self._peek() == "?":
            raise self._wrong("a kind of group that is not supported")
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self._wrong(f"over {DEPTH_MAX} groups in each other")
        piece = self._alternatives()
        if self._take() != ")":
            raise self._wrong("')' is missing")
        self.depth -= 1
        return piece

    def _escape(self) -> _Class:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _ESCAPES:
            character = _ESCAPES[character]
        elif character.isalnum():
            raise self._wrong(f"'\\{character}', which is not supported,")
        return ((ord(character), ord(character)),), False

    def _class(self) -> _Class:
        negated = self._peek() == "^"
        self.at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            character = self._take()
            if character == "[" and self._peek() == ":":
                raise self._wrong("a named class, which is not supported,")
            if character == "\\":
                inner, is_other = self._escape()
                if is_other:
                    raise self._wrong("everything but a class, within a class,")
                ranges.extend(inner)
                if len(inner) > 1 or inner[0][0] != inner[0][1]:
                    continue
                low = inner[0][0]
            else:
                low = ord(character)
                ranges.append((low, low))
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                end = self._take()
                if end == "\\":
                    inner, is_other = self._escape()
                    high = inner[0][0]
                    if is_other or len(inner) > 1 or inner[0][0] != inner[0][1]:
                        raise self._wrong("a range to a class")
                else:
                    high = ord(end)
                if high < low:
                    raise self._wrong("a reversed range")
                ranges.append((low, high))
        self.at += 1
        return tuple(ranges), negated


def _refusal(text: str, why: str) -> Refused:
    return Refused(Reason.INVALID_PATTERN, f"regular expression '{text}': {why}")
