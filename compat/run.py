"""Other people's test suites against a broker: fetched on demand, pinned, compared with lists of what passes.

    python compat/run.py                                 every suite against an Entrepot started for it
    python compat/run.py --url amqp://guest:guest@HOST:PORT/ kombu    one suite against any broker
    python compat/run.py --url kafka://HOST:PORT kafka-python
    python compat/run.py --url http://HOST:PORT moto
    python compat/run.py --url mqtt://HOST:PORT?mqtt-ws=PORT paho-testing mqtt5-conformance
    python compat/run.py --url stomp://USER:PASSWORD@HOST:PORT stomp-py
    python compat/run.py --record                        add what passes now to <client>/passes.txt
    python compat/run.py --record-reference --url …      write <client>/rabbitmq.txt, or what the reference is called: run this against RabbitMQ, Kafka, moto's
                                                         server, Mosquitto or ActiveMQ

`<client>/rabbitmq.txt` (`kafka.txt`, `moto.txt`, `mosquitto.txt`, `activemq.txt`) names the tests that pass on RabbitMQ (on the other),
`<client>/passes.txt` those that pass on Entrepot: a list that only grows. The exit status is 1 if a test of passes.txt fails, or if less than 90 % of a
reference list pass.
Nothing of the suites is kept in this repository; they lie under ENTREPOT_TEST_CACHE, else the user's cache folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "entrepot-tests") / "compat"
WANTED_RATIO = 0.9
SUITE_TIMEOUT_S = 900
LISTENERS = {"rabbitmq": "amqp", "kafka": "kafka", "moto": "sqs", "mosquitto": "mqtt", "activemq": "stomp"}  # by reference, what its suite speaks
NAMES = {"rabbitmq": "RabbitMQ", "kafka": "Kafka", "moto": "moto's server", "mosquitto": "Mosquitto", "activemq": "ActiveMQ"}
KAFKA_VERSION = "4.3.1"
FRANZ_GO = "1.20.0"
FRANZ_GO_LEFT_OUT = "Txn|Record(Reader|Formatter)|Parse|Compress|Ring|xerial|ProcessHooks|AppendTo|sticky|MaxVersions|NewConsumerBalancer"
MOCHA = "9.2.2"
MOTO = "5.2.3"
MOTO_GIT = os.environ.get("ENTREPOT_MOTO_GIT", "https://github.com/getmoto/moto.git")  # its source distribution leaves the tests out
MOTO_TESTS = ("test_sqs", "test_server", "test_sqs_message_attributes", "test_sqs_multiaccount")
PAHO_TESTING = "9d7bb80bb8b9d9cfc0b52f8cb4c1916401281103"  # it has no releases
PAHO_TESTING_GIT = os.environ.get("ENTREPOT_PAHO_TESTING_GIT", "https://github.com/eclipse/paho.mqtt.testing.git")
MQTT5_CONFORMANCE = "fcdebe0eb6fae7fdd3829eaae99911f81fe5fa36"  # nor has this, of its own
MQTT5_CONFORMANCE_AGAIN = 3
MQTT5_CONFORMANCE_GIT = os.environ.get("ENTREPOT_MQTT5_CONFORMANCE_GIT", "https://github.com/LabOverWire/mqtt-lib.git")
STOMP_PY, STOMP_PY_TAG = "8.2.0", "v8.1.2"  # the last tag there is
STOMP_PY_GIT = os.environ.get("ENTREPOT_STOMP_PY_GIT", "https://github.com/jasonrbriggs/stomp.py.git")  # its source distribution leaves the tests out
STOMP_PY_TESTS = ("activemq", "basic", "cli", "context", "misc", "nonascii", "override_threading", "s10", "s11", "s12", "ss", "threading")
PYTEST = ("pytest==8.3.5", "pytest-rerunfailures==15.0", "pytest-timeout==2.3.1")


@dataclass(frozen=True)
class Suite:
    """One client's suite: `run(folder, url)` gives the names of the tests that passed and of those that did not."""

    name: str
    version: str
    run: Callable[[Path, str], tuple[set[str], set[str]]]
    reference: str = "rabbitmq"  # the broker that the client is made for
    settings: dict[str, object] = field(default_factory=dict)  # of the Entrepot that is started for it
    ports: dict[str, int] = field(default_factory=dict)  # that it expects; a free one where they are taken
    beside: tuple[str, ...] = ()  # further listeners, whose ports are in the URL's query

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{self.version}"

    def listed(self, file: str) -> set[str]:
        path = HERE / self.name / file
        return {line for line in path.read_text().splitlines() if line} if path.exists() else set()

    def write(self, file: str, names: set[str]) -> None:
        (HERE / self.name).mkdir(exist_ok=True)
        (HERE / self.name / file).write_text("".join(f"{name}\n" for name in sorted(names)))


