"""Users, access keys, permissions and namespaces that are changed through a process that follows."""

import pytest
from brokers import Cluster, same

from entrepot.broker.calls import administration as a
from entrepot.broker.operations.administration import kept_verifiers, told_verifiers
from entrepot.broker.users.users import Permission
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.protocols.sqs.accounts import Accounts


class Asked:
    """What became of a request."""

    def __init__(self, process, request):
        self.answers = []
        process.administration.ask(request, lambda error, result: self.answers.append((error, result)))


def ask(cluster, process, request):
    """Have it decided; its result, or the error is raised."""
    asked = Asked(process, request)
    cluster.loop.run_until(lambda: bool(asked.answers), 30)
    ((error, result),) = asked.answers
    if error is not None:
        raise error
    return result


def verifiers(process, password="secret"):
    return told_verifiers(process.users.password_work(password)())


@pytest.fixture(params=["decides", "follows"])
def asks(cluster, request):
    return cluster.processes[0 if request.param == "decides" else -1]


def test_what_is_changed_is_everywhere_when_it_is_answered(cluster, asks):
    processes = cluster.processes
    ask(cluster, asks, a.MakeNamespace("acme/orders"))
    assert all("acme/orders" in one.catalogue.namespaces for one in processes)
    ask(cluster, asks, a.MakeNamespace("acme/orders"))  # it is there
    ask(cluster, asks, a.AddUser("ann", verifiers(asks), ["acme/orders"], True))
    assert all(one.users.user("ann").administrator and one.users.user("ann").verifiers[0].is_password("secret") for one in processes)
    ask(cluster, asks, a.SetPassword("ann", verifiers(asks, "other")))
    assert all(one.users.user("ann").verifiers[1].is_password("other") for one in processes)
    ask(cluster, asks, a.SetPermission("ann", "acme/orders", "", "x.*", "y.*"))
    assert all(one.users.user("ann").permission("acme/orders") == Permission("", "x.*", "y.*") for one in processes)
    ask(cluster, asks, a.ClearPermission("ann", "acme/orders"))
    assert all(one.users.user("ann").forbidden == ("acme/orders",) for one in processes)
    key_id = ask(cluster, asks, a.AddAccessKey("ann"))
    assert len({one.users.secret_of(key_id) for one in processes}) == 1
    second = ask(cluster, asks, a.AddAccessKey("ann"))
    ask(cluster, asks, a.DeleteAccessKey(second))
    assert all([key.id for key in one.users.access_keys("ann")] == [key_id] for one in processes)
    cluster.restart(0)
    assert same(cluster)
    assert processes[0].users.user("ann").forbidden == ("acme/orders",)
    assert [key.id for key in processes[0].users.access_keys("ann")] == [key_id]
    again = processes[processes.index(asks)]
    ask(cluster, again, a.DeleteUser("ann"))
    ask(cluster, again, a.DeleteNamespace("acme/orders"))
    assert all(one.users.maybe_user("ann") is None and one.users.access_keys("ann") == [] for one in processes)
    assert all("acme/orders" not in one.catalogue.namespaces for one in processes)


