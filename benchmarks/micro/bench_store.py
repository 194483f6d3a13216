"""The local store: commit latency beside a raw write and fdatasync of the same disk, entries staged per second, recovery, memory.

python benchmarks/micro/bench_store.py [latency] [entries] [recovery] [memory] [--directory DIR] [--records N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import tempfile
import time
from typing import Any

import uvloop

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import make_entry
from entrepot.store.interface import Group, Log
from entrepot.store.local.opening import open_store
from entrepot.store.local.store import LocalStore


class Owner:
    """Calls what hangs on each group."""

    def committed(self, group: Group) -> None:
        for call in group.calls:
            call()

    def store_failed(self, error: BaseException) -> None:
        raise SystemExit(f"the store has ended: {error!r}")


def opened(directory: str) -> LocalStore:
    def fold(_key: bytes, _value: bytes | None, delta: bytes) -> bytes | None:
        return delta

    store = open_store(directory, scheduler=asyncio.get_running_loop(), clock=SystemClock(), entropy=SystemEntropy(), fold=fold)
    store.set_owner(Owner())
    return store


def commit(store: LocalStore) -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    store.group().calls.append(lambda: done.set_result(None))
    store.urgent()
    return done


async def closed(store: LocalStore) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    store.close(lambda: done.set_result(None))
    await done


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}_us": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] * 1e6, 1) for p in (50, 90, 99)}


def raw(directory: str, size: int, rounds: int) -> list[float]:
    """Overwriting a file that was written before: what a reused journal file costs."""
    fd = os.open(os.path.join(directory, "raw"), os.O_RDWR | os.O_CREAT)
    data = os.urandom(size)
    os.pwrite(fd, bytes(32 << 20), 0)
    os.fsync(fd)
    took = []
    position = 0
    for _ in range(rounds):
        if position + size > 32 << 20:
            position = 0
        started = time.perf_counter()
        os.pwrite(fd, data, position)
        os.fdatasync(fd)
        took.append(time.perf_counter() - started)
        position += size
    os.close(fd)
    return took


async def latency(directory: str) -> dict[str, Any]:
    """One commit in flight, as the loop sees it, in alternating runs with the raw disk."""
    figures: dict[str, Any] = {}
    for size in (4096, 65536):
        store = opened(os.path.join(directory, f"latency-{size}"))
        log = store.create_log(0, os.urandom(16))
        await commit(store)
        ours: list[float] = []
        theirs: list[float] = []
        body = os.urandom(size - 200)
        for _ in range(10):
            theirs += raw(directory, size, 200)
            for _ in range(200):
                started = time.perf_counter()
                store.append([log], make_entry(2, 1, 0, b"", body, 1))
                await commit(store)
                ours.append(time.perf_counter() - started)
                store.discard(log, 0, log.next_offset)
        mean_us = round(store.commit_seconds / store.commit_count * 1e6, 1)
        figures[str(size)] = {"store": percentiles(ours), "raw": percentiles(theirs), "committer_mean_us": mean_us}
        await closed(store)
    return figures


async def entries(directory: str) -> dict[str, Any]:
    """Staging, sealing and committing small entries, 50 and 1000 to a commit; discards as they become durable."""
    figures: dict[str, Any] = {}
    for per_commit in (50, 1000):
        store = opened(os.path.join(directory, f"entries-{per_commit}"))
        log = store.create_log(0, os.urandom(16))
        await commit(store)
        body = os.urandom(100)
        logs: list[Log] = [log]
        count = 0
        started = time.perf_counter()
        cpu = time.process_time()
        while time.perf_counter() - started < 3:
            for _ in range(per_commit):
                store.append(logs, make_entry(2, 1, 0, b"", body, 1))
            count += per_commit
            await commit(store)
            store.discard(log, 0, log.durable_offset)
        took = time.perf_counter() - started
        figures[f"{per_commit} a commit"] = {"entries_per_s": round(count / took), "cpu_us_per_entry": round((time.process_time() - cpu) / count * 1e6, 2)}
        await closed(store)
    store = opened(os.path.join(directory, "calls"))
    log = store.create_log(0, os.urandom(16))
    entry = make_entry(2, 1, 0, b"", b"x", 1)
    store.append([log], entry)
    for _ in range(100_000):
        store.append([log], make_entry(2, 1, 0, b"", b"x", 1))
    started = time.perf_counter()
    for offset in range(100_000):
        store.discard(log, offset, offset + 1)
    figures["discard_ns"] = round((time.perf_counter() - started) * 1e4)
    await closed(store)
    return figures


async def recovery(directory: str, records: int) -> dict[str, Any]:
    """`records` singly published, interleaved over 1,000 logs, a third settled out of order; then opened again as a kill leaves it."""
    path = os.path.join(directory, "recovery")
    store = opened(path)
    logs = [store.create_log(number % 256, os.urandom(16)) for number in range(1000)]
    await commit(store)
    body = os.urandom(100)
    started = time.perf_counter()
    pending: list[asyncio.Future[None]] = []
    for number in range(records):
        log = logs[number % 1000]
        store.append([log], make_entry(2, 1, 0, b"", body, 1))
        if number % 3 == 2 and log.next_offset > 3:
            offset = (log.next_offset * 7919) % log.next_offset
            store.discard(log, offset, offset + 1)
        if number % 100 == 99:
            pending.append(commit(store))
            while store.pressure:
                await asyncio.sleep(0.01)
            if len(pending) >= 2:
                await pending.pop(0)
    await commit(store)
    written = time.perf_counter() - started
    figures = {name: round(value) for name, value in store.statistics().items() if "bytes" in name or "segments" in name}
    copy = path + "-killed"
    shutil.copytree(path, copy)
    await closed(store)
    started = time.perf_counter()
    again = opened(copy)
    took = time.perf_counter() - started
    started = time.perf_counter()
    await closed(again)
    return {"records": records, "written_s": round(written, 1), "open_s": round(took, 2), "close_s": round(time.perf_counter() - started, 2), "before": figures}


async def memory(directory: str, records: int, per_commit: int) -> dict[str, Any]:
    """Small messages published singly to one queue that nobody reads."""
    store = opened(os.path.join(directory, "memory"))
    log = store.create_log(0, os.urandom(16))
    await commit(store)
    before = resident()
    body = os.urandom(16)
    peak = 0
    longest = 0.0
    started = time.perf_counter()
    for number in range(records):
        store.append([log], make_entry(2, 1, 0, b"", body, 1))
        if number % per_commit == per_commit - 1:
            turn = time.perf_counter()
            await commit(store)
            longest = max(longest, time.perf_counter() - turn)
        if number % 50_000 == 0:
            peak = max(peak, resident())
    await commit(store)
    took = time.perf_counter() - started
    result = {
        "records": records,
        "seconds": round(took, 1),
        "added_mib": round((resident() - before) / 2**20, 1),
        "peak_added_mib": round((peak - before) / 2**20, 1),
        "longest_commit_ms": round(longest * 1e3, 1),
        "figures": {name: round(value) for name, value in store.statistics().items()},
    }
    await closed(store)
    return result


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["latency", "entries"])
    parser.add_argument("--directory")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--per-commit", type=int, default=50, help="of the memory run")
    given = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="entrepot-bench-", dir=given.directory)
    try:
        for what in given.what:
            work = {"latency": latency, "entries": entries, "recovery": recovery, "memory": memory}[what]
            argument = {"recovery": (directory, given.records), "memory": (directory, given.records, given.per_commit)}.get(what, (directory,))
            print(json.dumps({what: uvloop.run(work(*argument))}, indent=1))  # type: ignore[arg-type,operator]
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
