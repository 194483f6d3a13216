"""The key file: made once, private, and the same ever after."""

import pytest

from entrepot.broker.users.secret_box import KEY_FILE_NAME, make_key_file
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, Refused
from entrepot.secret_file import box_of, open_secret_box, read_key


def test_it_is_made_once_and_private(tmp_path):
    sealed = open_secret_box(tmp_path, SystemEntropy()).seal(b"secret", "key")
    path = tmp_path / KEY_FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [KEY_FILE_NAME]
    assert open_secret_box(tmp_path, SystemEntropy()).open(sealed, "key") == b"secret"


def test_what_a_crash_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / "secrets.key.new").write_bytes(b"half")
    open_secret_box(tmp_path, SystemEntropy())
    assert [found.name for found in tmp_path.iterdir()] == [KEY_FILE_NAME]


def test_a_damaged_file_is_not_replaced(tmp_path):
    (tmp_path / KEY_FILE_NAME).write_bytes(b"ENTKEY")
    with pytest.raises(CorruptData, match=r"secrets\.key is damaged"):
        open_secret_box(tmp_path, SystemEntropy())
    assert (tmp_path / KEY_FILE_NAME).read_bytes() == b"ENTKEY"


def test_a_key_of_the_configuration(tmp_path):
    plain, file = tmp_path / "plain", tmp_path / "file"
    plain.write_bytes(bytes(range(32)))
    file.write_bytes(make_key_file(SystemEntropy()))
    for path in (plain, file):
        sealed = box_of(read_key(path), SystemEntropy()).seal(b"secret", "key")
        assert box_of(read_key(path), SystemEntropy()).open(sealed, "key") == b"secret"
        with pytest.raises(CorruptData, match="secrets_key_file"):
            open_secret_box(tmp_path, SystemEntropy()).open(sealed, "key")


@pytest.mark.parametrize("data", [b"", b"k" * 31, b"k" * 33, b"ENTKEY" + b"\x01\x01" + bytes(36)])
def test_what_is_no_key_stops_the_start(tmp_path, data):
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(Refused, match=f"has {len(data)} bytes that are neither a key of 32 bytes nor a secrets"):
        read_key(tmp_path / "key")


def test_a_key_that_is_not_there_stops_the_start(tmp_path):
    with pytest.raises(Refused, match="cannot be read: No such file or directory"):
        read_key(tmp_path / "key")
