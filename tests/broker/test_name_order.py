"""Names in order, whatever comes and goes, no long run of them moved."""

from __future__ import annotations

import random

from entrepot.broker.catalogue.name_order import RUN_MAX, NameOrder


def test_in_order_by_prefix_and_behind_a_name() -> None:
    chance = random.Random(7)
    order, names = NameOrder(), set[str]()
    assert list(order.behind("", "")) == []
    for step in range(12 * RUN_MAX):
        name = f"{chance.choice('abc')}{chance.randrange(20 * RUN_MAX)}"
        if name in names and (step % 3 or step > 10 * RUN_MAX):
            names.remove(name)
            order.remove(name)
        elif name not in names:
            names.add(name)
            order.add(name)
    assert max(map(len, order._runs)) <= RUN_MAX
    for prefix, after in (("", ""), ("b", ""), ("b", "b19"), ("b", "c"), ("c1", "a"), ("", "b5"), ("d", ""), ("", "d")):
        assert list(order.behind(prefix, after)) == sorted(name for name in names if name.startswith(prefix) and name > after)
    for name in sorted(names):
        order.remove(name)
    assert list(order.behind("", "")) == []
    assert order._runs == order._lasts == []
