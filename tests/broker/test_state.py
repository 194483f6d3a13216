import pytest

from entrepot.broker.state import DELETE, StateFolds, fold_value, prefix_end, set_value
from entrepot.broker.state_kinds import default_folds
from entrepot.model.errors import CorruptData


def test_values_are_replaced_whole():
    fold = default_folds().fold
    assert fold(b"c:q", None, set_value(b"one")) == b"one"
    assert fold(b"c:q", b"one", set_value(b"")) == b""
    assert fold(b"c:q", b"one", DELETE) is None


def test_a_key_of_no_kind_stops_the_start():
    with pytest.raises(CorruptData, match="of no kind this version knows"):
        default_folds().fold(b"z:key", None, b"")


def test_a_prefix_belongs_to_one_kind():
    folds = StateFolds()
    folds.register(b"x:", fold_value)
    with pytest.raises(AssertionError):
        folds.register(b"x:", fold_value)


def test_the_end_of_a_prefix():
    assert prefix_end(b"c:q") == b"c:r"