def amqplib(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """The Node client's tests that talk to a broker, with mocha. The last version that packs its tests."""
    package = folder / "node_modules" / "amqplib"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", f"amqplib@{AMQPLIB.version}", f"mocha@{MOCHA}"]
        subprocess.run(command, check=True)
    passed, failed = set(), set()
    with tempfile.TemporaryDirectory() as scratch:
        for file in ("connect.js", "channel_api.js", "callback_api.js"):
            report = Path(scratch) / f"{file}.json"
            mocha = [str(folder / "node_modules" / ".bin" / "mocha"), "-u", "tdd", "--exit", "--timeout", "10000"]
            command = [*mocha, "--reporter", "json", "--reporter-option", f"output={report}", f"test/{file}"]
            subprocess.run(command, cwd=package, env=os.environ | {"URL": url}, timeout=SUITE_TIMEOUT_S, check=False, stdout=subprocess.DEVNULL)
            results = json.loads(report.read_text())
            passed |= {f"{file}: {test['fullTitle']}" for test in results["passes"]}
            failed |= {f"{file}: {test['fullTitle']}" for test in results["failures"]}
    return passed - failed, failed


def sdist(folder: Path, requirement: str, *more: str) -> tuple[Path, Path]:
    """(unpacked source of a PyPI project, the Python of an environment in which it is installed)."""
    python = folder / "venv" / "bin" / "python"
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "setuptools>=77", "wheel", requirement, *more, *PYTEST], check=True)
        subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", folder / "sdist", requirement], check=True)
        (archive,) = (folder / "sdist").iterdir()
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        next((folder / "unpacked").iterdir()).rename(source)
    return source, python


def junit(report: Path) -> tuple[set[str], set[str]]:
    """The names of the tests of pytest's report that passed, and of those that failed."""
    passed, failed = set(), set()
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("skipped") is None:
            (passed if case.find("failure") is None and case.find("error") is None else failed).add(name)
    return passed - failed, failed


def run_pytest(python: Path, source: Path, environment: dict[str, str], *words: str) -> tuple[set[str], set[str]]:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=60", "--reruns=0", f"--junitxml={report}", *words]
        subprocess.run(command, cwd=source, env=os.environ | environment, timeout=SUITE_TIMEOUT_S, check=False, stdout=subprocess.DEVNULL)
        return junit(report)


