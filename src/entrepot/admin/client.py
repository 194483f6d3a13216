"""The other end of the socket: what a command asks of the broker that runs on a data directory."""

from __future__ import annotations

import contextlib
import http.client
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from entrepot.admin import socket_file
from entrepot.admin.requests import CHANGES, LISTS, UNAVAILABLE, UNKNOWN, ChangeRequest, ListRequest, Made, Row
from entrepot.model.errors import CorruptData, OutcomeUnknown, Reason, Refused, Unavailable

TIMEOUT_S = 30.0  # for anything at all to come
T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)

_LIST_NAMES = {asked: name for name, (asked, _) in LISTS.items()}
_CHANGE_NAMES = {asked: name for name, asked in CHANGES.items()}


class NotRunning(Exception):
    """No broker listens in the directory."""


class Client:
    """One connection. Raises Refused as the broker does; Unavailable where it does not answer, OutcomeUnknown where a change may have been done."""

    def __init__(self, directory: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._directory = directory
        self._http = http.client.HTTPConnection("entrepot", timeout=timeout_s)
        try:
            self._http.sock = socket_file.connect(directory, timeout_s)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NotRunning from None
        except PermissionError:
            raise Refused(Reason.NOT_PERMITTED, f"{directory} is another user's: run this as {_owner(directory)}") from None
        except (TimeoutError, BlockingIOError):  # too many wait to be accepted
            raise self._silent() from None
        except OSError as error:
            raise Unavailable(f"{directory / socket_file.NAME}: {error.strerror or error}") from None

    def rows(self, request: ListRequest, row: type[RowT]) -> list[RowT]:
        """A list, whole."""
        name = _LIST_NAMES[type(request)]
        try:
            body = self._ask("POST", f"/{name}", msgspec.json.encode(request))
        except TimeoutError:
            raise self._silent() from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the broker on {self._directory} ended the connection: {error or type(error).__name__}") from None
        return self._decode(body, dict[str, list[row]])[name]  # type: ignore[valid-type]

    def change(self, request: ChangeRequest) -> Made:
        """Done, and durable."""
        try:
            body = self._ask("POST", f"/{_CHANGE_NAMES[type(request)]}", msgspec.json.encode(request))
        except (OSError, http.client.HTTPException) as error:
            text = str(error) or type(error).__name__
            raise OutcomeUnknown(f"the broker on {self._directory} did not answer ({text}): the change may have been made, look before you repeat it") from None
        return self._decode(body, Made)

    def get(self, path: str) -> bytes:
        """What is there to be read: figures, the status."""
        try:
            return self._ask("GET", path, None)
        except TimeoutError:
            raise self._silent() from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the broker on {self._directory} ended the connection: {error or type(error).__name__}") from None

    def close(self) -> None:
        """Nothing more is asked."""
        self._http.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        self._http.request(method, path, body, {} if body is None else {"content-type": "application/json"})
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status == 200:
            return text
        try:
            told = msgspec.json.decode(text, type=dict[str, str])
            why, reason = told["error"], told["reason"]
        except (msgspec.DecodeError, KeyError):
            why, reason = text.decode("utf-8", "replace").strip() or f"HTTP status {answer.status}", "INVALID"
        if reason == UNAVAILABLE:
            raise Unavailable(why)
        if reason == UNKNOWN:
            raise OutcomeUnknown(f"{why}: the change may have been made, look before you repeat it")
        if reason == "CORRUPT":
            raise CorruptData(why)
        raise Refused(Reason[reason] if reason in Reason.__members__ else Reason.INVALID, why)

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise Unavailable(f"the broker on {self._directory} answers as another version does: {error}") from None

    def _silent(self) -> Unavailable:
        return Unavailable(f"the broker on {self._directory} runs and does not answer: it may be stopped or overloaded; see its log, and /healthz")


def _owner(directory: Path) -> str:
    """Who may: a name where the system has one."""
    with contextlib.suppress(OSError, KeyError):
        return directory.owner()
    with contextlib.suppress(OSError):
        return f"user {os.stat(directory).st_uid}"
    return "its owner, or as root"
