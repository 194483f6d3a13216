"""Users without a password on the wire: SCRAM's verifiers, and who needs no credentials at all."""

import pytest
from memory_state import MemoryState

from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.users.credentials import SCRAM_SHA_256, SCRAM_SHA_512
from entrepot.broker.users.users import Users
from entrepot.entropy import SystemEntropy
from entrepot.model.principal import Principal
from stopped_clock import StoppedClock


@pytest.fixture
def users():
    users = Users(CatalogueStream(MemoryState()), StoppedClock(), SystemEntropy(), iterations=4096)
    users.load()
    return users


def test_guest_needs_no_credentials_from_loopback_while_nobody_said_otherwise(users):
    assert users.anonymous(True) == Principal("guest", frozenset({"administrator"}), "none")
    assert users.anonymous(False) is None
    users.add_user("ann", "secret")
    assert users.anonymous(True) is None
    users.delete_user("ann")
    assert users.anonymous(True) is not None


@pytest.mark.parametrize("change", [lambda users: users.delete_user("guest"), lambda users: users.set_password("guest", "other")])
def test_a_guest_that_was_changed_needs_credentials(users, change):
    change(users)
    assert users.anonymous(True) is None


@pytest.mark.parametrize("mechanism", [SCRAM_SHA_256, SCRAM_SHA_512])
def test_verifiers_of_users(users, mechanism):
    users.add_user("ann", "secret")
    verifier = users.scram_verifier("ann", mechanism, False)
    assert verifier.mechanism == mechanism
    assert verifier.is_password("secret")
    assert users.scram_principal("ann", mechanism, users.scram_verifier("ann", mechanism, True)) == Principal("ann", frozenset(), mechanism)


def test_nobodys_name_looks_like_anybodys_and_fits_no_proof(users):
    users.add_user("ann", "secret")
    known = users.scram_verifier("ann", SCRAM_SHA_256, True)
    made_up = users.scram_verifier("bob", SCRAM_SHA_256, True)
    assert (len(made_up.salt), made_up.iterations) == (len(known.salt), known.iterations)
    assert made_up.salt == users.scram_verifier("bob", SCRAM_SHA_256, True).salt
    assert made_up.salt != users.scram_verifier("eve", SCRAM_SHA_256, True).salt
    assert made_up.check_proof(b"message", bytes(32)) is None
    assert users.scram_principal("bob", SCRAM_SHA_256, users.scram_verifier("bob", SCRAM_SHA_256, True)) is None


def test_guest_has_a_verifier_from_loopback_only(users):
    assert users.scram_verifier("guest", SCRAM_SHA_512, True).is_password("guest")
    assert not users.scram_verifier("guest", SCRAM_SHA_512, False).is_password("guest")
