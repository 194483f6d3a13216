"""The Java SDK v2 over URLConnection: SqsProgram.java does the talking. Maven fetches its jars on first use."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sqs_endpoint import environment, new_name

VERSION = "2.31.78"
SLF4J_VERSION = "1.7.36"
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>interop</groupId><artifactId>interop</artifactId><version>1</version><dependencies>
<dependency><groupId>software.amazon.awssdk</groupId><artifactId>sqs</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>software.amazon.awssdk</groupId><artifactId>url-connection-client</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>{SLF4J_VERSION}</version></dependency>
</dependencies></project>"""
PROGRAM = Path(__file__).with_name("SqsProgram.java")


@pytest.fixture(scope="module")
def said(endpoint: str, fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said, by name."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and a JDK are not installed: the Java SDK is not tested")
    home = fetched / f"aws-sdk-java-{VERSION}"
    jars = home / "jars"
    if not list(jars.glob("sqs-*.jar")):
        home.mkdir(parents=True, exist_ok=True)
        (home / "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "-f", home / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        subprocess.run(command, check=True, timeout=400)
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, PROGRAM], check=True, timeout=120)
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*{os.pathsep}{classes}", "SqsProgram"]
    run = subprocess.run([*java, endpoint, new_name()], env=environment(endpoint), capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines())


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("found", "true"),
        ("tags", "{a=b}"),
        ("same", "true"),
        ("count", "1"),
        ("batch", "9 [3true]"),
        ("bodies", "[0, 1, 2, 4, 5, 6, 7, 8, 9]"),
        ("empty", "false"),
        ("waiting", "0"),
        ("large", "true"),
        ("pages", "1"),
        ("ascending", "true"),
        ("fifo", "[1, 2, 3]"),
        ("error", "400 AWS.SimpleQueueService.NonExistentQueue true"),
        ("handle", "ReceiptHandleIsInvalid"),
        ("again", "0"),
        ("dead", "x"),
        ("sources", "true"),
    ],
)
def test_java(said: dict[str, str], what: str, expected: str) -> None:
    assert said[what] == expected
