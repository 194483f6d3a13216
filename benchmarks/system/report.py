"""Results as people read them: a table of figures, and what was expected beside what was found."""

from __future__ import annotations

from typing import Any

from benchmarks.system.case import Case, Expectation
from benchmarks.system.measure import Figures

_MIB = 1 << 20
_COLUMNS = (
    "case",
    "broker",
    "published/s",
    "received/s",
    "times peer",
    "confirm p50/p99/p99.9/max µs",
    "end to end p50/p99/p99.9/max µs",
    "broker CPU µs",
    "RSS MiB",
    "disk B/B",
    "stall (own) ms",
    "unsorted MiB",
    "errors",
)
_EXTRA = (
    "start_s",
    "disk_sync_4k_us",
    "disk_append_sync_4k_us",
    "confirm_above_disk_us",
    "rss_added_bytes",
    "rss_added_max_bytes",
    "rss_added_each_bytes",
    "open_seconds",
    "alone_per_s",
    "part_of_alone",
    "messages_per_commit",
    "client_cpu_us_per_message",
    "client_first_s",
    "client_waited_s",
    "part_of_one",
)


def judged(case: Case, medians: dict[str, Figures]) -> list[dict[str, Any]]:
    """Each expectation of the case that could be looked at."""
    ours = medians.get("entrepot", {})
    peer_name = next((name for name in medians if name != "entrepot"), "")
    theirs = medians.get(peer_name, {})

    def look(expected: Expectation) -> dict[str, Any] | None:
        found = ours.get(expected.figure)
        if expected.of_peer:
            peer = theirs.get(expected.figure)
            found = found / peer if found is not None and peer else None
        if found is None:
            return None
        met = (expected.at_least is None or found >= expected.at_least) and (expected.at_most is None or found <= expected.at_most)
        name = expected.figure + (f" ÷ {peer_name}" if expected.of_peer else "")
        return {"figure": name, "found": found, "at_least": expected.at_least, "at_most": expected.at_most, "met": met}

    out: list[dict[str, Any]] = []
    for expected in case.expectations:
        found = look(expected)
        if found is not None and not found["met"] and expected.otherwise is not None:
            other = look(expected.otherwise)
            found = other if other is not None and other["met"] else found
        if found is not None:
            out.append(found)
    return out


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine = result["machine"]
    disk = result["disk"]
    versions = ", ".join(f"{name} {version}" for name, version in result.get("versions", {}).items())
    lines = [
        f"{result['begun']}, commit {result['commit']}; {versions}",
        f"{machine['cores']} cores {machine['cpu']}, {machine['memory_bytes'] / (1 << 30):.0f} GiB, Linux {machine['kernel']}, Python {machine['python']}",
        f"{machine['filesystem']}; write + fdatasync 4 KiB: p50 {disk['reused']['p50']:.0f} µs over written octets, {disk['appended']['p50']:.0f} µs appending",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---|" * 2 + "--:|" * (len(_COLUMNS) - 2),
    ]
    notes = []
    for name, case in result["cases"].items():
        medians = case["medians"]
        for broker, figures in medians.items():
            lines.append("| " + " | ".join(_row(name, broker, figures, medians)) + " |")
            extra = [
                f"{key} {_rounded(figures[key] / _MIB) + ' MiB' if key.endswith('_bytes') else _rounded(figures[key])}"
                for key in _EXTRA
                if figures.get(key) is not None
            ]
            if extra:
                notes.append(f"- {name}, {broker}: {', '.join(extra)}")
        notes += [f"- {name}: FAILED: {failure}" for failure in case["failures"]]
    lines += ["", *notes, ""]
    for name, case in result["cases"].items():
        for met in case["expectations"]:
            bound = f"at least {_rounded(met['at_least'])}" if met["at_least"] is not None else f"at most {_rounded(met['at_most']) or '0'}"
            scaled = _MIB if met["figure"].endswith("_bytes") else 1
            if scaled > 1:
                bound = f"at most {met['at_most'] / _MIB:.0f} MiB"
            lines.append(f"- {'met' if met['met'] else 'NOT MET'}: {name}: {met['figure']} {_rounded(met['found'] / scaled)}, expected {bound}")
    return "\n".join(lines)


def _row(name: str, broker: str, figures: Figures, medians: dict[str, Figures]) -> list[str]:
    rate = "consume_per_s" if figures.get("consume_per_s") else "publish_per_s"
    peer = next((found.get(rate) for name, found in medians.items() if name != "entrepot"), None)
    times = figures.get(rate, 0) / peer if broker == "entrepot" and peer else None
    rss = figures.get("rss_max_bytes", figures.get("rss_bytes"))
    unsorted = figures.get("unsorted_bytes")
    return [
        name,
        broker,
        _rounded(figures.get("publish_per_s")),
        _rounded(figures.get("consume_per_s")),
        _rounded(times),
        _latencies(figures, "confirm_us"),
        _latencies(figures, "end_to_end_us"),
        _rounded(figures.get("broker_cpu_us_per_message")),
        _rounded(rss / _MIB if rss is not None else None),
        _rounded(figures.get("disk_bytes_per_byte_received")),
        _stall(figures),
        _rounded(unsorted / _MIB if unsorted is not None else None),
        f"{figures.get('errors', 0):.0f}",
    ]


def _stall(figures: Figures) -> str:
    own = figures.get("loop_stall_own_longest_ms")
    return _rounded(figures.get("loop_stall_longest_ms")) + ("" if own is None else f" ({_rounded(own)})")


def _latencies(figures: Figures, kind: str) -> str:
    if f"{kind} p50" not in figures:
        return "-"
    return " / ".join(_rounded(figures[f"{kind} {part}"]) for part in ("p50", "p99", "p99.9", "max"))


def _rounded(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    if not value:
        return "0"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"
