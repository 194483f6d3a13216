"""stomp.py: browsers, temporary topics, several destinations in one, exclusive consumers."""

from __future__ import annotations

from collections.abc import Callable

from stomp_client import Peer, new_name

Connect = Callable[..., Peer]


def browsed(peer: Peer, name: str, key: str) -> list[str]:
    """What a browser of the queue sees."""
    peer.subscribe(name, key, headers={"browser": "true"})
    found = []
    while True:
        (frame,) = peer.take()
        assert frame.headers["subscription"] == key
        if frame.headers.get("browser") == "end":
            return found
        found.append(frame.body)


def test_a_browser_takes_nothing(connect: Connect) -> None:
    peer = connect()
    name = f"/queue/{new_name()}"
    for number in range(1200):
        peer.connection.send(name, str(number))
    expected = [str(number) for number in range(1200)]
    peer.send(name, "x" * 100_000)
    assert browsed(peer, name, "b1") == [*expected, "x" * 100_000]
    peer.subscribe(name, "c", "client-individual", {"prefetch-count": "10"})
    taken = peer.take(10)
    assert browsed(connect(), name, "b2") == [*expected[10:], "x" * 100_000]
    for frame in taken:
        peer.settle(frame)
    peer.unsubscribe("c")
    assert len(browsed(connect(), name, "b3")) == 1191


def test_a_temporary_topic(connect: Connect) -> None:
    asker, answerer = connect(), connect()
    name = f"/queue/{new_name()}"
    asker.subscribe("/temp-topic/answers", "t")
    answerer.subscribe(name)
    asker.send(name, "ask", {"reply-to": "/temp-topic/answers"})
    (request,) = answerer.take()
    answerer.send(request.headers["reply-to"], "answer")
    (reply,) = asker.take()
    assert (reply.body, reply.headers["subscription"]) == ("answer", "t")


def test_several_destinations_at_once(connect: Connect) -> None:
    peer = connect()
    first, second, topic = f"/queue/{new_name()}", f"/queue/{new_name()}", f"/topic/{new_name()}"
    peer.subscribe(topic, "t")
    peer.send(f"{first},{second},{topic}", "all")
    assert [frame.headers["subscription"] for frame in peer.take()] == ["t"]
    for key, name in (("1", first), ("2", second)):
        peer.subscribe(name, key)
        assert [frame.body for frame in peer.take()] == ["all"]


def test_one_of_exclusive_consumers_is_served(connect: Connect) -> None:
    first, second = connect(), connect()
    name = f"/queue/{new_name()}"
    exclusive = {"activemq.exclusive": "true"}
    first.subscribe(name, headers=exclusive)
    second.subscribe(name, headers=exclusive)
    for number in range(10):
        first.send(name, str(number))
    assert [frame.body for frame in first.take(10)] == [str(number) for number in range(10)]
    assert second.none()
    first.close()
    second.send(name, "next")
    assert [frame.body for frame in second.take()] == ["next"]
