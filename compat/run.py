"""Other people's test suites against a broker: fetched on demand, pinned, compared with lists of what passes.

    python compat/run.py                                 every suite against an Entrepot started for it
    python compat/run.py --url amqp://guest:guest@HOST:PORT/ kombu    one suite against any broker
    python compat/run.py --record                        add what passes now to <client>/passes.txt
    python compat/run.py --record-reference --url …      write <client>/rabbitmq.txt: run this against RabbitMQ

`<client>/rabbitmq.txt` names the tests that pass on RabbitMQ, `<client>/passes.txt` those that pass on Entrepot: a list that only grows. The exit status is 1
if a test of passes.txt fails, or if less than 90 % of a reference list pass. Nothing of the suites is kept in this repository; they lie under
ENTREPOT_TEST_CACHE, else the user's cache folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "entrepot-tests") / "compat"
WANTED_RATIO = 0.9
SUITE_TIMEOUT_S = 600
MOCHA = "9.2.2"
PYTEST = ("pytest==8.3.5", "pytest-rerunfailures==15.0", "pytest-timeout==2.3.1")


@dataclass(frozen=True)
class Suite:
    """One client's suite: `run(folder, url)` gives the names of the tests that passed and of those that did not."""

    name: str
    version: str
    run: Callable[[Path, str], tuple[set[str], set[str]]]

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{self.version}"

    def listed(self, file: str) -> set[str]:
        path = HERE / self.name / file
        return {line for line in path.read_text().splitlines() if line} if path.exists() else set()

    def write(self, file: str, names: set[str]) -> None:
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


def sdist(folder: Path, requirement: str) -> tuple[Path, Path]:
    """(unpacked source of a PyPI project, the Python of an environment in which it is installed)."""
    python = folder / "venv" / "bin" / "python"
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "setuptools", "wheel", requirement, *PYTEST], check=True)
        subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", folder / "sdist", requirement], check=True)
        (archive,) = (folder / "sdist").iterdir()
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        next((folder / "unpacked").iterdir()).rename(source)
    return source, python


def pytest_suite(requirement: str, tests: str, *selection: str) -> Callable[[Path, str], tuple[set[str], set[str]]]:
    """A suite under pytest that finds its broker by RABBITMQ_HOST and RABBITMQ_5672_TCP."""

    def run(folder: Path, url: str) -> tuple[set[str], set[str]]:
        source, python = sdist(folder, requirement)
        parts = urlsplit(url)
        environment = os.environ | {"RABBITMQ_HOST": parts.hostname or "127.0.0.1", "RABBITMQ_5672_TCP": str(parts.port or 5672)}
        passed, failed = set(), set()
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.xml"
            command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=60", "--reruns=0", f"--junitxml={report}", tests, *selection]
            subprocess.run(command, cwd=source, env=environment, timeout=SUITE_TIMEOUT_S, check=False, stdout=subprocess.DEVNULL)
            for case in ET.parse(report).iter("testcase"):
                name = f"{case.get('classname')}::{case.get('name')}"
                if case.find("skipped") is None:
                    (passed if case.find("failure") is None and case.find("error") is None else failed).add(name)
        return passed, failed

    return run


AMQPLIB = Suite("amqplib", "0.10.9", amqplib)
SUITES = {
    suite.name: suite
    for suite in (
        AMQPLIB,
        Suite("py-amqp", "5.4.2", pytest_suite("amqp==5.4.2", "t/integration/test_rmq.py", "-k", "not tls")),
        Suite("kombu", "5.7.0", pytest_suite("kombu==5.7.0", "t/integration/test_py_amqp.py")),
    )
}


@contextlib.contextmanager
def broker(url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    from entrepot.testing import Broker

    with Broker() as running:
        yield running.amqp_url


def report(suite: Suite, passed: set[str], failed: set[str]) -> bool:
    """Print how the suite went against its lists; whether that is good enough."""
    reference, kept = suite.listed("rabbitmq.txt"), suite.listed("passes.txt")
    both = passed & reference
    ratio = len(both) / len(reference) if reference else 0.0
    lost = sorted(kept - passed)
    print(f"{suite.name} {suite.version}: {len(passed)} passed, {len(failed)} failed; of {len(reference)} that pass on RabbitMQ {len(both)} pass: {ratio:.1%}")
    for name in sorted((reference | kept) - passed):
        print(f"  {'LOST' if name in kept else 'fails'}: {name}")
    return ratio >= WANTED_RATIO and not lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="see the head of this file")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; all unless named")
    parser.add_argument("--url", help="a broker that runs; without it an Entrepot is started")
    parser.add_argument("--record", action="store_true", help="add what passes to passes.txt")
    parser.add_argument("--record-reference", action="store_true", help="write rabbitmq.txt from this run")
    arguments = parser.parse_args()
    good = True
    for name in arguments.suites or SUITES:
        suite = SUITES[name]
        with broker(arguments.url) as url:
            passed, failed = suite.run(suite.folder, url)
        if arguments.record_reference:
            suite.write("rabbitmq.txt", passed)
        if arguments.record:
            suite.write("passes.txt", suite.listed("passes.txt") | passed)
        good &= report(suite, passed, failed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
