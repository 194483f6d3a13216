"""mosquitto_pub, mosquitto_sub and mosquitto_rr (Debian's package mosquitto-clients)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from mqtt_client import DEADLINE_S, Peer, new_name, said_of

Connect = Callable[..., Peer]
TIMEOUT_S = int(DEADLINE_S)

pytestmark = pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto_pub is not installed (Debian: apt-get install mosquitto-clients)")


@pytest.fixture(params=["mqttv31", "mqttv311", "mqttv5"])
def spoken(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def run(address: tuple[str, int]) -> Callable[..., bytes]:
    """run(program, *words, given=b"") → what it printed."""

    def once(program: str, *words: str, given: bytes = b"") -> bytes:
        command = [program, "-h", address[0], "-p", str(address[1]), *words]
        done = subprocess.run(command, input=given, capture_output=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    return once


@pytest.fixture
def begin(address: tuple[str, int]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """begin(program, *words) → the process, ended with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(program: str, *words: str) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([program, "-h", address[0], "-p", str(address[1]), *words], stdout=subprocess.PIPE))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_lines_there_and_back(run: Callable[..., bytes], begin: Callable[..., subprocess.Popen[bytes]], spoken: str, qos: str) -> None:
    """A line a message, -l; the reader is there once it printed what was retained for it."""
    topic = new_name()
    run("mosquitto_pub", "-V", spoken, "-t", f"{topic}/first", "-m", "there", "-r", "-q", "1")
    reader = begin("mosquitto_sub", "-V", spoken, "-t", f"{topic}/#", "-q", qos, "-C", "101", "-W", str(TIMEOUT_S), "-F", "%t %q %r %p")
    assert reader.stdout is not None
    assert reader.stdout.readline().decode() == f"{topic}/first {min(1, int(qos))} 1 there\n"
    run("mosquitto_pub", "-V", spoken, "-t", f"{topic}/more", "-q", qos, "-l", given=b"".join(b"%d\n" % number for number in range(100)))
    found = reader.stdout.read().decode().splitlines()
    assert found == [f"{topic}/more {qos} 0 {number}" for number in range(100)]
    assert reader.wait(TIMEOUT_S) == 0
    run("mosquitto_pub", "-V", spoken, "-t", f"{topic}/first", "-n", "-r", "-q", "1")


def test_a_kept_session(run: Callable[..., bytes], spoken: str) -> None:
    """-c -i: what came meanwhile is printed."""
    topic, client_id = new_name(), new_name("c")
    words = ("-V", spoken, "-i", client_id, "-c", "-q", "1", "-t", topic, *(("-x", "600") if spoken == "mqttv5" else ()))
    run("mosquitto_sub", *words, "-E")
    run("mosquitto_pub", "-V", spoken, "-t", topic, "-q", "1", "-l", given=b"a\nb\n")
    assert run("mosquitto_sub", *words, "-C", "2", "-W", str(TIMEOUT_S)) == b"a\nb\n"
    run("mosquitto_sub", "-V", spoken, "-i", client_id, "-t", topic, "-E")


def test_properties_of_mqtt_5(run: Callable[..., bytes], connect: Connect) -> None:
    topic, peer = new_name(), connect()
    peer.subscribe(topic, 1)
    words = "publish content-type text/plain", "publish user-property a 1", "publish message-expiry-interval 600", "publish topic-alias 1"
    run("mosquitto_pub", "-V", "mqttv5", "-t", topic, "-q", "1", "-m", "x", *(part for word in words for part in ("-D", *word.split())))
    said = said_of(peer.one())
    assert 598 <= said.pop("MessageExpiryInterval") <= 600
    assert said == {"ContentType": "text/plain", "UserProperty": [("a", "1")]}


def test_request_and_response(begin: Callable[..., subprocess.Popen[bytes]], connect: Connect) -> None:
    topic, peer = new_name(), connect()
    peer.subscribe(f"{topic}/ask", 1)
    asker = begin("mosquitto_rr", "-V", "mqttv5", "-t", f"{topic}/ask", "-e", f"{topic}/back", "-m", "question", "-q", "1", "-W", str(TIMEOUT_S))
    question = peer.one()
    said = question.properties
    assert (question.payload, said.ResponseTopic) == (b"question", f"{topic}/back")
    more = {"CorrelationData": said.CorrelationData} if hasattr(said, "CorrelationData") else {}
    peer.publish(said.ResponseTopic, b"answer", 1, **more)
    assert asker.communicate(timeout=TIMEOUT_S)[0] == b"answer\n"
    assert asker.returncode == 0


def test_a_will(begin: Callable[..., subprocess.Popen[bytes]], connect: Connect, spoken: str) -> None:
    topic, peer = new_name(), connect()
    peer.publish(f"{topic}/first", b"there", retain=True)
    peer.subscribe(f"{topic}/will", 1)
    process = begin("mosquitto_sub", "-V", spoken, "-t", f"{topic}/first", "--will-topic", f"{topic}/will", "--will-payload", "gone", "--will-qos", "1")
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.kill()
    assert peer.one().payload == b"gone"
    peer.publish(f"{topic}/first", retain=True)
