"""The key that seals secrets: of the configuration's file, or of the data directory's own, made at first use: who has no access keys has no key file either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.local.whole_file import write_whole

if TYPE_CHECKING:
    from entrepot.broker.users.secret_box import SecretBox


def read_key(path: Path) -> bytes:
    """The key in a file of the configuration, as a key file or as it is. Refused: there is none."""
    from entrepot.broker.users.secret_box import KEY_SIZE, read_key_file

    try:
        data = path.read_bytes()
        return data if len(data) == KEY_SIZE else read_key_file(data)
    except OSError as error:
        raise Refused(Reason.INVALID, f"secrets_key_file = '{path}' cannot be read: {error.strerror}") from None
    except CorruptData:
        raise Refused(
            Reason.INVALID, f"secrets_key_file = '{path}' has {len(data)} bytes that are neither a key of {KEY_SIZE} bytes nor a secrets.key"
        ) from None


def box_of(key: bytes, entropy: Entropy) -> SecretBox:
    """The box of a key."""
    from entrepot.broker.users.secret_box import SecretBox

    return SecretBox(key, entropy)


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
        write_whole(path, data)
    return SecretBox(read_key_file(data), entropy)


def make_key(path: Path, entropy: Entropy) -> None:
    """A key file, where there is none yet: for who reads it in other processes. OSError."""
    if not path.exists():
        from entrepot.broker.users.secret_box import make_key_file

        write_whole(path, make_key_file(entropy))
