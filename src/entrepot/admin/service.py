"""The administration over HTTP: a POST of a request's JSON to its name.

    POST /queues {"namespace": null, "prefix": ""}   -> 200 {"queues": [ROW, ...]}     a list, in parts of STEPS_PER_TURN steps, one in a turn of the loop
    POST /users/delete {"name": "ann"}               -> 200 {"id": "", "secret": ""}   a change, once it is durable, and everybody has applied it
    GET /metrics, GET /v1/status                     -> 200   figures of the process (status.py)
    what is refused                                  -> 4xx {"error": TEXT, "reason": NAME}
    what cannot be done now, and was not             -> 503 {"error": TEXT, "reason": "UNAVAILABLE"}
    what may have been done                          -> 503 {"error": TEXT, "reason": "UNKNOWN"}

Whoever reaches it may do everything: it is for a socket that only the broker's owner can connect to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from entrepot.admin.changes import Changes
from entrepot.admin.figures import Waiting
from entrepot.admin.lists import Lists, Steps
from entrepot.admin.requests import CHANGES, LISTS, UNAVAILABLE, UNKNOWN, ChangeRequest, Made, Row
from entrepot.http.session import Later, Pause, Request, Response
from entrepot.model.errors import CorruptData, NotDone, Reason, Refused, Unavailable

if TYPE_CHECKING:
    from entrepot.admin.status import Readings
    from entrepot.broker.users.users import Verifiers
    from entrepot.net.network import Network
    from entrepot.node import Node

log = logging.getLogger("entrepot.admin")

STEPS_PER_TURN = 128  # less than a millisecond's work
JSON = "application/json"
STATUSES = {Reason.NOT_FOUND: 404, Reason.NOT_PERMITTED: 403, Reason.INVALID: 400, Reason.EXISTS_DIFFERENT: 409, Reason.IN_USE: 409, Reason.NOT_EMPTY: 409}
STATUS_OTHERS = 422


class Service:
    """An http.session.Handler over one running node. `got`: what is got by a path, besides."""

    def __init__(self, node: Node, network: Network, loop: asyncio.AbstractEventLoop, got: Readings | None = None) -> None:
        self._lists = Lists(node, network)
        self._changes = Changes(node, network)
        self._got = got or {}
        self._loop = loop
        self._working: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> Response | Later:
        """Never raises for what was asked."""
        if request.path in self._got:
            return (
                self._got[request.path]() if request.method in ("GET", "HEAD") else Response(405, _error_body("GET", "INVALID"), JSON, {"allow": "GET, HEAD"})
            )
        name = request.path[1:]
        if name not in LISTS and name not in CHANGES:
            return _error(404, f"there is no {request.path!r}; there are {', '.join(['', *LISTS, *CHANGES])[2:]}", "NOT_FOUND")
        if request.method != "POST":
            return Response(405, _error_body("POST", "INVALID"), JSON, {"allow": "POST"})
        try:
            if name in LISTS:
                asked = msgspec.json.decode(request.body or b"{}", type=LISTS[name][0])
                return Response(200, _parts(name, self._lists.steps(asked)), JSON)
            return self._change(msgspec.json.decode(request.body or b"{}", type=CHANGES[name]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _error(400, f"{name}: {error}", "INVALID")
        except Refused as refused:
            return _not_done(refused)
        except CorruptData as error:  # the key that secrets are sealed with
            return _error(500, str(error), "CORRUPT")

    def _change(self, request: ChangeRequest) -> Later:
        later = Later()
        work = self._changes.password_work(request)
        if work is None:
            self._perform(request, None, later)
        else:
            task = self._loop.create_task(self._derive(request, self._loop.run_in_executor(None, work), later))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return later

    async def _derive(self, request: ChangeRequest, work: asyncio.Future[Verifiers], later: Later) -> None:
        """A password's derivation is milliseconds that the loop has not."""
        try:
            verifiers = await work
        except Refused as refused:
            later.give(_not_done(refused))
            return
        self._perform(request, verifiers, later)

    def _perform(self, request: ChangeRequest, verifiers: Verifiers | None, later: Later) -> None:
        try:
            self._changes.perform(request, verifiers, partial(self._done, request, later))
        except NotDone as error:
            later.give(_not_done(error))
        except CorruptData as error:
            later.give(_error(500, str(error), "CORRUPT"))

    @staticmethod
    def _done(request: ChangeRequest, later: Later, error: NotDone | None, made: Made) -> None:
        if error is None:
            log.info("%s", _told(request))
        later.give(_made(made) if error is None else _not_done(error))


def _parts(name: str, steps: Steps) -> Iterator[bytes | Pause]:
    """A list's JSON, a line a row."""
    yield b'{"%s":[' % name.encode()
    separator = b"\n"
    while taken := _taken(steps):
        rows = [msgspec.json.encode(row) for row in taken if row is not None and not isinstance(row, Waiting)]
        waits = taken[-1] if isinstance(taken[-1], Waiting) else None
        if rows or waits is None:
            yield separator + b",\n".join(rows) if rows else b"\n"  # of nothing at all nobody would hear that it was sent
        separator = b",\n" if rows else separator
        if waits is not None and waits.count:
            pause = Pause()
            waits.then = pause.end
            yield pause
    yield b"\n]}\n"


def _taken(steps: Steps) -> list[Row | Waiting | None]:
    """The next steps of a turn, up to one that waits."""
    taken: list[Row | Waiting | None] = []
    for step in islice(steps, STEPS_PER_TURN):
        taken.append(step)
        if isinstance(step, Waiting):
            break
    return taken


def _told(request: ChangeRequest) -> str:
    """A change, for the log: by its name, with what it was given but for the password."""
    name = next(name for name, kind in CHANGES.items() if kind is type(request))
    given = (f"{key} {value!r}" for key, value in msgspec.structs.asdict(request).items() if key != "password")
    return f"administration: {name}: {', '.join(given)}"


def _made(made: Made) -> Response:
    return Response(200, msgspec.json.encode(made), JSON)


def _not_done(error: NotDone) -> Response:
    if isinstance(error, Refused):
        return _error(STATUSES.get(error.reason, STATUS_OTHERS), str(error), error.reason.name)
    return _error(503, str(error), UNAVAILABLE if isinstance(error, Unavailable) else UNKNOWN)


def _error(status: int, text: str, reason: str) -> Response:
    return Response(status, _error_body(text, reason), JSON)


def _error_body(text: str, reason: str) -> bytes:
    return msgspec.json.encode({"error": text.encode("utf-8", "backslashreplace").decode(), "reason": reason})
