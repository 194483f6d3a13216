"""Apache ActiveMQ Artemis as a peer: its jars, which Maven fetches on first use, and one broker of them that syncs, as it does by default."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.system.brokers import Broker, free_port

VERSION = "2.44.0"
_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>peers</groupId><artifactId>artemis</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{wanted}<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency></dependencies></project>"""
_ARTIFACTS = ("artemis-server", "artemis-stomp-protocol")
# The time-out of the journal's buffer is what `artemis create` finds for a disk that syncs in a tenth of a millisecond: the built-in one is 3.3 ms.
_CONFIGURATION = """<configuration xmlns="urn:activemq"><core xmlns="urn:activemq:core">
<name>peer</name><persistence-enabled>true</persistence-enabled><security-enabled>false</security-enabled><journal-type>NIO</journal-type>
<journal-sync-transactional>true</journal-sync-transactional><journal-sync-non-transactional>true</journal-sync-non-transactional>
<journal-datasync>true</journal-datasync><journal-buffer-timeout>100000</journal-buffer-timeout><journal-file-size>10M</journal-file-size>
<journal-min-files>4</journal-min-files><journal-pool-files>10</journal-pool-files><max-disk-usage>98</max-disk-usage>
<critical-analyzer>false</critical-analyzer><jmx-management-enabled>false</jmx-management-enabled>
<paging-directory>{data}/paging</paging-directory><bindings-directory>{data}/bindings</bindings-directory>
<journal-directory>{data}/journal</journal-directory><large-messages-directory>{data}/large</large-messages-directory>
<acceptors><acceptor name="stomp">tcp://127.0.0.1:{port}?protocols=STOMP</acceptor></acceptors>
<address-settings><address-setting match="#"><default-address-routing-type>ANYCAST</default-address-routing-type>
<default-queue-routing-type>ANYCAST</default-queue-routing-type><max-size-bytes>-1</max-size-bytes></address-setting></address-settings>
</core></configuration>"""


def _jars() -> Path:
    """Where the jars are kept between runs: beside what the interop tests fetch."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests") / f"artemis-{VERSION}" / "jars"


class Artemis(Broker):
    """One process with 2 GiB of heap. A persistent SEND is answered after the sync of its journal."""

    name = "artemis"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.version = VERSION

    @staticmethod
    def can_run() -> bool:
        return bool(shutil.which("java") and (shutil.which("mvn") or list(_jars().glob("artemis-server-*.jar"))))

    def _start(self) -> None:
        jars = _jars()
        if not list(jars.glob("artemis-server-*.jar")):
            jars.parent.mkdir(parents=True, exist_ok=True)
            group = "org.apache.activemq"
            wanted = "".join(
                f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{VERSION}</version></dependency>" for name in _ARTIFACTS
            )
            (jars.parent / "pom.xml").write_text(_POM.format(wanted=wanted))
            command = ["mvn", "-q", "-B", "-f", str(jars.parent / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
            subprocess.run(command, check=True, timeout=600)
        port = free_port()
        etc = self.directory / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "broker.xml").write_text(_CONFIGURATION.format(data=self.directory / "data", port=port))
        java = ["java", "-Xms2G", "-Xmx2G", "-XX:+UseParallelGC", "-cp", f"{jars}/*"]
        self._spawn([*java, "org.apache.activemq.artemis.core.server.embedded.Main", str(self.directory)])
        self._wait_for_port(port)
        self.url = f"stomp://127.0.0.1:{port}"
