"""The key file: made once, private, and the same ever after."""

import pytest

from entrepot.broker.users.secret_box import KEY_FILE_NAME
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData
from entrepot.secret_file import open_secret_box


def test_it_is_made_once_and_private(tmp_path):
    sealed = open_secret_box(tmp_path, SystemEntropy()).seal(b"secret", "key")
    path = tmp_path / KEY_FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [KEY_FILE_NAME]
    assert open_secret_box(tmp_path, SystemEntropy()).open(sealed, "key") == b"secret"


def test_what_a_crash_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / "secrets.new").write_bytes(b"half")
    open_secret_box(tmp_path, SystemEntropy())
    assert [found.name for found in tmp_path.iterdir()] == [KEY_FILE_NAME]


def test_a_damaged_file_is_not_replaced(tmp_path):
    (tmp_path / KEY_FILE_NAME).write_bytes(b"ENTKEY")
    with pytest.raises(CorruptData, match=r"secrets\.key is damaged"):
        open_secret_box(tmp_path, SystemEntropy())
    assert (tmp_path / KEY_FILE_NAME).read_bytes() == b"ENTKEY"
