"""A real parent of fake workers: `run_fakes.py DIR COUNT LISTENER=HOST:PORT…`. It prints `ready …` as JSON and ends with the node's exit status."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from entrepot.model.errors import EntrepotError
from entrepot.parent.run import run
from entrepot.protocol_table import listeners
from entrepot.settings import Config, Limits
from entrepot.started import Started


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    data, count, *listen = sys.argv[1:]
    given = dict.fromkeys(listeners().kinds, "") | dict(one.split("=") for one in listen)
    config = Config(data=data, listen=given, limits=Limits(stop_grace_ms=60_000))
    control = os.environ.get("CONTROL_FD")

    def announce(started: Started) -> None:
        os.write(1, f"ready {json.dumps(started.as_json())}\n".encode())

    command = (sys.executable, "-S", str(Path(__file__).with_name("fake_worker.py")))
    try:
        return run(config, int(count), announce, control_fd=int(control) if control else None, command=command)
    except EntrepotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
