"""Eclipse Mosquitto as a peer, as Debian installs it, with its persistence switched on and its queues without limits."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.system.brokers import Broker, free_port

_PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Mosquitto(Broker):
    """One process. It answers QoS 1 and 2 from memory, and writes its state down every 30 minutes and at its end."""

    name = "mosquitto"

    @staticmethod
    def installed() -> bool:
        return Path(_PROGRAM).exists()

    def _start(self) -> None:
        port = free_port()
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {data}/\n"
            "max_queued_messages 0\nmax_inflight_messages 0\nuser root\n"
        )
        said = subprocess.run([_PROGRAM, "-h"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"version (\S+)", said)
        self.version = found[1] if found else ""
        self._spawn([_PROGRAM, "-c", str(configuration)])
        self._wait_for_port(port)
        self.url = f"mqtt://127.0.0.1:{port}"
