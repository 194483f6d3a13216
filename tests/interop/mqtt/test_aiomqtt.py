"""aiomqtt, the client of asyncio."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest
from mqtt_client import DEADLINE_S, new_name, properties
from paho.mqtt.packettypes import PacketTypes

VERSIONS = [aiomqtt.ProtocolVersion.V31, aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5]


async def take(client: aiomqtt.Client, count: int) -> list[aiomqtt.Message]:
    found: list[aiomqtt.Message] = []
    async with asyncio.timeout(DEADLINE_S):
        async for message in client.messages:
            found.append(message)
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("protocol", VERSIONS)
def test_a_conversation(address: tuple[str, int], protocol: aiomqtt.ProtocolVersion) -> None:
    """Many publish at once, two read; what is retained comes to a third."""
    topic = new_name()

    async def run() -> None:
        async with aiomqtt.Client(*address, protocol=protocol, identifier=new_name("c")) as first, aiomqtt.Client(*address, protocol=protocol) as second:
            await first.subscribe(f"{topic}/#", qos=2)
            await second.subscribe(f"{topic}/+/even", qos=1)
            await asyncio.gather(*(first.publish(f"{topic}/{n}/{'odd' if n % 2 else 'even'}", f"{n}", qos=n % 3, retain=n == 59) for n in range(60)))
            assert sorted(int(message.payload) for message in await take(first, 60)) == list(range(60))
            assert sorted(int(message.payload) for message in await take(second, 30)) == list(range(0, 60, 2))
        async with aiomqtt.Client(*address, protocol=protocol) as third:
            await third.subscribe(f"{topic}/#", qos=1)
            (message,) = await take(third, 1)
            assert (message.topic.value, message.payload, message.retain) == (f"{topic}/59/odd", b"59", True)
            await third.publish(f"{topic}/59/odd", retain=True, qos=1)

    asyncio.run(run())


def test_a_request_over_mqtt_5(address: tuple[str, int]) -> None:
    topic = new_name()

    async def answer(client: aiomqtt.Client) -> None:
        (question,) = await take(client, 1)
        assert question.properties is not None
        said = properties(PacketTypes.PUBLISH, {"CorrelationData": question.properties.CorrelationData})
        await client.publish(question.properties.ResponseTopic, b"answer", qos=1, properties=said)

    async def run() -> None:
        async with aiomqtt.Client(*address, protocol=VERSIONS[2]) as asker, aiomqtt.Client(*address, protocol=VERSIONS[2]) as answerer:
            await asyncio.gather(answerer.subscribe(f"{topic}/ask", qos=1), asker.subscribe(f"{topic}/back", qos=1))
            given = properties(PacketTypes.PUBLISH, {"ResponseTopic": f"{topic}/back", "CorrelationData": b"7"})
            _, _, (reply,) = await asyncio.gather(asker.publish(f"{topic}/ask", b"?", qos=1, properties=given), answer(answerer), take(asker, 1))
            assert reply.properties is not None
            assert (reply.payload, reply.properties.CorrelationData) == (b"answer", b"7")

    asyncio.run(run())


def test_a_session_is_kept(address: tuple[str, int]) -> None:
    topic, identifier = new_name(), new_name("c")

    async def run() -> None:
        def client(*, clean: bool = False) -> aiomqtt.Client:
            return aiomqtt.Client(*address, protocol=VERSIONS[1], identifier=identifier, clean_session=clean)

        async with client() as mine:
            await mine.subscribe(topic, qos=1)
        async with aiomqtt.Client(*address) as other:
            await other.publish(topic, b"x", qos=1)
        async with client() as mine:
            assert [message.payload for message in await take(mine, 1)] == [b"x"]
        async with client(clean=True):
            pass

    asyncio.run(run())
