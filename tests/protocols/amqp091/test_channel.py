"""Channel: delivery tags as spans, against a dictionary of tags."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.broker.calls.port import DONE, PENDING, make_publish


def expanded(spans):
    """{tag: (consumer, offset)}; the unknown tag of a span of none apart."""
    tags = {}
    for span in spans:
        for index in range(span.count):
            tags[span.first_tag + index] = (span.consumer_id, span.offset + index)
    unknown = [span.first_tag for span in spans if span.count == 0]
    return tags, unknown


steps = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(1, 3), st.integers(0, 40), st.integers(1, 8)),
        st.tuples(st.just("skip"), st.integers(1, 3), st.just(0), st.just(0)),
        st.tuples(st.just("range"), st.integers(0, 60), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("through"), st.integers(0, 60), st.just(0), st.just(0)),
        st.tuples(st.just("back"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@pytest.mark.parametrize("module", both("entrepot.protocols.amqp091.channel"))
@settings(max_examples=examples(150), deadline=None)
@given(steps=steps, ordered=st.booleans())
def test_spans_are_what_a_dictionary_says(module, steps, ordered):
    channel = module.Channel(1, 1)
    tags = {}
    next_offset = {1: 0, 2: 0, 3: 0}
    out = []  # what was taken since anything was put back
    for step, first, second, third in steps:
        if step == "deliver":
            offset = next_offset[first] if ordered else second
            next_offset[first] = offset + third
            tag = channel.delivered(first, offset, third)
            assert tag == channel.next_tag - third
            tags.update({tag + index: (first, offset + index) for index in range(third)})
        elif step == "skip":  # auto-acknowledged ones take tags too
            channel.next_tag += first
        elif step == "range":
            spans = channel.settle_range(first, first + second)
            out += [span for span in spans if span.count]
            taken, unknown = expanded(spans)
            wanted = {}
            missing = []
            for tag in range(first, first + second + 1):
                if tag not in tags:
                    missing = [tag]
                    break
                wanted[tag] = tags.pop(tag)
            assert (taken, unknown) == (wanted, missing)
        elif step == "back":
            tags.update(expanded(out)[0])
            channel.put_back(out)
            out = []
        else:
            spans = channel.settle_through(first)
            out += spans
            taken, unknown = expanded(spans)
            wanted = {tag: tags.pop(tag) for tag in sorted(tags) if tag <= first or first == 0}
            assert (taken, unknown) == (wanted, [])
            assert list(taken) == sorted(taken)
    taken, _ = expanded(channel.settle_through(0))
    assert taken == tags


@pytest.mark.parametrize("module", both("entrepot.protocols.amqp091.channel"))
def test_a_long_run_is_one_span_whichever_way_it_is_settled(module):
    channel = module.Channel(1, 1)
    for start in range(0, 100_000, 100):
        channel.delivered(5, start, 100)
    assert [(span.first_tag, span.count) for span in channel.settle_range(1, 100_000)] == [(1, 100_000)]
    for start in range(1000):
        channel.delivered(5, start * 2, 1)  # gaps between the offsets
    for tag in range(100_001, 101_001):
        assert [span.offset for span in channel.settle_range(tag, tag)] == [(tag - 100_001) * 2]
    assert channel.settle_through(0) == []


@pytest.mark.parametrize("module", both("entrepot.protocols.amqp091.channel"))
@settings(max_examples=examples(80), deadline=None)
@given(st.lists(st.booleans(), max_size=300))
def test_completed_publishes_leave_in_order(module, completions):
    channel = module.Channel(1, 1)
    calls = [make_publish(1, b"\0\0", 1, 1, 0, b"%d" % number, 1, 0) for number in range(len(completions))]
    for call in calls:
        assert call.outcome == PENDING
        channel.unconfirmed.append(call)
    left = []
    for early in (True, False):
        for call, is_early in zip(calls, completions, strict=True):
            if is_early is early:
                call.outcome = DONE
            while (completed := channel.maybe_completed()) is not None:
                left.append(completed)
    assert left == calls
    assert channel.unconfirmed == []
