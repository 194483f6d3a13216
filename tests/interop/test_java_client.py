"""RabbitMQ's Java client: InteropProgram.java does the talking. Maven fetches the library on first use into the folder that `fetched` names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "5.25.0"
SLF4J_VERSION = "1.7.36"
PROGRAM = Path(__file__).with_name("InteropProgram.java")
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>interop</groupId><artifactId>interop</artifactId><version>1</version><dependencies>
<dependency><groupId>com.rabbitmq</groupId><artifactId>amqp-client</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>{SLF4J_VERSION}</version></dependency>
</dependencies></project>"""

HEADERS = (
    "{bool=true, byte=-4, bytes=[1, 2], date=1700000000000, decimal=1.25, double=1.5, float=2.5, int=7, list=[1, two, {three=3}], long=1099511627776, short=3}"
)


@pytest.fixture(scope="module")
def said(amqp_url: str, fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said, by name."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and a JDK are not installed: the Java client is not tested")
    folder = fetched / f"amqp-client-{VERSION}"
    jars = folder / "jars"
    if not list(jars.glob("amqp-client-*.jar")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(POM)
        subprocess.run(["mvn", "-q", "-f", folder / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], check=True, timeout=400)
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, PROGRAM], check=True, timeout=120)
    # an empty path would be a virtual host of no name to this client
    run = subprocess.run(
        ["java", "-cp", f"{jars}/*{os.pathsep}{classes}", "InteropProgram", amqp_url.removesuffix("/")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines()) | {"errors": run.stderr}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("product", "true"),
        ("confirmed", "true"),
        ("counted", "1000"),
        ("inOrder", "true"),
        ("consumers", "1"),
        ("headers", HEADERS),
        ("properties", "c 5 1700000000000 t"),
        ("returned", "312 NO_ROUTE lost"),
        ("dead", "first maxlen 1"),
        ("refused", "[404, 406, 403, 404, 406]"),
        ("cancelled", "true"),
        ("rpc", "hello world"),
        ("transacted", "true [0, 1, 2, 3, 4, 5, 6, 7, 8] 0"),
        ("threads", "true"),
        ("wrongPassword", "refused"),
    ],
)
def test_java_client(said: dict[str, str], what: str, expected: str) -> None:
    assert what in said, said["errors"]
    assert said[what] == expected
