"""Eclipse Paho's and HiveMQ's Java clients: MqttProgram.java does the talking. Maven fetches them on first use into the folder that `fetched` names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PAHO_VERSION, HIVEMQ_VERSION, SLF4J_VERSION = "1.2.5", "1.3.5", "1.7.36"
ARTIFACTS = (
    ("org.eclipse.paho", "org.eclipse.paho.client.mqttv3", PAHO_VERSION),
    ("org.eclipse.paho", "org.eclipse.paho.mqttv5.client", PAHO_VERSION),
    ("com.hivemq", "hivemq-mqtt-client", HIVEMQ_VERSION),
    ("org.slf4j", "slf4j-nop", SLF4J_VERSION),
)
DEPENDENCIES = "".join(
    f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
    for group, artifact, version in ARTIFACTS
)
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>interop</groupId><artifactId>interop</artifactId><version>1</version>
<dependencies>{DEPENDENCIES}</dependencies></project>"""
PROGRAM = Path(__file__).with_name("MqttProgram.java")


@pytest.fixture(scope="module")
def said(address: tuple[str, int], fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said, by name."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("mvn and a JDK are not installed: the Java clients are not tested")
    home = fetched / f"mqtt-java-{PAHO_VERSION}-{HIVEMQ_VERSION}"
    jars = home / "jars"
    if not list(jars.glob("hivemq-mqtt-client-*.jar")):
        home.mkdir(parents=True, exist_ok=True)
        (home / "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "-f", home / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        subprocess.run(command, check=True, timeout=400)
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, PROGRAM], check=True, timeout=120)
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*{os.pathsep}{classes}", "MqttProgram"]
    run = subprocess.run([*java, address[0], str(address[1])], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines())


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("paho3.ordered", "true"),
        ("paho3.present", "true"),
        ("paho3.away", "[1:0, 1:2, 1:4, 2:1, 2:3]"),
        ("paho3.takenOver", "lost"),
        ("paho5.properties0", "0text/plain7backa1a2"),
        ("paho5.properties1", "1text/plain7backa1a2"),
        ("paho5.properties2", "2text/plain7backa1a2"),
        ("hive3.qos", "[0x, 1x, 2x]"),
        ("hive5.assigned", "true"),
        ("hive5.present", "false"),
        ("hive5.granted", "[GRANTED_QOS_2, GRANTED_QOS_1]"),
        ("hive5.properties", "text/plain7backa1b2true"),
        ("hive5.many", "40 0 39"),
        ("hive5.again", "true"),
        ("hive5.away", "[0, 1, 2]"),
    ],
)
def test_mqtt_java(said: dict[str, str], what: str, expected: str) -> None:
    assert said[what] == expected
