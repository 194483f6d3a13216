"""A protocol is a package and its line in the table: line_protocol, of which no other file knows, as every part of the broker sees it."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import line_protocol
import pytest
from log_lines import line_with

from entrepot import protocol_table
from entrepot.config import keys, load
from entrepot.model.errors import Refused
from entrepot.testing import Broker

pytest_plugins = ["pytester"]
TESTS, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(TESTS), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
COMMAND = (sys.executable, "-m", line_protocol.__name__)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The line is in the table of this process."""
    read = (protocol_table.protocols, protocol_table.listeners, protocol_table.endpoints)
    monkeypatch.setattr(protocol_table, "PACKAGES", (*protocol_table.PACKAGES, line_protocol.__name__))
    for each in read:
        each.cache_clear()
    yield
    for each in read:
        each.cache_clear()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "COLUMNS": "300", "NO_COLOR": "1"}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=environment)


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("line://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def say(url: str, text: bytes) -> bytes:
    with connect(url) as sock, sock.makefile("rb") as answers:
        sock.sendall(text)
        return answers.readline()


@pytest.fixture
def broker(table: None) -> Iterator[Broker]:
    settings = {"line.greeting": "good day", "limits.line_bytes": 64}
    with Broker(settings=settings, command=COMMAND, environment={"PYTHONPATH": PYTHONPATH}) as broker:
        yield broker


def test_it_is_served(broker: Broker) -> None:
    assert broker.ready["listen"]["line"] == broker.line_url == f"line://127.0.0.1:{broker.line_port}"
    assert line_with(broker, "line clients").split() == ["line", broker.line_url, "line", "clients"]
    assert say(broker.line_url, b"ann\n") == b"good day from public/default: ann\n"
    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        figures = answer.read().decode().splitlines()
    assert "entrepot_line_lines_total 1.0" in figures
    assert 'entrepot_limit{limit="line_bytes"} 64.0' in figures
    with connect(broker.line_url) as sock:
        sock.sendall(b"bob\n")
        sock.recv(1)
        listed = command("connections", "list", "--data", str(broker.data_dir)).stdout.splitlines()
        assert [row.split()[1] for row in listed[1:]] == ["line"]


def test_who_comes_to_the_wrong_port_is_sent_on(broker: Broker) -> None:
    say(broker.line_url, b"\0\0\0\x2e\0\x12\0\x03")
    assert line_with(broker, "that is no line").endswith(f"; it looks like Kafka: that is served by kafka at 127.0.0.1:{broker.kafka_port}")
    say(f"line://127.0.0.1:{broker.amqp_port}", b"LINE BY LINE")
    assert line_with(broker, "instead of AMQP's").endswith(f"; it looks like LINE: that is served by line at 127.0.0.1:{broker.line_port}")
    say(broker.line_url, b"\x16\x03\x01\0\0\0\0\0")
    assert line_with(broker, "looks like TLS").endswith("and there is no TLS listener (listen.lines)")


def test_a_namespace_has_a_listener_of_its_own(broker: Broker) -> None:
    with broker.namespace() as space, space.in_environment():
        assert os.environ["LINE_URL"] == space.line_url != broker.line_url
        assert say(space.line_url, b"ann\n") == f"good day from {space.name}: ann\n".encode()
        url = space.line_url
        broker.restart()
        assert space.line_url == url
        assert say(url, b"bob\n") == f"good day from {space.name}: bob\n".encode()
    with pytest.raises(ConnectionError):
        connect(url)


def test_help_names_it() -> None:
    assert "Lines at line://127.0.0.1:7100" in " ".join(command("--help").stdout.replace("│", " ").split())  # wherever the line is divided
    told = command("serve", "--help").stdout
    assert "Lines on 127.0.0.1:7100" in told
    assert "http, line, lines; port 0" in told


def test_its_settings_are_settings(table: None) -> None:
    names = [found.name for found in keys()]
    assert names.index("groups.offsets_check_interval_ms") < names.index("line.greeting") < names.index("tls.certificate")
    reference = runpy.run_path(str(ROOT / "tools" / "write_reference.py"))
    assert "### `[line]`" in "".join(reference["configuration"]())
    assert "| `greeting` | `hello` | what every answer begins with | a string |" in "".join(reference["configuration"]())
    assert "| `limits.line_bytes` | 1 KiB | one line | its connection is closed |" in "".join(reference["limits"]())
    for flags, text in (
        ({"line.greting": "x"}, r"line.greting \(command line\): there is no such key; line.greeting is meant\?"),
        ({"line.patience_s": "61"}, r"line.patience_s = '61' \(command line\): a whole number of s, at least 1, at most 60 is expected \(default: 30\)"),
        ({"listen.line": "there"}, None),
    ):
        if text is None:
            assert load(flags=flags).config.listen == {"line": "there"}
        else:
            with pytest.raises(Refused, match=text):
                load(flags=flags)
    refused = command("serve", "--listen", "line=there")
    assert (refused.returncode, "listen.line = 'there': HOST:PORT is expected" in refused.stderr) == (2, True)


def test_tests_have_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    pytester.makepyfile(
        f"""
        import sys
        import pytest
        from entrepot.testing import Broker, endpoints, line

        @pytest.fixture(scope="session")
        def entrepot_broker():
            endpoints._shared.append(Broker(command={COMMAND!r}, listeners=("line",)).start())
            yield endpoints.shared_broker()
            endpoints._shared.pop().close()

        def test_fixtures(entrepot_broker, entrepot_line, entrepot_line_url, entrepot_namespace):
            assert entrepot_line == entrepot_namespace.line_url
            assert entrepot_line_url == entrepot_broker.line_url != entrepot_line
            with line() as url:
                assert url not in (entrepot_line, entrepot_line_url)
        """
    )
    pytester.runpytest_subprocess("-p", "line_protocol.in_the_table", "-p", "no:cacheprovider").assert_outcomes(passed=1)
