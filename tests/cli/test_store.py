"""`entrepot store` on the data of a real broker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pika
import pytest
from typer.testing import CliRunner

from entrepot.cli.app import app
from entrepot.model.errors import Unavailable
from entrepot.testing import Broker, BrokerFailed

BODY = b"a body that is easily found"


def entrepot(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "entrepot", *arguments], capture_output=True, text=True, timeout=120)


def publish(broker: Broker, count: int) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for number in range(count):
        channel.basic_publish("", "q", BODY + b" %d" % number, pika.BasicProperties(delivery_mode=2))
    connection.close()


def damage(directory: Path, text: bytes) -> None:
    """Flip a bit of `text` wherever it lies."""
    for file in directory.rglob("*"):
        if file.is_file():
            data = bytearray(file.read_bytes())
            place = data.find(text)
            if place >= 0:
                data[place] ^= 1
                file.write_bytes(data)


def test_a_whole_directory_is_whole(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data) as broker:
        publish(broker, 10)
    ran = entrepot("store", "verify", str(data))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Everything is whole." in ran.stdout


def test_damage_is_refused_shown_and_set_aside(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data) as broker:
        publish(broker, 10)
        broker.kill()
    damage(data, BODY + b" 5")
    with pytest.raises(BrokerFailed, match=r"exit status 1\)(.|\n)*entrepot store verify"), Broker(data):
        pass
    ran = entrepot("store", "verify", str(data))
    assert ran.returncode == 1
    assert "DAMAGED journal-" in ran.stdout
    ran = entrepot("store", "quarantine", str(data))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list(data.rglob("quarantine-*"))
    assert entrepot("store", "verify", str(data)).returncode == 0
    with Broker(data) as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
        assert connection.channel().queue_declare("q", durable=True, passive=True).method.message_count == 5
        connection.close()


def get(broker: Broker, count: int) -> list[bytes]:
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    bodies = [channel.basic_get("q", auto_ack=True)[2] for _ in range(count)]
    connection.close()
    return bodies


def test_divided_for_workers_and_put_together_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data, workers=1) as broker:
        publish(broker, 10)
        broker.kill()
    ran = entrepot("store", "split", str(data), "--workers", "3")
    assert (ran.returncode, ran.stderr.strip()) == (0, "")
    assert "Divided for 3 workers, which were one worker" in ran.stdout
    with pytest.raises(BrokerFailed, match=r"exit status 2\)(.|\n)*is divided for 3 workers, and 2 are wanted"), Broker(data, workers=2):
        pass
    ran = entrepot("store", "verify", str(data))
    assert ran.returncode == 0
    assert [ran.stdout.count(text) for text in ("w0:", "w2:", "Everything is whole.")] == [1, 1, 3]
    assert entrepot("store", "quarantine", str(data)).returncode == 0
    ran = entrepot("store", "split", str(data), "--workers", "1")
    assert (ran.returncode, ran.stderr.strip()) == (0, "")
    with Broker(data, workers=1) as broker:
        assert get(broker, 9) == [BODY + b" %d" % number for number in range(9)]
        publish(broker, 1)
        ran = entrepot("store", "split", str(data), "--workers", "2")
        assert ran.returncode == 2
        assert "in use by another process" in ran.stderr
        assert get(broker, 3) == [BODY + b" 9", BODY + b" 0", None]
    assert "The directory is divided for one worker." in entrepot("store", "split", str(data), "--workers", "1").stdout
    assert entrepot("store", "verify", str(data)).returncode == 0


def test_what_is_no_data_directory_is_left_alone(tmp_path: Path) -> None:
    ran = entrepot("store", "split", str(tmp_path), "--workers", "2")
    assert ran.returncode == 2
    assert "no data directory" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data):
        ran = entrepot("store", "verify", str(data))
    assert ran.returncode == 2
    assert "in use by another process" in ran.stderr


def test_a_split_for_which_there_is_no_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("checkpoint.sqlite: database or disk is full")

    monkeypatch.setattr("entrepot.cluster.workers.splitting.split", full)
    error = CliRunner().invoke(app, ["store", "split", str(tmp_path), "--workers", "2"]).exception
    assert isinstance(error, Unavailable)
    assert "disk is full. Nothing is lost" in str(error)
