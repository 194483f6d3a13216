"""Tests of what crosses between front and owner run with owners that are called directly, and with owners that everything reaches as octets."""

import pytest
from broker_bench import Bench

from entrepot.broker.front.owner_table import OwnerTable
from entrepot.simulation.linked_owners import LinkedOwnerTable

TABLES = {"direct": OwnerTable, "linked": LinkedOwnerTable}
BOTH_WAYS = {
    "test_across",
    "test_dead_letters",
    "test_groups",
    "test_timed_queue",
    "test_admission",
    "test_publisher",
    "test_queue",
    "test_queue_life",
    "test_queue_limits",
    "test_replies",
    "test_priorities",
    "test_seals",
    "test_session_limits",
    "test_sessions",
    "test_together",
    "test_subject_permissions",
    "test_subject_hop",
    "test_subject_eras",
    "test_letters",
    "test_redrive",
    "test_intents",
    "test_crash_points",
}

AT_ONCE = {  # look at what is answered in the turn in which it is asked, or at the calls that wait at the owner
    "test_a_receive_of_who_may_not_read_any_more_ends",
    "test_to_what_has_no_room_in_memory_they_wait",  # a letter's publisher must hear at once that there is none
    "test_a_peer_that_does_not_read_is_passed_over",  # its front finds out when something has come
    "test_a_batch_that_goes_whole_is_one_entry_of_one_commit",
    "test_a_letter_waits_until_its_queue_stays",  # as above: its publisher must hear at once
    "test_nothing_of_a_transaction",  # of two owners, that one has a seal: known to the other only when it has done its part
    "test_much_that_is_not_durable_yet",  # all of it is published in one turn
    "test_a_session_that_fails_costs_nobody_else_of_its_commit_an_answer",
    "test_who_gives_up_gets_nothing_and_keeps_nothing",
    "test_who_is_gone_waits_no_more",
    "test_nor_where_that_is_in_memory",  # what an owner elsewhere nacks of it nobody hears of
}


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS and metafunc.function.__name__ not in AT_ONCE:
        metafunc.parametrize("owners", TABLES, indirect=True)


@pytest.fixture(autouse=True)
def owners(request, monkeypatch):
    """How fronts reach owners."""
    monkeypatch.setattr(Bench, "owners", TABLES[getattr(request, "param", "direct")])