def commit_of(folder: Path, git: str, commit: str) -> Path:
    """A project's files as they were at a commit."""
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        repository = folder / "git"
        subprocess.run(["git", "init", "-q", "--bare", repository], check=True)
        subprocess.run(["git", "-C", repository, "fetch", "-q", "--depth=1", git, commit], check=True)
        archive = subprocess.run(["git", "-C", repository, "archive", commit], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        (folder / "unpacked").rename(source)
    return source


def checkout(folder: Path, git: str, tag: str, paths: tuple[str, ...], *requirements: str) -> tuple[Path, Path]:
    """(some files of a project's tagged commit, the Python of an environment with these requirements)."""
    python = folder / "venv" / "bin" / "python"
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", *requirements, *PYTEST], check=True)
        repository = Path(git)
        if not repository.is_dir():
            repository = folder / "git"
            clone = ["git", "clone", "-q", "--bare", "--depth=1", "--filter=blob:none", f"--branch={tag}", git]
            subprocess.run([*clone, str(repository)], check=True)
        archive = subprocess.run(["git", "-C", repository, "archive", tag, *paths], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        (folder / "unpacked").rename(source)
    return source, python


def pytest_suite(requirement: str, tests: str, *selection: str) -> Callable[[Path, str], tuple[set[str], set[str]]]:
    """A suite under pytest that finds its broker by RABBITMQ_HOST and RABBITMQ_5672_TCP."""

    def run(folder: Path, url: str) -> tuple[set[str], set[str]]:
        source, python = sdist(folder, requirement)
        parts = urlsplit(url)
        environment = {"RABBITMQ_HOST": parts.hostname or "127.0.0.1", "RABBITMQ_5672_TCP": str(parts.port or 5672)}
        return run_pytest(python, source, environment, tests, *selection)

    return run


# What starts brokers is left out, too: with a broker that runs it is only named.
KAFKA_PYTHON_SERVICES = """
class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def stop(self):
        pass


class SpawnedService:
    pass
"""


def kafka_python(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """kafka-python's integration tests, which take a running broker by KAFKA_URI; those of SASL and TLS then skip themselves."""
    source, python = sdist(folder, "kafka-python[lz4,snappy,zstd]==3.0.12", "pytest-mock==3.14.0")
    (source / "test" / "__init__.py").touch()  # the source distribution leaves it out; Python's own package `test` would win
    (source / "test" / "service.py").write_text(KAFKA_PYTHON_SERVICES)
    environment = {"KAFKA_URI": url, "KAFKA_VERSION": KAFKA_VERSION, "KAFKA_ROOT": str(folder)}  # any folder that is there
    return run_pytest(python, source, environment, "test/integration", "-W", "ignore")


def go_tests(folder: Path, module: str, packages: tuple[str, ...], environment: dict[str, str], *words: str) -> tuple[set[str], set[str]]:
    """The tests of packages of a Go module, tests within tests too. The module comes from the Go proxy, with its tests, as every Go module does."""
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "go.mod").write_text("module fetch\n\ngo 1.24\n")
        told = subprocess.run(["go", "mod", "download", "-json", module], cwd=folder, check=True, capture_output=True, text=True).stdout
        shutil.copytree(json.loads(told)["Dir"], folder / "unpacked")
        subprocess.run(["chmod", "-R", "u+w", folder / "unpacked"], check=True)
        (folder / "unpacked").rename(source)
    passed, failed = set(), set()
    for package in packages:
        command = ["go", "test", "-json", "-count=1", f"-timeout={SUITE_TIMEOUT_S}s", *words, "."]
        run = subprocess.run(command, cwd=source / package, env=os.environ | environment, check=False, capture_output=True, text=True)
        for line in run.stdout.splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if "Test" in event and event["Action"] in ("pass", "fail"):
                (passed if event["Action"] == "pass" else failed).add(f"{package}: {event['Test']}")
    return passed - failed, failed


def franz_go(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """franz-go's client tests, which take a running broker by KGO_SEEDS."""
    environment = {"KGO_SEEDS": urlsplit(url).netloc, "KGO_TEST_RECORDS": "20000", "KGO_TEST_RF": "1"}
    return go_tests(folder, f"github.com/twmb/franz-go@v{FRANZ_GO}", ("pkg/kgo",), environment, "-skip", FRANZ_GO_LEFT_OUT)


def moto(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """moto's tests of SQS, from outside: moto/outside.py turns its mock into an endpoint."""
    source, python = checkout(
        folder,
        MOTO_GIT,
        MOTO,
        ("tests/__init__.py", "tests/conftest.py", "tests/markers.py", "tests/test_sqs", "setup.cfg"),
        f"moto[server]=={MOTO}",
        "freezegun",
    )
    environment = {"MOTO_OUTSIDE": url, "PYTHONPATH": str(HERE / "moto")}
    return run_pytest(python, source, environment, *(f"tests/test_sqs/{name}.py" for name in MOTO_TESTS), "-p", "outside", "-W", "ignore")


def paho_testing(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """Eclipse Paho's tests of servers, in MQTT 3.1.1 and 5: paho-testing/outside.py runs them one by one."""
    source = commit_of(folder, PAHO_TESTING_GIT, PAHO_TESTING)
    parts = urlsplit(url)
    command = [sys.executable, str(HERE / "paho-testing" / "outside.py"), str(source / "interoperability"), str(parts.hostname), str(parts.port)]
    run = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SUITE_TIMEOUT_S)
    said = [line.split(" ", 1) for line in run.stdout.splitlines()]
    return {name for outcome, name in said if outcome == "passed"}, {name for outcome, name in said if outcome == "failed"}


def mqtt5_conformance(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """A test for each of many statements of MQTT 5, with raw packets where it takes them. Built by cargo, for some minutes, on first use.

    What fails is asked again, alone: the suite's client drops a PUBCOMP that comes before it looks for it (mqtt5-conformance/FINDINGS.md).
    """
    source, parts = commit_of(folder, MQTT5_CONFORMANCE_GIT, MQTT5_CONFORMANCE), urlsplit(url)
    program = source / "target" / "conformance" / "mqtt5-conformance"
    if not program.exists():
        subprocess.run(["cargo", "build", "-q", "--profile", "conformance", "-p", "mqtt5-conformance-cli"], cwd=source, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        subject = Path(scratch) / "subject.toml"
        where = [f'name = "subject"\naddress = "mqtt://{parts.netloc}"']
        over = ["[capabilities.transports]\ntcp = true"]
        for port in parse_qs(parts.query).get("mqtt-ws", ()):
            where.append(f'ws_address = "ws://{parts.hostname}:{port}/mqtt"')
            over.append("websocket = true")
        subject.write_text("\n".join([*where, *over, ""]))
        passed, failed = mqtt5_conformance_outcomes(program, subject)
        for test in sorted(failed):
            for _ in range(MQTT5_CONFORMANCE_AGAIN):
                if test not in passed:
                    passed |= mqtt5_conformance_outcomes(program, subject, f"{test} [")[0]
    return passed, failed - passed


def mqtt5_conformance_outcomes(program: Path, subject: Path, *only: str) -> tuple[set[str], set[str]]:
    """(those that passed, those that did not) of the tests whose names `only` is a part of; else of all."""
    command = [str(program), "--sut", str(subject), "--color", "never", *only]
    run = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SUITE_TIMEOUT_S)
    found = re.findall(r"^test mqtt5_conformance::conformance_tests::(\S+) .*\.\.\. (ok|FAILED)$", run.stdout, re.MULTILINE)
    return {name for name, outcome in found if outcome == "ok"}, {name for name, outcome in found if outcome == "FAILED"}


def stomp_py(folder: Path, url: str) -> tuple[set[str], set[str]]:
    """stomp.py's tests, which find their broker by STD_HOST and its kin; those of TLS, and of brokers of other addresses, are left out."""
    source, python = checkout(folder, STOMP_PY_GIT, STOMP_PY_TAG, ("tests",), f"stomp.py=={STOMP_PY}", "pytest-mock==3.14.0")
    parts = urlsplit(url)
    environment = {"STD_HOST": parts.hostname or "", "STD_PORT": str(parts.port), "STD_USER": parts.username or "", "STD_PASSWORD": parts.password or ""}
    return run_pytest(python, source, environment, *(f"tests/test_{name}.py" for name in STOMP_PY_TESTS), "-W", "ignore")


AMQPLIB = Suite("amqplib", "0.10.9", amqplib)
SUITES = {
    suite.name: suite
    for suite in (
        AMQPLIB,
        Suite("py-amqp", "5.4.2", pytest_suite("amqp==5.4.2", "t/integration/test_rmq.py", "-k", "not tls")),
        Suite("kombu", "5.7.0", pytest_suite("kombu==5.7.0", "t/integration/test_py_amqp.py")),
        Suite("kafka-python", "3.0.12", kafka_python, "kafka", {"kafka.node_id": 0}),  # its own broker has that number, and one test assigns partitions to it
        Suite("franz-go", FRANZ_GO, franz_go, "kafka"),
        Suite("paho-testing", PAHO_TESTING[:9], paho_testing, "mosquitto", {"mqtt.keep_alive_max_s": 60}),  # one test expects that
        Suite("mqtt5-conformance", MQTT5_CONFORMANCE[:9], mqtt5_conformance, "mosquitto", beside=("mqtt-ws",)),
        Suite("stomp-py", STOMP_PY, stomp_py, "activemq", ports={"stomp": 61613}),
        Suite("moto", MOTO, moto, "moto", {"sqs.account": "123456789012"}, {"sqs": 5000}),
    )
}


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@contextlib.contextmanager
def broker(suite: Suite, url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    from entrepot.testing import Broker

    listener = LISTENERS[suite.reference]
    ports = {name: port for name, port in suite.ports.items() if is_free(port)}
    with Broker(listeners=(listener, *suite.beside, "http"), settings=suite.settings, ports=ports) as running:
        forms = {
            "amqp": "amqp://guest:guest@127.0.0.1:{}/%2F",
            "kafka": "kafka://127.0.0.1:{}",
            "sqs": "http://localhost:{}",
            "mqtt": "mqtt://127.0.0.1:{}",
            "stomp": "stomp://guest:guest@127.0.0.1:{}",
        }
        query = "&".join(f"{name}={running.port(name)}" for name in suite.beside)
        yield forms[listener].format(running.port(listener)) + (f"?{query}" if query else "")


def report(suite: Suite, passed: set[str], failed: set[str]) -> bool:
    """Print how the suite went against its lists; whether that is good enough."""
    reference, kept = suite.listed(f"{suite.reference}.txt"), suite.listed("passes.txt")
    both = passed & reference
    ratio = len(both) / len(reference) if reference else 0.0
    lost = sorted(kept - passed)
    model = NAMES[suite.reference]
    print(f"{suite.name} {suite.version}: {len(passed)} passed, {len(failed)} failed; of {len(reference)} that pass on {model} {len(both)} pass: {ratio:.1%}")
    for name in sorted((reference | kept) - passed):
        print(f"  {'LOST' if name in kept else 'fails'}: {name}")
    return ratio >= WANTED_RATIO and not lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="see the head of this file")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; all unless named")
    parser.add_argument("--url", help="a broker that runs; without it an Entrepot is started")
    parser.add_argument("--record", action="store_true", help="add what passes to passes.txt")
    parser.add_argument("--record-reference", action="store_true", help="write rabbitmq.txt, or what the reference is called, from this run")
    arguments = parser.parse_args()
    good = True
    for name in arguments.suites or SUITES:
        suite = SUITES[name]
        with broker(suite, arguments.url) as url:
            passed, failed = suite.run(suite.folder, url)
        if arguments.record_reference:
            suite.write(f"{suite.reference}.txt", passed)
        if arguments.record:
            suite.write("passes.txt", suite.listed("passes.txt") | passed)
        good &= report(suite, passed, failed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