REFUSED = {
    "a namespace that is there": a.MakeNamespace("public/default", is_new=True),
    "no namespace's name": a.MakeNamespace("nothing"),
    "a namespace that is not there": a.DeleteNamespace("acme/none"),
    "the default namespace": a.DeleteNamespace("public/default"),
    "a user that is there": a.AddUser("bob", [("SCRAM-SHA-256", b"salt", 4096, b"", b"")]),
    "no user's name": a.AddUser("", [("SCRAM-SHA-256", b"salt", 4096, b"", b"")]),
    "a weak password": a.AddUser("ann", [("SCRAM-SHA-256", b"salt", 1, b"", b"")]),
    "no password": a.AddUser("ann", [("MD5", b"salt", 4096, b"", b"")]),
    "somebody's password": a.SetPassword("nobody", [("SCRAM-SHA-256", b"salt", 4096, b"", b"")]),
    "nobody": a.DeleteUser("nobody"),
    "no expression": a.SetPermission("bob", "*", "(", "", ""),
    "not UTF-8": a.SetPermission("bob", "*", "\udcff", "", ""),
    "a permission for nothing": a.SetPermission("bob", "nothing", "", "", ""),
    "nobody's permission": a.ClearPermission("nobody", "*"),
    "nobody's key": a.AddAccessKey("nobody"),
    "no key": a.DeleteAccessKey("none"),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_refusals_have_the_same_words_wherever_it_is_asked(request_):
    cluster = Cluster(2)
    cluster.settle()
    here, there = cluster.processes
    ask(cluster, there, a.AddUser("bob", verifiers(there)))
    before = here.rows()
    with pytest.raises(Refused) as at_home:
        here.administration.perform(request_)
    with pytest.raises(Refused) as away:
        ask(cluster, there, request_)
    assert (away.value.reason, str(away.value)) == (at_home.value.reason, str(at_home.value))
    assert here.rows() == before
    assert same(cluster)


def test_what_is_in_use_where_it_is_decided_stays(cluster, here, there):
    follows = cluster.processes[-1]
    ask(cluster, follows, a.MakeNamespace("acme/orders"))
    door = cluster.processes[0].broker.attach(here, None, "acme/orders")
    with pytest.raises(Refused) as refused:
        ask(cluster, follows, a.DeleteNamespace("acme/orders"))
    assert refused.value.reason is Reason.IN_USE
    door.close()
    ask(cluster, follows, a.DeleteNamespace("acme/orders"))


@pytest.mark.parametrize("where", [0, -1])
def test_clients_cannot_ask(cluster, where):
    client = cluster.processes[where].connect()
    with pytest.raises(Refused) as refused:
        client.ask(a.AddUser("eve", verifiers(cluster.processes[0]), [], True))
    assert refused.value.reason is Reason.NOT_PERMITTED
    assert all(one.users.maybe_user("eve") is None for one in cluster.processes)


def test_while_nobody_decides_it_is_not_done(cluster):
    follows = cluster.processes[-1]
    cluster.wires[0, cluster.count - 1].break_off()
    cluster.run(10)
    asked = Asked(follows, a.MakeNamespace("acme/orders"))
    assert [isinstance(error, Unavailable) for error, _ in asked.answers] == [True]
    cluster.settle()
    assert all("acme/orders" not in one.catalogue.namespaces for one in cluster.processes)
    ask(cluster, follows, a.MakeNamespace("acme/orders"))


def test_a_link_that_breaks_changes_nothing(cluster):
    follows = cluster.processes[-1]
    wire = cluster.wires[0, cluster.count - 1]
    asked = Asked(follows, a.MakeNamespace("acme/orders"))
    wire.break_off()
    cluster.run(0.2)
    assert asked.answers == []
    wire.begin()
    cluster.loop.run_until(lambda: bool(asked.answers), 30)
    assert asked.answers == [(None, None)]
    assert "acme/orders" in follows.catalogue.namespaces


def test_the_decider_dies_and_nobody_knows(cluster):
    follows = cluster.processes[-1]
    asked = Asked(follows, a.MakeNamespace("acme/orders"))
    cluster.restart(0)
    cluster.loop.run_until(lambda: bool(asked.answers), 30)
    assert [type(error) for error, _ in asked.answers] == [OutcomeUnknown]
    assert same(cluster)


def accounts_of(process):
    """As SQS's are made, in protocols/sqs/protocol.py."""

    def create(name, made):
        process.administration.ask(a.MakeNamespace(name), lambda error, _: process.scheduler.call_soon(made, error))

    return Accounts(process.catalogue.namespaces, create)


def test_the_first_calls_of_an_account_of_sqs_at_several_processes(cluster):
    told = []
    for process in cluster.processes:
        found = accounts_of(process).namespace_of_key_id("123456789012", "us-east-1", told.append)
        assert found == ("public/123456789012" if process is cluster.processes[0] else None)
    cluster.loop.run_until(lambda: len(told) == cluster.count, 30)
    assert told == [None] * cluster.count
    for process in cluster.processes:
        assert accounts_of(process).namespace_of_key_id("123456789012", "us-east-1", told.append) == "public/123456789012"
    assert same(cluster)


def test_a_key_file_that_is_damaged_costs_one_request_and_no_link(cluster):
    decides, *_, follows = cluster.processes
    ask(cluster, follows, a.AddUser("ann", verifiers(follows)))

    def damaged():
        raise CorruptData("the key file is damaged")

    decides.users._secrets = damaged
    with pytest.raises(Unavailable, match="the key file is damaged"):
        ask(cluster, follows, a.AddAccessKey("ann"))
    ask(cluster, follows, a.MakeNamespace("acme/orders"))
    assert same(cluster)


def test_verifiers_of_mechanisms_of_a_later_version_are_left_out(cluster):
    told = verifiers(cluster.processes[0])
    assert kept_verifiers([*told, ("SCRAM-SHA3-512", b"", 1, b"", b"")]) == kept_verifiers(told)
    with pytest.raises(NotDone):
        kept_verifiers([])
