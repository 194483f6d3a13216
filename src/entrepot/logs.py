"""What the process says about itself: one line per event on stderr, for people or as JSON. Set up once, by the command that runs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class TextFormat(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING net: text`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if there is one."""
        line = f"{_time(record)} {record.levelname} {record.name.removeprefix('entrepot.')}: {record.getMessage()}"
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


class JsonFormat(logging.Formatter):
    """One object a line: time, level, logger, text, and error if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Never more than one line."""
        fields = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name, "text": record.getMessage()}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send everything of `level` and above to `stream` (stderr) in `form`, text or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormat() if form == "json" else TextFormat())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
