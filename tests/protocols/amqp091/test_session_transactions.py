"""tx: what is staged and when, what one commit says to the broker, what a rollback gives back, how much is held."""

import pytest
from amqp_wire import ack, publish, route, settle, short
from session_bench import Client, closing, complete, frame, refuse

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import ACCEPT, REJECT, RELEASE, UNAVAILABLE, UNKNOWN
from entrepot.model.errors import OutcomeUnknown, Reason, Unavailable
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.amqp091.codec import RUN_MAX_BYTES, RUN_MAX_COUNT
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.staging import RUNS_MAX, STAGED_MAX

Q = route(b"", b"q")
TX = {"select": (90, 10), "commit": (90, 20), "rollback": (90, 30)}


def transactional(settings=None, unfinished=None):
    client = Client(settings, unfinished).open().open_channel()
    return select(client)


def select(client, number=1):
    assert client.say("tx.select", number) == [(number, "tx.select_ok", {})]
    return client


@pytest.fixture
def client():
    return transactional()


def commits(client):
    return [request for request in client.door.requests if isinstance(request, requests.CommitTogether)]


def checks(client):
    return [request.address for request in client.door.requests if isinstance(request, requests.CheckPublish)]


def parts(commit):
    """What one commit settles."""
    return [(one.consumer_id, one.first, one.count, one.disposition) for one in commit.settlements]


class TestSelect:
    def test_again(self, client):
        client.send(publish(1, Q, b"x"))
        select(client).send(frame("tx.commit"))
        assert [call.data[-1:] for call in commits(client)[0].publishes] == [b"x"]

    def test_not_with_confirms(self, client):
        assert closing(client.say("confirm.select")) == ("channel.close", 406, (85, 10))
        client.open_channel(2).confirming(2)
        assert closing(client.say("tx.select", 2)) == ("channel.close", 406, TX["select"])

    @pytest.mark.parametrize("name", ["commit", "rollback"])
    def test_before_what_needs_it(self, name):
        client = Client().open().open_channel()
        assert closing(client.say(f"tx.{name}")) == ("channel.close", 406, TX[name])

    def test_only_the_channel_that_asked(self, client):
        client.open_channel(2)
        client.send(publish(2, Q, b"x"), publish(1, Q, b"y"))
        assert [call.data[-1:] for call in client.door.publishes] == [b"x"]


