"""What several workers cost and bring, in one run of `serve --workers`.

  python -m benchmarks.system.workers link     a client that is connected to another worker than its queue's, beside one that is connected to the right one
  python -m benchmarks.system.workers share    what several can do against one, by processor time, with clients spread over queues and partitions
  python -m benchmarks.system.workers many     thousands of connections, a hundred thousand queues, each of which works from every worker

Each says with --help what it measures. Exit status 0: all well; 1: a load failed, or something was not as it has to be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.system import build, workers_link, workers_many, workers_share

_DATA = Path(__file__).resolve().parent.parent.parent / "build" / "benchmarks" / "data"
_BENCHES = {"link": workers_link, "share": workers_share, "many": workers_many}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--workers", type=int, default=3)
    common.add_argument("--command", default="", help="that starts a broker, up to the word `serve`; empty: this one")
    common.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the broker; repeatable")
    common.add_argument("--directory", type=Path, default=_DATA, help="where brokers keep their data")
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.workers", description=__doc__, formatter_class=raw)
    parts = out.add_subparsers(dest="what", required=True)
    for name, bench in _BENCHES.items():
        part = parts.add_parser(name, parents=[common], description=bench.__doc__, formatter_class=raw)
        part.set_defaults(run=bench.run)
        bench.add_options(part)
    return out


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    arguments = parser().parse_args(words)
    arguments.directory = arguments.directory.resolve()
    build.ensure()
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
