"""The key file of a data directory: read, or made at first use, so that who has no access keys has no key file either."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.entropy import Entropy

if TYPE_CHECKING:
    from entrepot.broker.users.secret_box import SecretBox


def open_secret_box(directory: Path, entropy: Entropy) -> SecretBox:
    """The box whose key lies in `directory`. A new file is whole and on the disk, readable by its owner alone, before anything is sealed.

    Raises CorruptData where the file is damaged, OSError.
    """
    from entrepot.broker.users.secret_box import KEY_FILE_NAME, SecretBox, make_key_file, read_key_file

    path = directory / KEY_FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = make_key_file(entropy)
        _write(path, data)
    return SecretBox(read_key_file(data), entropy)


def _write(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    new.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
