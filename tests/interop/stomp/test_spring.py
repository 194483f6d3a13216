"""Spring's STOMP client, of Java: SpringProgram.java does the talking. Maven fetches the libraries on first use into the folder that `fetched` names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stomp_client import new_name

VERSION, NETTY_VERSION, SLF4J_VERSION = "6.2.11", "1.2.10", "1.7.36"
PROGRAM = Path(__file__).with_name("SpringProgram.java")
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>interop</groupId><artifactId>interop</artifactId><version>1</version><dependencies>
<dependency><groupId>org.springframework</groupId><artifactId>spring-messaging</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.springframework</groupId><artifactId>spring-context</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>io.projectreactor.netty</groupId><artifactId>reactor-netty-http</artifactId><version>{NETTY_VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>{SLF4J_VERSION}</version></dependency>
</dependencies></project>"""


@pytest.fixture(scope="module")
def said(stomp_broker: Any, fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said, by name."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and a JDK are not installed: Spring's client is not tested")
    folder = fetched / f"spring-messaging-{VERSION}"
    jars = folder / "jars"
    if not list(jars.glob("spring-messaging-*.jar")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(POM)
        subprocess.run(["mvn", "-q", "-f", folder / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], check=True, timeout=400)
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, PROGRAM], check=True, timeout=120)
    host, port = stomp_broker.stomp_address
    command = ["java", "-cp", f"{jars}/*{os.pathsep}{classes}", "SpringProgram", host, str(port), stomp_broker.stomp_host, new_name()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines()) | {"errors": run.stderr}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("version", "1.2"),
        ("first", "h\u00e9llo green:blue"),
        ("again", "h\u00e9llo true"),
        ("inOrder", "true"),
        ("large", "true"),
        ("topic", "to all"),
        ("alive", "true"),
        ("password", "refused"),
        ("error", "invalid destination"),
    ],
)
def test_spring(said: dict[str, str], what: str, expected: str) -> None:
    assert what in said, said["errors"]
    assert said[what] == expected
