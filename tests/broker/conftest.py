"""Tests of what crosses between front and owner run with owners that are called directly, and with owners that everything reaches as octets."""

import pytest
from broker_bench import Bench

from entrepot.broker.front.owner_table import OwnerTable
from entrepot.simulation.framed_owner import FramedOwnerTable

TABLES = {"direct": OwnerTable, "framed": FramedOwnerTable}
BOTH_WAYS = {
    "test_across",
    "test_admission",
    "test_publisher",
    "test_queue",
    "test_queue_life",
    "test_queue_limits",
    "test_replies",
    "test_together",
    "test_subject_permissions",
}


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS:
        metafunc.parametrize("owners", TABLES, indirect=True)


@pytest.fixture(autouse=True)
def owners(request, monkeypatch):
    """How fronts reach owners."""
    monkeypatch.setattr(Bench, "owners", TABLES[getattr(request, "param", "direct")])
