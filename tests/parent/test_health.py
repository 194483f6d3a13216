"""The node's /metrics, with workers whose figures the test gives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from entrepot.http.session import Response
from entrepot.metrics import Metrics
from entrepot.parent import health
from entrepot.parent.health import Figures

LIMIT_S = 60.0
FIGURES = b"# HELP entrepot_done_total x\n# TYPE entrepot_done_total counter\nentrepot_done_total 2\n"


def test_all_who_ask_meanwhile_are_answered_by_one_look_at_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers: list[Response] = []

    async def run() -> None:
        may_answer, answered = asyncio.Event(), asyncio.Event()

        def take(answer: Response) -> None:
            answers.append(answer)
            answered.set()

        async def scrape(store: Path) -> bytes:
            asked.append(store.name)
            await may_answer.wait()
            return FIGURES

        monkeypatch.setattr(health, "scrape", scrape)
        figures = Figures(Metrics(), [Path("w0"), Path("w1")], lambda number: "start")
        for _ in range(50):
            figures().take(take)
        may_answer.set()
        await asyncio.wait_for(answered.wait(), LIMIT_S)
        assert (len(answers), sorted(asked)) == (50, ["w0", "w1"])
        answered.clear()
        figures().take(take)
        await asyncio.wait_for(answered.wait(), LIMIT_S)
        assert sorted(asked) == ["w0", "w0", "w1", "w1"]

    asyncio.run(run())
    assert all(answer.status == 200 and isinstance(answer.body, bytes) and b"entrepot_done_total 4.0" in answer.body for answer in answers)
