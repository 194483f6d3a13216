"""find_covering(): a later commit that says that the missing one was synced, among bytes that look like one."""

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.store.local.journal import COMMIT_MAGIC, encode_commit_header, padded

MAGIC = COMMIT_MAGIC.to_bytes(4, "little")


def commit(sequence, synced, payload=b"payload!"):
    return encode_commit_header(sequence, synced, 7, len(payload), crc32c(payload), 0, 1) + payload.ljust(padded(len(payload)), b"\0")


def damaged(data):
    return data[:-1] + bytes([data[-1] ^ 1])


PIECES = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 40).map(bytes),
    st.integers(1, 5).map(lambda count: MAGIC * count),
    st.builds(commit, st.integers(1, 6), st.integers(0, 5)),
    st.builds(commit, st.integers(1, 6), st.integers(0, 5)).map(damaged),
    st.builds(commit, st.integers(1, 6), st.integers(0, 5)).map(lambda whole: whole[:-9]),
)


@pytest.mark.parametrize("module", both("entrepot.store.local.recovery"), ids=["installed", "interpreted"])
@given(pieces=st.lists(PIECES, max_size=8), start=st.integers(0, 80), sequence=st.integers(0, 6))
@settings(max_examples=examples(200))
def test_it_is_the_first_at_a_multiple_of_eight_that_holds_and_says_so(module, pieces, start, sequence):
    data = b"".join(pieces)
    for position in range(padded(start), len(data), 8):
        found = module.commit_holds(data, position)
        if found and int.from_bytes(data[position + 8 :][:8], "little") > sequence <= int.from_bytes(data[position + 16 :][:8], "little"):
            break
    else:
        position = -1
    assert module.find_covering(data, start, sequence) == position


def test_one_is_found_behind_half_of_another_and_past_magic_that_is_not_in_its_place():
    (module, _) = both("entrepot.store.local.recovery")
    whole = commit(5, 4)
    assert module.find_covering(bytes(3) + MAGIC + bytes(1) + whole, 0, 4) == 8
    assert module.find_covering(MAGIC * 6 + whole, 0, 4) == 24
    assert module.find_covering(bytes(4) + whole, 0, 4) == -1
    assert module.find_covering(whole, 8, 4) == -1
