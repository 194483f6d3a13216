"""What is read from outside while a broker works: /proc, its /metrics, the disk under it, the machine."""

from __future__ import annotations

import os
import platform
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def session_pids(leader: int) -> list[int]:
    """Every process of the session that this process leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_s(pids: list[int]) -> float:
    """User and system time so far of these processes and of their children that have ended; 10 ms steps."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / _TICKS_PER_S


def rss_bytes(pids: list[int]) -> int:
    """Resident memory now, the sum over these processes."""
    return sum(int(fields[21]) * _PAGE for pid in pids if (fields := _stat(pid)))


def written_bytes(pids: list[int]) -> int:
    """Bytes sent towards the disk so far (write_bytes of /proc/PID/io: pages made dirty, not those cached twice)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    return total


def device_bytes(directory: Path) -> int | None:
    """Bytes that the device under a directory has been sent so far, by whomever; None if the system does not say."""
    device = os.stat(directory).st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[6]) * 512


class Written:
    """What some processes write to the disk from now on.

    The lesser of two counts, each too high in its own way: pages made dirty are whole folios of the page cache, of up to a MiB each, however little of
    one was written; the device counts all processes.
    """

    def __init__(self, pids: list[int], directory: Path) -> None:
        self._directory = directory
        self._dirtied = written_bytes(pids)
        self._device = device_bytes(directory)

    def since(self, pids: list[int]) -> int:
        """Bytes until now."""
        dirtied, device = written_bytes(pids) - self._dirtied, device_bytes(self._directory)
        return dirtied if device is None or self._device is None else min(dirtied, device - self._device)


def metrics(url: str) -> dict[str, float]:
    """The samples of a Prometheus page by name (labels kept as written); empty if there is none."""
    if not url:
        return {}
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            try:
                found[name] = float(value)
            except ValueError:
                continue
    return found


def metric(samples: dict[str, float], *names: str) -> float | None:
    """The sum of the first of these families that is there; None if none is."""
    for name in names:
        values = [value for key, value in samples.items() if key == name or key.startswith(name + "{")]
        if values:
            return sum(values)
    return None


@dataclass
class Watcher:
    """Samples memory (and, with `metrics_url`, one gauge) of a running broker in the background, twice a second or less."""

    pids: list[int]
    metrics_url: str = ""
    gauges: tuple[str, ...] = ()
    interval_s: float = 0.5
    rss: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.rss.append(rss_bytes(self.pids))
            if self.gauges and (value := metric(metrics(self.metrics_url), *self.gauges)) is not None:
                self.values.append(value)
            if self._ended.wait(self.interval_s):
                return


def sync_us(directory: Path, *, count: int = 300, reuse: bool = True) -> dict[str, float]:
    """write + fdatasync of 4 KiB in this directory: p50, p99, in microseconds; over octets written before, or appending."""
    path = directory / f"probe-{os.getpid()}"
    block = os.urandom(4096)
    times = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if reuse:
            os.write(fd, block * count)
            os.fsync(fd)
            os.lseek(fd, 0, os.SEEK_SET)
        for _ in range(count):
            start = time.perf_counter_ns()
            os.write(fd, block)
            os.fdatasync(fd)
            times.append(time.perf_counter_ns() - start)
    finally:
        os.close(fd)
        path.unlink()
    times.sort()
    return {"p50": times[count // 2] / 1e3, "p99": times[count * 99 // 100] / 1e3}


def machine(directory: Path) -> dict[str, object]:
    """What the figures depend on."""
    cpu = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    memory = next((int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    device = os.stat(directory).st_dev
    filesystem = next(
        (f"{fields[8]} on {fields[9]}" for fields in map(_mount, _lines("/proc/self/mountinfo")) if fields[2] == f"{os.major(device)}:{os.minor(device)}"), ""
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem,
        "load_before": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _mount(line: str) -> list[str]:
    """A line of mountinfo with its optional fields left out: [8] is the type, [9] the source."""
    before, _, after = line.partition(" - ")
    kind, source, *_ = after.split()
    return [*before.split()[:6], "", "", kind, source]
