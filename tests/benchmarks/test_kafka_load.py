"""The load generator for Kafka's protocol notices what a broker can do wrong, and nothing when it does nothing wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from benchmarks.system.kafka_load import Check, Source

SIZE = 64


@dataclass
class Fetched:
    """As much of a message as the check looks at."""

    at: int
    octets: bytes

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return self.octets

    def partition(self) -> int:
        return self.at


def sent(count: int = 40, run: int = 7) -> list[Fetched]:
    sources = [Source(number, [0, 1, 2], SIZE, run) for number in range(2)]
    return [Fetched(*sources[n % 2].next()) for n in range(count)]


def found(messages: list[Fetched]) -> dict[str, int]:
    check = Check(SIZE)
    check.see(messages)  # type: ignore[arg-type]
    assert check.consumed == len(messages)
    return {name: count for name, count in check.errors.items() if count}


def test_nothing_wrong() -> None:
    messages = sent()
    assert {len(message.octets) for message in messages} == {SIZE}
    assert {message.at for message in messages} == {0, 1, 2}
    assert found(messages) == {}
    assert found(sorted(messages, key=lambda message: message.at)) == {}  # partitions come in any order


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda messages: messages[1:], {"gaps": 1}),
        (lambda messages: messages[:5] + messages[4:], {"duplicates": 1}),
        (lambda messages: [messages[2], messages[1], messages[0], *messages[3:]], {"gaps": 1, "duplicates": 1}),
        (lambda messages: [*messages[:-1], Fetched(0, messages[-1].octets[:-1])], {"corrupt": 1}),
    ],
    ids=["lost", "repeated", "reordered", "damaged"],
)
def test_it_is_noticed(wrong: Any, what: dict[str, int]) -> None:
    assert found(wrong(sent())) == what
