"""SQS endpoints as peers, fetched on first use: ElasticMQ (by Maven), LocalStack and moto's server (by pip); all keep everything in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.system.brokers import Broker, free_port

ELASTICMQ_VERSION, MOTO_VERSION, LOCALSTACK_VERSION = "1.6.12", "5.2.5", "4.12.0"
_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>peers</groupId><artifactId>elasticmq</artifactId><version>1</version>
<packaging>pom</packaging><dependencies><dependency><groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId>
<version>{version}</version></dependency></dependencies></project>"""


def _folder(name: str) -> Path:
    """Where a peer is kept between runs: beside what the interop tests fetch."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests") / name


def _environment(name: str, *requirements: str) -> Path:
    """The Python of an environment with these requirements."""
    folder = _folder(name)
    python = folder / "venv" / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run([str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", *requirements], check=True, timeout=900)
        (folder / "ready").touch()
    return python


class ElasticMQ(Broker):
    """As it comes, its limits those of AWS, without its statistics page."""

    name = "elasticmq"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.version = ELASTICMQ_VERSION

    @staticmethod
    def can_run() -> bool:
        return bool(shutil.which("java") and (shutil.which("mvn") or list(_folder(f"elasticmq-{ELASTICMQ_VERSION}").glob("jars/elasticmq-server*.jar"))))

    def _start(self) -> None:
        folder = _folder(f"elasticmq-{ELASTICMQ_VERSION}")
        if not list(folder.glob("jars/elasticmq-server*.jar")):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "pom.xml").write_text(_POM.format(version=ELASTICMQ_VERSION))
            command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}"]
            subprocess.run(command, check=True, timeout=600)
        port = free_port()
        (self.directory / "elasticmq.conf").write_text(
            'include classpath("application.conf")\n'
            f'node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}\n'
            f'rest-sqs {{ enabled = true, bind-hostname = "127.0.0.1", bind-port = {port}, sqs-limits = strict }}\n'
            "rest-stats { enabled = false }\n"
        )
        configuration = f"-Dconfig.file={self.directory / 'elasticmq.conf'}"
        self._spawn(["java", "-Xms512M", "-Xmx2G", configuration, "-cp", f"{folder / 'jars'}/*", "org.elasticmq.server.Main"])
        self._wait_for_port(port)
        self.url = f"http://127.0.0.1:{port}"


class Moto(Broker):
    """moto's server."""

    name = "moto"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.version = MOTO_VERSION

    def _start(self) -> None:
        python = _environment(f"moto-{MOTO_VERSION}", f"moto[server]=={MOTO_VERSION}")
        port = free_port()
        self._spawn([str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
        self._wait_for_port(port)
        self.url = f"http://127.0.0.1:{port}"


class LocalStack(Broker):
    """The last of the community edition, without its container: SQS alone."""

    name = "localstack"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.version = LOCALSTACK_VERSION

    def _start(self) -> None:
        # What its base runtime needs, in versions that this one can be imported with.
        pins = ("moto-ext==5.1.18.post6", "cbor2<6", "pyopenssl==25.3.0", "service-identity<26")
        python = _environment(f"localstack-{LOCALSTACK_VERSION}", f"localstack-core[base-runtime]=={LOCALSTACK_VERSION}", *pins)
        port = free_port()
        settings = {
            "SERVICES": "sqs",
            "EAGER_SERVICE_LOADING": "1",
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "LOCALSTACK_HOST": f"127.0.0.1:{port}",
            "SQS_ENDPOINT_STRATEGY": "path",
            "OVERRIDE_IN_DOCKER": "0",
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "LS_LOG": "warn",
            "FILESYSTEM_ROOT": str(self.directory / "fs"),
            "TMPDIR": str(self.directory / "fs"),
        }
        (self.directory / "fs").mkdir(exist_ok=True)
        self._spawn([str(python), "-c", _LOOPBACK_ONLY], settings)
        self._wait_for_port(port)
        self.url = f"http://127.0.0.1:{port}"


# This version of it listens on every interface, whatever it was told.
_LOOPBACK_ONLY = """
import twisted.internet.endpoints as endpoints
class Loopback(endpoints.TCP4ServerEndpoint):
    def __init__(self, reactor, port, backlog=50, interface=""):
        super().__init__(reactor, port, backlog, "127.0.0.1")
endpoints.TCP4ServerEndpoint = Loopback
import runpy
runpy.run_module("localstack.runtime.main", run_name="__main__")
"""
