"""What was there before a run is not looked at when a run searches all objects for what ought to be forgotten."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _older_objects_are_left_alone() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()
