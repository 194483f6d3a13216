"""The context manager over a real process."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import pytest

from entrepot.testing import Broker, BrokerFailed


def get(broker: Broker, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(broker.http_url + path, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_up_and_down() -> None:
    with Broker(listeners=("http",)) as broker:
        assert get(broker, "/readyz") == (200, "ready\n")
        assert "entrepot_limit" in get(broker, "/metrics")[1]
        assert broker.ready["listen"] == {"http": f"http://127.0.0.1:{broker.port('http')}"}
        assert broker.ready["compiled"] == ("interpreted" not in broker.log)
        scratch = broker.data_dir.parent
        pid = broker.pid
    assert not scratch.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_restart_and_kill_keep_ports_and_data(tmp_path: Path) -> None:
    with Broker(tmp_path / "data", listeners=("http",)) as broker:
        port, pid = broker.port("http"), broker.pid
        broker.restart()
        assert (broker.port("http"), broker.pid != pid) == (port, True)
        broker.kill()
        broker.start()
        assert get(broker, "/healthz") == (200, "ok\n")
    assert tmp_path.exists()


def test_a_broker_that_cannot_start_says_why() -> None:
    with pytest.raises(BrokerFailed, match=r"durability.mode = 'x' \(command line\)"), Broker(settings={"durability.mode": "x"}):
        pass


def test_a_taken_port_is_named() -> None:
    with Broker(listeners=("http",)) as first:
        taken = first.port("http")
        with pytest.raises(BrokerFailed, match=f"cannot start.*{taken}"), Broker(listeners=(), ports={"http": taken}):
            pass


def test_a_second_signal_ends_it_at_once() -> None:
    with Broker(listeners=("http",), settings={"limits.stop_grace_ms": "600000"}) as broker:
        process = broker.process
        assert process is not None
        with urllib.request.urlopen(broker.http_url + "/healthz"):
            pass
        os.kill(process.pid, signal.SIGSTOP)  # both signals wait for it, so that it cannot end between them
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(30) == 1
        assert "second signal" in broker.log


pytest_plugins = ["pytester"]


def test_the_plugin_gives_a_broker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import urllib.request

        def test_it(entrepot_broker, entrepot_amqp_url):
            assert entrepot_amqp_url.startswith("amqp://guest:guest@127.0.0.1:")
            with urllib.request.urlopen(entrepot_broker.http_url + "/readyz") as answer:
                assert answer.status == 200
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
