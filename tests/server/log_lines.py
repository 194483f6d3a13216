"""Waiting for what the log says."""

from __future__ import annotations

import time

import pytest

from entrepot.testing import Broker


def line_with(broker: Broker, *parts: str) -> str:
    """The line of the log with all of `parts`, once it is there."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for line in broker.log.splitlines():
            if all(part in line for part in parts):
                return line
        time.sleep(0.02)
    pytest.fail(f"{parts} not in\n{broker.log}")