class TestCommit:
    def test_everything_in_one_call(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 10)
        client.hear()
        client.send(
            publish(1, Q, b"a"), ack(1, 1), publish(1, Q, b"b", bits=1), ack(1, 2), settle(1, 120, 4, 2), settle(1, 90, 5), publish(1, Q, b"c"), ack(1, 10)
        )
        assert client.hear() == []
        assert (client.door.publishes, client.door.settles) == ([], [])
        client.send(frame("tx.commit"))
        (commit,) = commits(client)
        assert [(call.data[-1:], call.mandatory, call.confirm) for call in commit.publishes] == [
            (b"a", False, False),
            (b"b", True, False),
            (b"c", False, False),
        ]
        assert parts(commit) == [(7, 100, 2, ACCEPT), (7, 103, 1, RELEASE), (7, 104, 1, REJECT), (7, 109, 1, ACCEPT)]
        assert client.hear() == []
        complete(client.door.pending[-1])
        assert client.hear() == [(1, "tx.commit_ok", {})]
        client.send(frame("tx.commit"))
        assert (commits(client)[1].publishes, commits(client)[1].settlements) == ([], [])

    def test_neighbours_are_settled_together(self, client):
        token = client.consume(7)
        client.deliver(token, 50, [b"x"] * 500)
        for tag in range(1, 501):
            client.send(ack(1, tag))
        client.send(frame("tx.commit"))
        assert parts(commits(client)[0]) == [(7, 50, 500, ACCEPT)]

    @pytest.mark.parametrize("size", [0, 7, 1000, RUN_MAX_BYTES])
    def test_what_comes_one_by_one_is_as_what_comes_at_once(self, size):
        messages = [publish(1, Q, bytes([number % 256]) * size) for number in range(1500 if size < 1000 else 150)]
        at_once, one_by_one = transactional(), transactional()
        at_once.send(b"".join(messages), frame("tx.commit"))
        for message in messages:
            one_by_one.send(message)
        one_by_one.send(frame("tx.commit"))
        runs, others = (commits(client)[0].publishes for client in (one_by_one, at_once))
        assert b"".join(run.data for run in runs) == b"".join(run.data for run in others)
        assert (sum(run.count for run in runs), sum(run.body_bytes for run in runs)) == (len(messages), size * len(messages))
        assert len(runs) <= len(others)
        assert all(run.count == 1 or (run.count <= RUN_MAX_COUNT and len(run.data) <= RUN_MAX_BYTES) for run in runs)

    @pytest.mark.parametrize(
        "unlike",
        [publish(1, Q, b"x", bits=1), publish(1, route(b"", b"r"), b"x"), publish(1, Q, b"x", b"\x01\x00" + short(b"9"))],
        ids=["mandatory", "another address", "it expires"],
    )
    def test_only_what_is_alike_is_one_run(self, client, unlike):
        for message in (publish(1, Q, b"a"), publish(1, Q, b"b"), unlike, unlike, publish(1, Q, b"c")):
            client.send(message)
        client.send(frame("tx.commit"), publish(1, Q, b"d"), frame("tx.commit"))
        for call in client.door.pending:
            complete(call)
        assert [[(call.count, call.data[-1:]) for call in commit.publishes] for commit in commits(client)] == [[(2, b"b"), (2, b"x"), (1, b"c")], [(1, b"d")]]

    def test_what_comes_while_it_waits_is_of_the_next(self, client):
        client.send(publish(1, Q, b"a"), frame("tx.commit"), publish(1, Q, b"b"), frame("tx.commit"))
        assert [[call.data[-1:] for call in commit.publishes] for commit in commits(client)] == [[b"a"]]
        for call in client.door.pending:
            complete(call)
        assert [[call.data[-1:] for call in commit.publishes] for commit in commits(client)] == [[b"a"], [b"b"]]

    def test_returns_come_first(self, client):
        client.send(publish(1, Q, b"a", bits=1), frame("tx.commit"))
        call = commits(client)[0].publishes[0]
        call.attachment, call.unroutable = client.door, True
        complete(call)
        complete(client.door.pending[-1])
        assert [said[1] for said in client.hear()] == ["basic.return", "content", "tx.commit_ok"]

    def test_each_address_is_asked_about_once_on_end(self, client):
        for _ in range(3):
            client.send(publish(1, Q, b"a"))
        client.send(publish(1, route(b"e", b"k"), b"a"), publish(1, Q, b"a"))
        assert checks(client) == [Q, route(b"e", b"k"), Q]

    @pytest.mark.parametrize(("reason", "code"), [(Reason.NOT_FOUND, 404), (Reason.NOT_PERMITTED, 403)])
    def test_a_publish_that_may_not_be_closes_its_channel_at_once(self, client, reason, code):
        client.door.answer = lambda call: refuse(call, reason)
        client.send(publish(1, Q, b"a"), publish(1, Q, b"b"), frame("tx.commit"))
        assert closing(client.hear()) == ("channel.close", code, (60, 40))
        assert commits(client) == []

    @pytest.mark.parametrize(("properties", "code"), [(b"\x01\x00" + short(b"never"), 406), (b"\x00\x10" + short(b"bob"), 406)])
    def test_properties_are_looked_at_at_once(self, client, properties, code):
        client.send(publish(1, Q, b"a", properties))
        assert closing(client.hear()) == ("channel.close", code, (60, 40))

    def test_refused(self, client):
        client.send(publish(1, Q, b"a"), frame("tx.commit"))
        refuse(client.door.pending[-1], Reason.FULL)
        assert closing(client.hear()) == ("channel.close", 406, TX["commit"])

    def test_a_check_that_fails_while_the_transaction_is_being_done_says_nothing_of_it(self, client):
        client.door.answer = None
        client.send(publish(1, Q, b"x"), frame("tx.commit"))
        check, commit = (
            next(call for call in client.door.pending if isinstance(call.request, kind)) for kind in (requests.CheckPublish, requests.CommitTogether)
        )
        check.outcome, check.error = UNAVAILABLE, Unavailable("not now")
        client.session.completed(check)
        assert client.hear() == []
        complete(commit)
        assert client.hear() == [(1, "tx.commit_ok", {})]

    @pytest.mark.parametrize(("outcome", "error", "code"), [(UNAVAILABLE, Unavailable("no"), 405), (UNKNOWN, OutcomeUnknown("who knows"), 541)])
    def test_neither_done_nor_refused(self, client, outcome, error, code):
        client.send(publish(1, Q, b"a"), frame("tx.commit"))
        complete(client.door.pending[-1], outcome=outcome, error=error)
        assert closing(client.hear()) == ("channel.close", code, TX["commit"])

    def test_a_channel_that_closes_takes_it_along(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"])
        client.send(publish(1, Q, b"a"), ack(1, 1), frame("channel.close"))
        assert (commits(client), client.door.publishes, client.door.settles) == ([], [], [])
        assert client.door.ended_streams == [1]


class TestRollback:
    def test_nothing_was_published_and_nothing_settled(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 6)
        client.hear()
        client.send(publish(1, Q, b"a"), ack(1, 5), settle(1, 120, 1, 2), ack(1, 3, True))
        assert client.say("tx.rollback") == [(1, "tx.rollback_ok", {})]
        assert client.door.settles == []
        client.send(ack(1, 4), ack(1, 0, True), frame("tx.commit"))
        (commit,) = commits(client)
        assert commit.publishes == []
        assert parts(commit) == [(7, 103, 1, ACCEPT), (7, 100, 3, ACCEPT), (7, 104, 2, ACCEPT)]

    def test_what_is_settled_twice_is_unknown(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 2)
        client.hear()
        client.send(ack(1, 1), frame("tx.rollback"), ack(1, 1), ack(1, 1))
        assert closing(client.hear()) == ("channel.close", 406, (60, 80))
        assert client.door.settles == []

    def test_recover_leaves_what_is_settled_in_the_transaction(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 3)
        client.send(ack(1, 2), frame("basic.recover"))
        (released,) = [request for request in client.door.requests if isinstance(request, requests.Release)]
        assert released.ranges == [(7, 100, 1), (7, 102, 1)]
        assert client.hear()[-1][1] == "basic.recover_ok"
        complete(client.door.pending[-1])
        assert client.hear() == []
        client.send(frame("tx.rollback"), ack(1, 2), frame("tx.commit"))
        assert parts(commits(client)[0]) == [(7, 101, 1, ACCEPT)]


class TestHeld:
    def test_one_transaction_has_a_size(self):
        client = transactional(Settings(message_size_max=10_000))
        for _ in range(3):
            client.send(publish(1, Q, bytes(2_500)))
        assert client.hear() == []
        client.send(publish(1, Q, bytes(2_500)))
        assert closing(client.hear()) == ("channel.close", 406, (60, 40))

    def test_one_large_message_is_taken(self):
        client = transactional(Settings(message_size_max=10_000))
        client.deliver(client.consume(7), 100, [b"x"])
        client.hear()
        client.send(ack(1, 1), publish(1, Q, bytes(10_000)), frame("tx.commit"))
        assert client.hear() == []
        assert len(commits(client)) == 1

    def test_so_many_messages(self, client):
        client.send(publish(1, Q, b"") * STAGED_MAX)
        assert client.hear() == []
        client.send(publish(1, Q, b""))
        assert closing(client.hear()) == ("channel.close", 406, (60, 40))

    def test_so_many_one_by_one(self, client):
        for _ in range(2 * RUNS_MAX):
            client.send(publish(1, Q, b""))
        assert client.hear() == []

    def test_so_many_that_do_not_follow_each_other(self, client):
        other = route(b"", b"other")
        for _ in range(RUNS_MAX // 1000):
            client.send((publish(1, Q, b"") + publish(1, other, b"")) * 500)
        assert client.hear() == []
        client.send(publish(1, Q, b""))
        assert closing(client.hear()) == ("channel.close", 406, (60, 40))

    @pytest.mark.parametrize("end", ["tx.commit", "tx.rollback", "channel.close"])
    def test_who_ends_one_holds_nothing(self, end):
        shared = Unfinished(1 << 20)
        client = transactional(unfinished=shared)
        client.send(publish(1, Q, bytes(1_000)))
        assert 1_000 < shared.held_bytes < 2_000
        client.say(end)
        assert shared.held_bytes == 0

    @pytest.mark.parametrize("end", [lambda client: client.session.lost("gone"), lambda client: client.say("connection.close", 0)])
    def test_nor_does_who_leaves(self, end):
        shared = Unfinished(1 << 20)
        client = transactional(unfinished=shared)
        client.send(publish(1, Q, bytes(1_000)))
        end(client)
        assert shared.held_bytes == 0

    def test_over_the_limit_of_all_who_has_not_committed_for_longest_ends(self):
        shared = Unfinished(300_000)
        first, second, third = (select(transactional(unfinished=shared).open_channel(2), 2) for _ in range(3))
        for client in (first, second):
            client.send(publish(1, Q, bytes(100_000)))
        first.send(frame("tx.commit"), publish(2, Q, bytes(100_000)))
        for client in (second, third):
            assert client.hear() == []
        third.send(publish(1, Q, bytes(110_000)))
        assert closing(second.hear()) == ("channel.close", 406, (0, 0))
        assert second.say("tx.commit", 2) == []
        complete(second.door.pending[-1])
        assert second.hear() == [(2, "tx.commit_ok", {})]
        assert (first.hear(), third.hear()) == ([], [])
        assert 210_000 < shared.held_bytes < 220_000

    @pytest.mark.parametrize("end", ["tx.commit", "tx.rollback"])
    def test_small_transactions_keep_no_large_one(self, end):
        shared = Unfinished(300_000)
        large, other = transactional(unfinished=shared), transactional(unfinished=shared)
        select(large.open_channel(2), 2)
        large.send(publish(1, Q, bytes(150_000)))
        other.send(publish(1, Q, bytes(100_000)))
        large.send(publish(2, Q, b"x"), frame(end, 2))
        other.send(publish(1, Q, bytes(60_000)))
        assert ("channel.close", 406, (0, 0)) in [closing([said]) for said in large.hear() if said[1] == "channel.close"]
        assert other.hear() == []

    def test_who_holds_most_of_it_ends_itself(self):
        shared = Unfinished(300_000)
        client = transactional(unfinished=shared)
        for _ in range(4):
            client.send(publish(1, Q, bytes(100_000)))
        assert closing(client.hear()) == ("channel.close", 406, (0, 0))
        assert shared.held_bytes == 0
