"""Frames between a front and an owner: what is packed comes back, and what is no such frame is CorruptData, nothing else."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.broker.calls.questions import QUESTIONS
from entrepot.cluster.owners import asked, hot_frames, kinds, words
from entrepot.model.errors import CorruptData, OutcomeUnknown, Reason, Refused, Unavailable

U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
COUNT = st.integers(1, (1 << 32) - 1)
STAGED = st.tuples(U8, U8, U16, st.booleans(), U32, COUNT, U64, U64)
LOG_ID = st.binary(min_size=16, max_size=16)


@st.composite
def runs(draw):
    """(records of the call, its runs)."""
    total = draw(st.integers(1, 30))
    found = []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            first = draw(st.integers(0, total - 1))
            indices = range(first, draw(st.integers(first + 1, total)))
        else:
            indices = sorted(draw(st.sets(st.integers(0, total - 1), min_size=1)))
        count = draw(st.integers(1, len(indices)))
        found.append((draw(st.lists(LOG_ID, max_size=3)), draw(st.binary(max_size=9)), draw(st.binary(max_size=50)), count, indices))
    return total, found


READERS = ("stage", "stage_runs", "settle", "lend", "read", "reply", "number", "routed", "answered", "delivered")


@pytest.mark.parametrize("name", READERS)
def test_whatever_octets_they_are_both_forms_find_the_same_or_that_it_is_no_frame(name):
    rng = random.Random(name)
    found = set()
    for _ in range(examples(6_000)):
        frame = bytes(rng.choice((0, 0, 0, 1, 2, rng.randrange(256))) for _ in range(rng.choice((rng.randrange(2, 80), 16, 24, 40, 64))))
        said = []
        for module in both("entrepot.cluster.owners.hot_frames"):
            try:
                said.append(getattr(module, f"read_{name}")(frame))
            except CorruptData as error:
                said.append(str(error))
        assert said[0] == said[1]
        found.add(type(said[0]) is str)
    assert found == {True, False} or name in ("stage_runs", "reply")  # of which chance finds none


@given(STAGED, U8, st.binary(max_size=60))
def test_a_stage(staged, owner, data):
    frame = hot_frames.stage(owner, staged) + data
    assert len(frame) == 32 + len(data)
    assert (frame[0], frame[1]) == (kinds.STAGE, owner)
    assert hot_frames.read_stage(frame) == (staged, data)


@given(STAGED, st.binary(max_size=300), runs(), st.integers(0, 400))
def test_runs(staged, address, of_call, cut):
    total, found = of_call
    staged = (*staged[:4], len(found), total, *staged[6:])
    frame = b"".join(hot_frames.stage_runs(3, staged, address, found))
    back, where, listed = hot_frames.read_stage_runs(frame)
    assert (back, where) == (staged, address)
    assert [(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in listed] == [(*run[:4], list(run[4])) for run in found]
    for damaged in (frame + b"x", frame[: cut % len(frame)]):
        with pytest.raises(CorruptData):
            hot_frames.read_stage_runs(damaged)


@given(st.lists(U32, max_size=5), U64)
def test_an_answer(nacked, call):
    frame = hot_frames.answered(1, call, nacked)
    assert hot_frames.read_answered(frame) == (call, nacked or None, b"")
    for damaged in (frame + b"x", frame[:-1]):
        with pytest.raises(CorruptData):
            hot_frames.read_answered(damaged)
    why = words.packed(words.why(Unavailable("away")))
    assert hot_frames.read_answered(hot_frames.answered(1, call, None, why)) == (call, None, why)


DELIVERED = st.tuples(U8, U8, U32, st.integers(0, 20), st.integers(1, 20), U32, U64, U64, st.integers(0, (1 << 63) - 1), *[st.booleans()] * 4)


@given(DELIVERED)
def test_a_delivery(what):
    data = bytes(what[3] + what[4])
    frame = hot_frames.delivered(1, what) + data
    assert hot_frames.read_delivered(frame) == (what, data)
    with pytest.raises(CorruptData):
        hot_frames.read_delivered(frame[:-1])


@given(U8, U8, st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 20), st.integers(1, 20))
def test_a_reply(codec, version, namespace, name, position, count):
    data = bytes(position + count)
    frame = hot_frames.reply(1, codec, version, namespace, name, position, count) + data
    assert (frame[0], frame[1]) == (kinds.REPLY, 1)
    assert hot_frames.read_reply(frame) == (codec, version, namespace, name, position, count, data)
    for damaged in (frame[:-1], frame[:15]):
        with pytest.raises(CorruptData):
            hot_frames.read_reply(damaged)


@given(U64, U64, COUNT, st.integers(0, 3))
def test_settlements_loans_and_numbers(consumer, first, count, disposition):
    assert hot_frames.read_settle(hot_frames.settle(1, consumer, first, count, disposition)) == (consumer, first, count, disposition)
    assert hot_frames.read_lend(hot_frames.lend(1, consumer, count)) == (consumer, count)
    assert hot_frames.read_read(hot_frames.read(1, count, first, True)) == (count, first, True)
    assert hot_frames.read_number(hot_frames.wants(1, consumer)) == (0, consumer)
    for named in (hot_frames.passed, hot_frames.settled, hot_frames.waits_from):
        assert hot_frames.read_number(named(1, first)) == (0, first)


@given(st.lists(st.tuples(U64, U64, COUNT, st.integers(0, 3)), min_size=1, max_size=5), st.lists(U64, min_size=1, max_size=5))
def test_several_in_one(ends, calls):
    frame = hot_frames.settlements(1, ends)
    assert hot_frames.read_settlements(frame) == ends
    whole = hot_frames.taken(1, calls)
    assert hot_frames.read_taken(whole) == tuple(calls)
    for read, some in ((hot_frames.read_settlements, frame), (hot_frames.read_taken, whole)):
        for damaged in (some[:-1], some + b"x", some + some[-8:], some[:8], some[:4] + bytes(4)):
            with pytest.raises(CorruptData):
                read(damaged)


def test_a_settlement_among_several_that_is_none():
    for none in ((1, 1, 0, 0), (1, 1, 1, 4)):
        with pytest.raises(CorruptData):
            hot_frames.read_settlements(hot_frames.settlements(1, [(1, 1, 1, 1), none]))


READS = [value for name, value in vars(hot_frames).items() if name.startswith("read_")]


@pytest.mark.parametrize("read", READS)
@given(st.binary(min_size=2, max_size=80))
def test_octets_that_are_none(read, frame):
    try:
        read(frame)
    except CorruptData:
        pass


# ---- what is said seldom


def test_every_kind_has_words_of_its_own():
    assert len(set(words.KINDS.values())) == len(words.KINDS)
    hot = {kinds.STAGE, kinds.STAGE_RUNS, kinds.SETTLE, kinds.LEND, kinds.READ, kinds.REPLY, kinds.ANSWERED, kinds.DELIVERED, kinds.WANTS, kinds.PASSED}
    hot |= {kinds.WAITS_FROM, kinds.SETTLED, kinds.ROUTED, kinds.SETTLEMENTS, kinds.TAKEN}
    named = {value for name, value in vars(kinds).items() if name.isupper() and name != "ANSWERS"}
    assert named == hot | set(words.KINDS.values())


FROM_FIRST = words.words_of_start("first")

SAID = [
    words.LaneIs(7, b"\0\1q", [bytes(16)], False),
    words.Consume(1, words.WordsOfConsumer(1, 2, 3, 0, 5, False, True, -1, False, False, False, True), [bytes(16)], words.words_of_start("first")),
    words.Claim(
        words.WordsOfConsumer(1, 2, 3, 0, 5, False, True, -1, False, False, False, True),
        [bytes(16)],
        True,
        True,
        3,
        [(1, 4)],
        [-1],
        0,
        words.words_of_start("first"),
    ),
    words.Claimed(1, 2),
    words.Ask(4, "AskQueues", words.plain(([bytes(16)],))),
    words.Receive(4, 1, 1, 6, 10, -1, 20_000, b"", 0),
    words.Answer(1, words.why(Refused(Reason.FULL, "no")), words.plain(None)),
    words.EndLeases(1, 2, b"q", [(1 << 64) - 1], [b"l"], None, 0),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_what_is_said_comes_back(said):
    frame = words.encode(5, said)
    assert (frame[0], frame[1]) == (words.KINDS[type(said)], 5)
    assert msgspec.structs.astuple(words.decode(frame)) == msgspec.structs.astuple(said)
    for damaged in (frame + b"\0", frame[:-1], frame[:2] + b"\x90", frame[:2], bytes((99, 0)) + frame[2:]):
        with pytest.raises(CorruptData):
            words.decode(damaged)


@pytest.mark.parametrize(
    "said",
    [
        words.LaneIs(-1, b"", [], False),
        words.LaneIs(1, b"", [b"short"], False),
        words.LaneIs(1 << 32, b"", [], False),
        words.Receive(4, 1, 1, 6, 11, -1, 20_000, b"", 0),
        words.Receive(4, 1, 1, 6, 10, -2, 20_000, b"", 0),
        words.Count(1, []),
        words.Purge(1 << 63, bytes(16)),
        words.Receive(4, 1, 1, 6, 10, -1, 20_000, b"", 1 << 31),
        words.EndLeases(1, 2, b"q", [0], [b"l"], [(1 << 63) - 1], 0),
        words.LaneIs(1, bytes(1 << 16), [], False),
        words.Consume(1, words.WordsOfConsumer(1, 2, 1 << 31, 0, 5, False, True, -1, False, False, False, True), [bytes(16)], FROM_FIRST),
        words.Consume(1, words.WordsOfConsumer(1, 2, 3, 0, 5, False, True, 1 << 31, False, False, False, True), [bytes(16)], FROM_FIRST),
        words.Together(1, [words.WordsOfStage(1, b"", [], 6, 1, 0, b"", 0, 0)], [], []),
        words.Together(1, [words.WordsOfStage(None, b"", [words.WordsOfRun([], b"", b"", 0, [])], 6, 1, 0, b"", 1, 0)], [], []),
        words.Together(1, [], [], [(bytes(16), -1, 0)]),
        words.Got(1, None, words.WordsOfDelivery(6, 1, b"x", 0, 1, 0, 1 << 40, False, False, 0), 0),
        words.Received(1, None, [b"x"], [words.WordsOfReceived(0, 0, 0, 0, 1 << 40, 0, 0)], b"", b""),
    ],
)
def test_numbers_out_of_bounds(said):
    with pytest.raises(CorruptData):
        words.decode(words.encode(0, said))


@pytest.mark.parametrize(
    "error",
    [
        Refused(Reason.LIMIT, "much"),
        Unavailable("awa\udce9"),
        OutcomeUnknown("?"),
        PolicyChanged("p", 7, '{"a": 1}', "public/default"),
    ],
)
def test_errors(error):
    back = words.error_of(words.decode(words.encode(0, words.Answer(1, words.why(error), words.plain(None)))).error)
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_errors_of_another_version():
    assert words.error_of(words.Why("Refused", b"new", "A_REASON_TO_COME")).reason is Reason.NOT_SUPPORTED
    with pytest.raises(CorruptData):
        words.error_of(words.Why("Fenced", b""))
    with pytest.raises(CorruptData):
        words.error_of(words.Why("Refused", b"\xff"))


def test_questions_and_their_answers():
    for name, question in QUESTIONS.items():
        assert asked.answers_of(question(*[None] * len(question._fields)))
        with pytest.raises(CorruptData):
            asked.question_of(name, words.plain(("a", "b", "c", "d")))
    with pytest.raises(CorruptData):
        asked.question_of("Whatever", words.plain(()))
    with pytest.raises(CorruptData):
        words.read(words.plain(("x",)), asked.NUMBER)


def started(said):
    consume = words.Consume(1, words.WordsOfConsumer(1, 2, 3, 0, 5, False, True, -1, False, False, False, True), [bytes(16)], said)
    return words.start_of(words.decode(words.encode(0, consume)).start)


@pytest.mark.parametrize("start", [None, "first", "last", "next", 0, (1 << 64) - 1, ("time", 7)])
def test_a_start(start):
    assert started(words.words_of_start(start)) == start


def test_a_start_after_all_times():
    assert started(words.words_of_start(("time", 1 << 70))) == ("time", words.MOMENT_MAX)


@pytest.mark.parametrize("said", [("when", 1), ("first", 1), ("time", 1 << 62), ("time", -1), ("", 1), ("x" * 9, 0), ("first",), None, 5, "first", [[]] * 100])
def test_what_is_no_start(said):
    with pytest.raises(CorruptData):
        started(said)
