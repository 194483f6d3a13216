"""What the process says about itself: one line per event on stderr, for people or as JSON. Set up once, by the command that runs.

Events tell of what strangers sent: names, addresses, texts of exceptions. This is the one place where such text is made harmless, in both formats: what
is not printable is escaped, and a line is cut at PRINTED_MAX characters (model/printable.py). Only a traceback has lines of its own; each of them begins
with TRACE, so that none looks like an event, and of more than TRACE_LINES_MAX those in the middle are left out.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from entrepot.model.printable import printable

TRACE = "    | "
TRACE_LINES_MAX = 200


class TextFormat(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING net: text`; of a worker `… WARNING w1 net: text`."""

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = worker and f"{worker} "

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if there is one."""
        line = f"{_time(record)} {record.levelname} {self._worker}{printable(record.name.removeprefix('entrepot.'))}: {printable(record.getMessage())}"
        if not record.exc_info:
            return line
        return "\n".join([line, *(TRACE + part for part in _trace(self.formatException(record.exc_info)))])


class JsonFormat(logging.Formatter):
    """One object a line: time, level, logger, text, and error if there is one; of a worker its name, too."""

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = {"worker": worker} if worker else {}

    def format(self, record: logging.LogRecord) -> str:
        """Never more than one line."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            **self._worker,
            "logger": printable(record.name),
            "text": printable(record.getMessage()),
        }
        if record.exc_info:
            fields["error"] = "\n".join(_trace(self.formatException(record.exc_info)))
        return json.dumps(fields, ensure_ascii=False)


def _trace(text: str) -> list[str]:
    lines = text.split("\n")
    left_out = len(lines) - TRACE_LINES_MAX
    if left_out > 0:
        half = TRACE_LINES_MAX // 2
        lines[half:-half] = [f"... ({left_out} more lines)"]
    return [printable(line) for line in lines]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(level: str, form: str, stream: TextIO | None = None, worker: str = "") -> None:
    """Send everything of `level` and above to `stream` (stderr) in `form`, text or json. `worker`: which of several processes says so."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormat(worker) if form == "json" else TextFormat(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
