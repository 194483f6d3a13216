"""Parts on their way out: small ones in one piece, large ones as they lie."""

import pytest

from both_modes import both

MODES = both("entrepot.protocols.kafka.output")


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_small_neighbours_are_joined_and_large_parts_are_not_copied(module):
    output = module.Output()
    large = bytes(100_000)
    for _ in range(3):
        output.add([bytearray(b"ab"), b"cd"])
    output.add([bytearray(b"ef"), large, bytearray(b"gh")])
    output.add([bytearray(b"ij")])
    assert output.size == 100_018
    parts = output.take()
    assert [bytes(part) for part in parts if part is not large] == [b"abcdabcdabcdef", b"ghij"]
    assert parts[1] is large
    assert (output.size, output.take()) == (0, [])


@pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
def test_what_was_taken_does_not_change(module):
    output = module.Output()
    output.add([bytearray(b"ab")])
    (taken,) = output.take()
    output.add([bytearray(b"cd")])
    assert bytes(taken) == b"ab"
    output.add([b"ef"])
    output.add([])
    assert b"".join(output.take()) == b"cdef"
