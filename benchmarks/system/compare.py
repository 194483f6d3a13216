"""Two builds of Entrepot beside each other: is the new one slower?

  python -m benchmarks.system.compare CASE… --before COMMAND [--now COMMAND] [--rounds 5] [--repetitions 5] [--seconds 1.5]

A round starts both brokers anew (where its memory lies makes one process a tenth faster than the next) and lets them take turns, in short runs, the
first and the second by turns first: what the machine does meanwhile happens to both. A round gives each build the median of its runs, and a ratio
of the two, above 1 where the new one is better; shown are the medians over rounds of all of these, and each round's ratio of rates.

Exit status 0: every case is at least --at-least of the build before, by rate or by broker CPU a message (look at both: a case whose rate something else
bounds, such as the disk, always passes by its rate); 1: one is not, has no rate, or a run failed, whose directory is kept then; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.system import build
from benchmarks.system.brokers import Broker, Entrepot
from benchmarks.system.case import Case, Scale
from benchmarks.system.cases import CASES
from benchmarks.system.measure import LoadFailed
from benchmarks.system.run import run_case, stop_on_sigterm

_ROOT = Path(__file__).resolve().parent.parent.parent
_CPU = "broker_cpu_us_per_message"


def _from_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least 1")
    return number


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("cases", nargs="+", metavar="CASE", help="cases as `python -m benchmarks.system.run list` names them")
    add("--before", required=True, help="command that starts the build to compare with, such as 'env PYTHONPATH=DIR/src python -m entrepot serve'")
    add("--now", default="", help="command that starts the other; empty: this one")
    add("--rounds", type=_from_one, default=5, help="times that both are started anew")
    add("--repetitions", type=_from_one, default=5, help="runs of each in a round")
    add("--seconds", type=float, default=1.5, help="of each run")
    add("--at-least", type=float, default=0.97, help="what the rate, or the CPU, must be of the build before")
    add("--directory", type=Path, default=_ROOT / "build" / "benchmarks" / "data", help="where brokers keep their data")
    add("--output", type=Path, help="a file for all figures, as JSON")
    return out


def round_of(case: Case, brokers: list[Broker], scale: Scale, repetitions: int) -> dict[str, dict[str, float]]:
    """Both brokers, started anew, taking turns: the median rate and CPU of each. Raises LoadFailed: something failed, or was lost, or has no rate."""
    found = run_case(replace(case, peers=True), brokers, scale, repetitions)
    failures = [*found["failures"], *(f"{name}: {figures['errors']:.0f} errors" for name, figures in found["medians"].items() if figures.get("errors"))]
    if failures:
        raise LoadFailed("; ".join(failures))
    medians = found["medians"]
    rate = "consume_per_s" if any(figures.get("consume_per_s") for figures in medians.values()) else "publish_per_s"
    if not all(figures.get(rate) for figures in medians.values()):
        raise LoadFailed(f"{case.name} has no rate to compare, in one build or in both")
    return {name: {"rate": float(figures[rate]), "cpu": float(figures.get(_CPU) or 0.0)} for name, figures in medians.items()}


def compared(rounds: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Medians over rounds: `rate_ratio` is now ÷ before, `cpu_ratio` before ÷ now, both better when larger."""
    out: dict[str, float] = {}
    for figure, better, worse in (("rate", "now", "before"), ("cpu", "before", "now")):
        for name in ("before", "now"):
            out[f"{name}_{figure}"] = statistics.median(each[name][figure] for each in rounds)
        out[f"{figure}_ratio"] = statistics.median(_ratio(each[better][figure], each[worse][figure]) for each in rounds)
    return out


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0


def row(name: str, found: dict[str, float], rounds: list[dict[str, dict[str, float]]], at_least: float) -> str:
    """A line of the table."""
    each = " ".join(f"{_ratio(one['now']['rate'], one['before']['rate']):.2f}" for one in rounds)
    verdict = "" if max(found["rate_ratio"], found["cpu_ratio"]) >= at_least else " SLOWER"
    return (
        f"| {name} | {found['before_rate']:,.0f} | {found['now_rate']:,.0f} | {found['rate_ratio']:.3f} "
        f"| {found['before_cpu']:.4g} | {found['now_cpu']:.4g} | {found['cpu_ratio']:.3f} | {each} |{verdict}"
    )


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    stop_on_sigterm()
    arguments = parser().parse_args(words)
    known = {case.name: case for case in CASES}
    if unknown := [name for name in arguments.cases if name not in known]:
        print(f"no case {', '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    build.ensure()
    scale = Scale(seconds=arguments.seconds, bulk_seconds=arguments.seconds)
    status = 0
    result = {}
    print("| case | rate before | now | ratio | CPU µs before | now | ratio | rate, by round |\n|---|--:|--:|--:|--:|--:|--:|---|", flush=True)
    for name in arguments.cases:
        case = known[name]
        brokers: list[Broker] = []
        for which, command in (("before", arguments.before), ("now", arguments.now)):
            broker = Entrepot(arguments.directory.resolve() / which, command, case.protocol)
            broker.name = which
            brokers.append(broker)
        rounds: list[dict[str, dict[str, float]]] = []
        try:
            turns = (brokers[::-1] if number % 2 else brokers for number in range(arguments.rounds))
            rounds.extend(round_of(case, each, scale, arguments.repetitions) for each in turns)  # those before one that fails stay
        except LoadFailed as error:
            print(f"{name}: FAILED after {len(rounds)} rounds: {error}", file=sys.stderr)
            status = 1
        if not rounds:
            continue
        found = compared(rounds)
        result[name] = {"medians": found, "rounds": rounds}
        print(row(name, found, rounds, arguments.at_least), flush=True)
        if max(found["rate_ratio"], found["cpu_ratio"]) < arguments.at_least:
            status = 1
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main())
