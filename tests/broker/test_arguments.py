import datetime as dt
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.catalogue.arguments import pack, same_value, unpack

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
    st.binary().map(lambda data: data.decode(errors="surrogateescape")),
    st.datetimes(min_value=dt.datetime(1970, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001 - Hypothesis adds the zone
)
NAMES = st.text() | st.binary().map(lambda data: data.decode(errors="surrogateescape"))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


@given(VALUES)
def test_values_come_back_as_they_went(value):
    assert same_value(unpack(pack(value)), value)


@given(st.dictionaries(st.text(), SCALARS, max_size=6))
def test_the_order_of_fields_does_not_matter(table):
    assert pack(table) == pack(dict(reversed(table.items())))


@given(VALUES, VALUES)
def test_same_values_have_the_same_bytes(a, b):
    assert same_value(a, b) == same_value(b, a)
    if same_value(a, b) and 0.0 not in (a, b) and not isinstance(a, Decimal | list | dict):
        assert pack(a) == pack(b)


def test_values_of_another_class_differ():
    values = [1, 1.0, True, "1", b"1", Decimal(1), None, [1], {"1": 1}]
    for index, a in enumerate(values):
        assert [same_value(a, b) for b in values] == [other == index for other in range(len(values))]
