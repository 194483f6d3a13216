"""`entrepot serve --workers N` as processes: ready as one, whole again after a worker's death, and gone when it is told or killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing import Broker, BrokerFailed

LIMIT_S = 60.0
COUNT = 3
WORKERS = ("--workers", str(COUNT))


@pytest.fixture(scope="module", autouse=True)
def of_itself() -> Iterator[None]:
    """These say themselves how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ENTREPOT_TEST_WORKERS", raising=False)
        yield


@contextlib.contextmanager
def handles(pids: list[int]) -> Iterator[list[int]]:
    """Of processes that live now; readable when they have ended, whoever their parent is."""
    found = [os.pidfd_open(pid) for pid in pids]
    try:
        yield found
    finally:
        for handle in found:
            os.close(handle)


def ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], LIMIT_S)[0])


def is_ready(broker: Broker) -> str | None:
    """None, or why it is not."""
    try:
        with urllib.request.urlopen(broker.http_url + "/readyz") as answer:
            assert answer.status == 200
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def restarts(broker: Broker, number: int) -> float:
    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f'entrepot_worker_restarts_total{{worker="{number}"}}')).split()[-1])


@pytest.fixture(scope="module")
def shared() -> Iterator[Broker]:
    with Broker(arguments=WORKERS) as broker:
        yield broker


def test_it_is_ready_as_one(shared: Broker) -> None:
    assert len(shared.ready["workers"]) == COUNT
    assert len({shared.pid, *shared.ready["workers"]}) == COUNT + 1
    assert shared.ready["data"] == str(shared.data_dir)
    assert is_ready(shared) is None
    assert sorted(found.name for found in shared.data_dir.glob("w?")) == ["w0", "w1", "w2"]
    with socket.create_connection(("127.0.0.1", shared.amqp_port), LIMIT_S) as client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        assert client.recv(1) == b"\x01"


@pytest.mark.parametrize("number", [0, 2])
def test_a_worker_that_is_killed_is_there_again(shared: Broker, number: int) -> None:
    pid = shared.ready["workers"][number]
    with handles([pid]) as (handle,):
        os.kill(pid, signal.SIGKILL)
        assert ended(handle)
    while restarts(shared, number) < 1 or is_ready(shared) is not None:
        pass
    assert f"w{number} (process {pid}) has ended, and is started again at once: signal 9 (SIGKILL)" in shared.log
    assert f"w{number} is ready again" in shared.log


def test_another_broker_is_refused(shared: Broker) -> None:
    for arguments in (WORKERS, ()):
        with pytest.raises(BrokerFailed, match="in use by another process"), Broker(shared.data_dir, arguments=arguments):
            pass


def test_killed_or_told_to_stop_it_leaves_nobody_and_starts_again_with_the_number_that_it_has(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data, arguments=WORKERS, listeners=("amqp",)) as broker:
        cluster_id = broker.ready["cluster_id"]
        with handles(broker.ready["workers"]) as first:
            broker.kill()
            assert all(map(ended, first))
    with Broker(data, listeners=("amqp",)) as broker:
        assert (broker.ready["cluster_id"], len(broker.ready["workers"])) == (cluster_id, COUNT)
        assert "is divided for 3 workers: so many are started" in broker.log
        with handles(broker.ready["workers"]) as found:
            broker.stop()
            assert all(map(ended, found))
    assert not list(data.rglob("*.sock"))
    with pytest.raises(BrokerFailed, match="divided for 3 workers, and 2 are wanted"), Broker(data, arguments=("--workers", "2"), listeners=("amqp",)):
        pass


def test_what_the_configuration_does_not_allow_is_said_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "entrepot", "serve", *WORKERS, "--data", str(tmp_path / "data"), "--listen", "amqp=0.0.0.0:0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert ran.returncode == 2
    assert ran.stderr.count("there are no users") == 1


def test_a_directory_of_one_process_is_not_divided_by_the_way(tmp_path: Path) -> None:
    (tmp_path / "journal-1").write_bytes(b"")
    with pytest.raises(BrokerFailed, match="divided for one process, and 3 are wanted"), Broker(tmp_path, arguments=WORKERS, listeners=("amqp",)):
        pass
