"""Kafka's own jars: Maven fetches them on first use."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "4.3.1"
SLF4J_VERSION = "1.7.36"
TIMEOUT_S = 150
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>interop</groupId><artifactId>interop</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>{SLF4J_VERSION}</version></dependency>
</dependencies></project>"""
# Many short runs on few cores: what the optimizing compiler would gain, its threads would cost twice.
JAVA = ("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def jars_in(folder: Path) -> Path:
    """The folder of the jars of Kafka's client and tools; skips the test where there is no Maven or no JDK."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and a JDK are not installed: Kafka's Java client and tools are not tested")
    home = folder / f"kafka-tools-{VERSION}"
    jars = home / "jars"
    if not list(jars.glob("kafka-tools-*.jar")):
        home.mkdir(parents=True, exist_ok=True)
        (home / "pom.xml").write_text(POM)
        subprocess.run(["mvn", "-q", "-B", "-f", home / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], check=True, timeout=400)
    return jars


def run_java(jars: Path, *words: str, classes: Path | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
    """One run of a class; what it said."""
    path = f"{jars}/*{os.pathsep}{classes}" if classes else f"{jars}/*"
    return subprocess.run([*JAVA, "-cp", path, *words], input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
