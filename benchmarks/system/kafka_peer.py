"""Apache Kafka as a peer: its jars, which Maven fetches on first use, and one KRaft node of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.system.brokers import Broker, free_port

VERSION = "4.3.1"
_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j2-impl", "2.24.3"),
)
_CLUSTER = "AAAAAAAAQACAAAAAAAAAAA"


def jars_folder() -> Path:
    """Where the jars are kept between runs: beside what the interop tests fetch."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests") / f"kafka-{VERSION}" / "jars"


def can_run() -> bool:
    """Whether there is a Java, and the jars or what fetches them."""
    return bool(shutil.which("java")) and bool(shutil.which("mvn") or list(jars_folder().glob("kafka_2.13-*.jar")))


def fetch() -> Path:
    """The folder of the jars; fetched if it is empty."""
    folder = jars_folder()
    if not list(folder.glob("kafka_2.13-*.jar")):
        folder.parent.mkdir(parents=True, exist_ok=True)
        wanted = "".join(f"<dependency><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version></dependency>" for g, a, v in _ARTIFACTS)
        head = "<project><modelVersion>4.0.0</modelVersion><groupId>peers</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>"
        (folder.parent / "pom.xml").write_text(f"{head}<dependencies>{wanted}</dependencies></project>")
        command = ["mvn", "-q", "-B", "-f", str(folder.parent / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        subprocess.run(command, check=True, timeout=600)
    return folder


class Kafka(Broker):
    """One node, broker and controller, as installed but for its size: no authentication, one replica, no sync before the answer."""

    name = "kafka"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.version = VERSION

    def _start(self) -> None:
        jars = fetch()
        port, controller_port = free_port(), free_port()
        properties = self.directory / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller_port}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n"
            "controller.listener.names=CONTROLLER\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n"
            f"log.dirs={self.directory / 'data'}\nnum.partitions=4\n"
            "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n"
        )
        java = ["java", "-cp", f"{jars}/*"]
        if not (self.directory / "data" / "meta.properties").exists():
            subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)], check=True, capture_output=True, timeout=120)
        self._spawn(["java", "-Xms2G", "-Xmx2G", "-XX:+UseG1GC", *java[1:], "kafka.Kafka", str(properties)])
        self._wait_for_port(port)
        self.url = f"kafka://127.0.0.1:{port}"
