"""The node's directory: made once, for so many workers; what does not fit is refused with what to do, what is damaged with what is there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from entrepot.broker.catalogue.cluster_id import cluster_id
from entrepot.cluster.workers import directory, opening
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.local.posix_disk import LOCK

ENTROPY = SystemEntropy()


def made(path: Path, count: int = 3) -> Path:
    opening.opened(path, count, ENTROPY)
    return path


def of_one_process(path: Path) -> Path:
    (path / "journal-00000001").write_bytes(b"")
    return path


def test_it_is_made_once_and_private(tmp_path: Path) -> None:
    first = opening.opened(tmp_path, 3, ENTROPY)
    key = opening.link_key(tmp_path)
    assert (first.version, first.workers, first.shards) == (1, 3, 256)
    assert opening.opened(tmp_path, 3, ENTROPY) == first == directory.read(tmp_path)
    assert opening.link_key(tmp_path) == key
    assert {found.name: found.stat().st_mode & 0o777 for found in tmp_path.iterdir()} == {"workers.json": 0o600, "link.key": 0o600}
    assert json.loads((tmp_path / "workers.json").read_text()) == {"version": 1, "workers": 3, "cluster_id": first.cluster_id, "shards": 256}


def test_a_cluster_id_that_is_not_known_is_made(tmp_path: Path) -> None:
    directory.write(tmp_path, directory.WorkersFile(workers=3, shards=100))
    found = opening.opened(tmp_path, 3, ENTROPY)
    assert (found.workers, found.shards, len(found.cluster_id)) == (3, 100, 22)
    assert opening.opened(tmp_path, 3, ENTROPY) == found


def test_the_cluster_id_is_one_as_a_store_keeps_it(tmp_path: Path) -> None:
    found = opening.opened(tmp_path, 3, ENTROPY)

    class Kept:
        def get(self, shard: int, key: bytes) -> bytes:
            return b"\x01" + opening.cluster_octets(found)

    assert cluster_id(Kept(), ENTROPY) == found.cluster_id  # type: ignore[arg-type]


@pytest.mark.parametrize(("wanted", "number"), [(None, 1), (1, 1), (3, 3)])
def test_a_new_directory_is_as_is_wanted(tmp_path: Path, wanted: int | None, number: int) -> None:
    assert opening.number_for(tmp_path / "none", wanted) == number
    assert opening.number_for(tmp_path, wanted) == number


@pytest.mark.parametrize(("wanted", "number"), [(None, 3), (3, 3)])
def test_a_workers_directory_has_its_number(tmp_path: Path, wanted: int | None, number: int) -> None:
    assert opening.number_for(made(tmp_path), wanted) == number


@pytest.mark.parametrize("wanted", [1, 2, 4])
def test_another_number_is_refused_with_what_to_do(tmp_path: Path, wanted: int) -> None:
    with pytest.raises(Refused, match=f"divided for 3 workers.*`entrepot store split {tmp_path} --workers {wanted}`"):
        opening.number_for(made(tmp_path), wanted)


@pytest.mark.parametrize(("wanted", "number"), [(None, 1), (1, 1)])
def test_a_directory_of_one_process_stays_one(tmp_path: Path, wanted: int | None, number: int) -> None:
    assert opening.number_for(of_one_process(tmp_path), wanted) == number


def test_a_directory_of_one_process_is_not_divided_by_the_way(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"divided for one process.*`entrepot store split {tmp_path} --workers 3`"):
        opening.number_for(of_one_process(tmp_path), 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version": 2, "workers": 3, "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 256}',
        '{"version": 1, "workers": 0, "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 256}',
        '{"version": 1, "workers": 65, "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 256}',
        '{"version": 1, "workers": 3, "cluster_id": "SsqX", "shards": 256}',
        '{"version": 1, "workers": 3, "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 2}',
        '{"version": 1, "workers": 3, "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 256',
        '{"version": 1, "workers": "3", "cluster_id": "SsqXo8L0BWgZVTJn4sW_MQ", "shards": 256}',
    ],
)
def test_what_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "workers.json").write_text(text)
    with pytest.raises(CorruptData, match=r"workers\.json"):
        opening.opened(tmp_path, 3, ENTROPY)
    assert (tmp_path / "workers.json").read_text() == text


def test_a_lost_file_is_not_made_anew(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "w0").mkdir()
    (tmp_path / "workers.json").unlink()
    for look in (lambda: opening.number_for(tmp_path, 2), lambda: opening.opened(tmp_path, 2, ENTROPY)):
        with pytest.raises(CorruptData, match=r"no workers\.json; restore it"):
            look()


def test_a_crash_while_it_is_made_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "link.new").write_bytes(b"half")
    (tmp_path / "link.key").write_bytes(bytes(32))
    (tmp_path / "workers.new").write_bytes(b'{"versi')
    assert opening.number_for(tmp_path, 3) == 3
    assert opening.opened(tmp_path, 3, ENTROPY).workers == 3
    assert opening.link_key(tmp_path) == bytes(32)


def test_a_damaged_link_key_stops_the_start(tmp_path: Path) -> None:
    (made(tmp_path) / "link.key").write_bytes(b"short")
    with pytest.raises(CorruptData, match=r"link\.key is damaged: 5 bytes"):
        opening.opened(tmp_path, 3, ENTROPY)


def test_one_parent_has_it(tmp_path: Path) -> None:
    assert opening.LOCK_NAME == LOCK
    held = opening.lock(tmp_path / "new")
    with pytest.raises(Refused, match="in use by another process") as refused:
        opening.lock(tmp_path / "new")
    assert refused.value.reason is Reason.IN_USE
    os.close(held)
    os.close(opening.lock(tmp_path / "new"))
