"""Topic aliases towards a client (3.3.2.3.4): of one connection, and forgotten with it. Those of the client are the decoder's."""

from __future__ import annotations

from collections import OrderedDict

ALIASES_MAX = 64
"""How many topics are remembered at most, whatever the client takes."""

SIZE_MIN_BYTES = 6
"""A shorter topic is said each time: an alias is three bytes, and two of the topic's size stay."""

SIZE_MAX_BYTES = 1024
"""A longer one is not remembered."""


class OutgoingAliases:
    """`maximum` is the client's Topic Alias Maximum; 0: none."""

    def __init__(self, maximum: int) -> None:
        self.maximum = min(maximum, ALIASES_MAX)
        self._free: list[int] = []
        self._numbers: OrderedDict[bytes, int] = OrderedDict()  # the one that was not used for longest first

    def of(self, topic: bytes) -> tuple[int, bool]:
        """(alias, whether the client knows it); (0, False) where the topic is said. One that is not known is said with the topic, and known from then on."""
        number = self._numbers.get(topic)
        if number is not None:
            self._numbers.move_to_end(topic)
            return number, True
        if not self.maximum or not SIZE_MIN_BYTES <= len(topic) <= SIZE_MAX_BYTES:
            return 0, False
        if self._free:
            number = self._free.pop()
        elif len(self._numbers) < self.maximum:
            number = len(self._numbers) + 1
        else:
            _, number = self._numbers.popitem(last=False)
        self._numbers[topic] = number
        return number, False

    def forget(self, topic: bytes) -> None:
        """It was not said after all: its number is said anew, with another topic or this one."""
        number = self._numbers.pop(topic, None)
        if number is not None:
            self._free.append(number)
