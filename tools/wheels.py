"""Builds dist/*.whl: one compiled for each CPython at hand, and one pure; tries each in a bare environment without a C compiler.

    python tools/wheels.py [3.11] [3.12] [pure]     without arguments: all

A try is: install the wheel into a new virtual environment, start the broker, publish a message with a confirm, restart, read it back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

TRIAL = """
import shutil, sys
assert shutil.which("gcc") is None and shutil.which("cc") is None, "this environment is not bare"
import entrepot.net.connection as connection
compiled = connection.__file__.endswith(".so")
assert compiled == (sys.argv[1] == "compiled"), connection.__file__
import pika
from entrepot.testing import Broker
with Broker() as broker:
    for turn in ("put", "get"):
        client = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
        channel = client.channel()
        channel.queue_declare("trial", durable=True)
        if turn == "put":
            channel.confirm_delivery()
            channel.basic_publish("", "trial", b"hello", pika.BasicProperties(delivery_mode=2))
        else:
            body = channel.basic_get("trial", auto_ack=True)[2]
            assert body == b"hello", body
        client.close()
        broker.restart()
"""


def pythons() -> dict[str, str]:
    """Version -> executable, for every CPython of VERSIONS that runs: on the PATH, or among pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for version in VERSIONS:
        for candidate in (f"python{version}", *sorted(map(str, root.glob(f"versions/{version}.*/bin/python{version}")), reverse=True)):
            try:
                ran = subprocess.run([candidate, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False)
            except FileNotFoundError:
                continue
            if ran.returncode == 0:
                found[version] = ran.stdout.strip()
                break
    return found


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> None:
    ran = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ran.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{ran.stdout}")


def build(python: str, scratch: Path, pure: bool) -> Path:
    """The wheel, built from a copy of the sources: nothing that was built before gets in."""
    sources = scratch / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, ".", cwd=sources, **({"ENTREPOT_PURE": "1"} if pure else {}))
    (wheel,) = out.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl") == pure, wheel.name
    DIST.mkdir(exist_ok=True)
    return Path(shutil.copy(wheel, DIST))


def try_out(python: str, wheel: Path, scratch: Path, pure: bool) -> None:
    """Exits if the wheel does not work."""
    bare = scratch / "bare"
    shutil.rmtree(bare, ignore_errors=True)
    run(python, "-m", "venv", bare)
    path = str(bare / "bin")
    run(bare / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:", wheel, "pika", PATH=path)
    run(bare / "bin" / "python", "-I", "-c", TRIAL, "pure" if pure else "compiled", cwd=scratch, PATH=path)


def main() -> None:
    found = pythons()
    assert found, "no CPython of " + ", ".join(VERSIONS)
    jobs = {version: (python, False) for version, python in found.items()} | {"pure": (next(iter(found.values())), True)}
    wanted = sys.argv[1:] or list(jobs)
    with tempfile.TemporaryDirectory(prefix="entrepot-wheels-") as folder:
        for python, pure in (jobs[name] for name in wanted):
            wheel = build(python, Path(folder), pure)
            try_out(python, wheel, Path(folder), pure)
            print(f"{wheel.relative_to(ROOT)}  {wheel.stat().st_size >> 10} KiB  works", flush=True)


if __name__ == "__main__":
    main()
