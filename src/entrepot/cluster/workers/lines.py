"""What a parent and its worker say to each other over their socket: one JSON object a line.

    parent    {"place": WorkerPlace, "config": …}    the first line, before anything else
              {"dead": [name, start]}                that start can never act again: waitpid has said so
              {"leave": reason}                      accept nobody any more, say goodbye to clients; links stay
              {"end": reason}                        store everything, and exit with 0
              {"look": true}                         say that you are here; not asked again before that is answered
              {"ask": command}                       a command of control.py, once the worker is ready; answers come in order
    worker    {"locked": true}                       its directory is its own: an earlier start of it is certainly dead
              {"ready": as Started.as_json() has it} clients are let in
              {"failed": why}                        it ends, in the words that a user is told, and its exit status says the rest
              {"left": true}                         no client is connected any more
              {"users": true | false}                whether the node has users of its own
              {"condemned": [name, start, why]}      that start speaks so that it must be ended
              {"here": true}                         its loop goes round
              {"answer": what control.py answers}

`start` is hexadecimal. A socket that closes is the other's end: a worker does not outlive its parent.
"""

from __future__ import annotations

import json
from typing import Any

from entrepot.model.errors import CorruptData

LINE_MAX_BYTES = 16 << 20  # a configuration with very many users


class Lines:
    """Octets as they come, to objects."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def fed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects that are whole now. Raises CorruptData."""
        self._rest += data
        *whole, rest = self._rest.split(b"\n") if b"\n" in data else (self._rest,)
        if len(rest) > LINE_MAX_BYTES:
            raise CorruptData(f"a line of more than {LINE_MAX_BYTES} bytes")
        self._rest = rest
        return [_decoded(bytes(line)) for line in whole]


def line(said: dict[str, Any]) -> bytes:
    """As it goes over the socket: in ASCII, so that paths go through whose octets are no UTF-8."""
    return json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n"


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"a line between parent and worker that cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise CorruptData(f"a line between parent and worker that cannot be read: {said!r:.100} is no object")
    return said
