"""Names of a namespace's queues in order, against sorting them anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.catalogue.definitions import QueueDefinition, QueuePolicy
from entrepot.broker.catalogue.namespace import Namespace

NAMES = st.text(alphabet="ab-é", max_size=4)


def definition(name: str) -> QueueDefinition:
    return QueueDefinition("/", name, b"", durable=True, auto_delete=False, exclusive_to=None, arguments={}, policy=QueuePolicy())


@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "ask"]), NAMES, NAMES), max_size=40))
def test_names_come_in_order_whatever_came_and_went(steps: list[tuple[str, str, str]]) -> None:
    namespace = Namespace("/")
    for what, name, after in steps:
        known = namespace.queues.get(name)
        if what == "ask":
            expected = sorted(found for found in namespace.queues if found.startswith(name) and found > after)
            assert list(namespace.queue_names(name, after)) == expected
        elif what == "add" and known is None:
            namespace.add_queue(definition(name))
        elif what == "remove" and known is not None:
            namespace.remove_queue(known)
