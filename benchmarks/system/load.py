"""Load for any AMQP 0-9-1 broker; prints one line of JSON. Latencies are microseconds.

  publish  each publisher is a connection with a window of unconfirmed messages
  consume  until --count messages, --seconds, or --idle
  both     publish and consume the same queues at once (they are purged first)
  fanout   publish to a fanout exchange; each consumer has an exclusive queue bound to it
  idle     open --publishers connections with a channel each, print a line when they stand, hold them for --seconds

With neither --count nor --seconds, publishing takes 5 seconds.
Exit status: 0 all well, 1 connection failed or closed by the broker, 2 wrong usage, 3 messages lost, repeated, reordered, damaged or refused.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import resource
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.system import build

if TYPE_CHECKING:
    from benchmarks.system.scenario import Options

_PR_SET_TIMERSLACK = 29


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("mode", choices=["publish", "consume", "both", "fanout", "idle"])
    add = out.add_argument
    add("--url", default="amqp://guest:guest@127.0.0.1:5672/", help="amqp://user:password@host:port/vhost")
    add("--publishers", type=int, default=1, help="publishing connections")
    add("--consumers", type=int, default=0, help="consuming connections; 0: 1, or 100 in a fan-out")
    add("--queue", default="load", help="queue name, or several with commas between them, dealt out to connections in turn")
    add("--queues", type=int, default=1, help="with more than 1: so many, NAME-0, NAME-1, …")
    add("--queue-type", default="", help="x-queue-type to declare with, such as quorum")
    add("--priorities", type=int, default=0, help="priorities that messages have in turn, of a queue that is declared with as many; 0: none")
    add("--exchange", default="", help="exchange to declare, bind and publish to; empty: the default exchange")
    add("--transient", action="store_true", help="transient messages and queues; else persistent and durable")
    add("--purge", action="store_true", help="empty the queues first")
    add("--delete", action="store_true", help="delete the queues afterwards")
    add("--size", type=int, default=100, help="body bytes, from 16")
    add("--count", type=int, default=0, help="messages to publish, or to consume, in all; 0: no limit")
    add("--seconds", type=float, default=0.0, help="how long to publish, or to consume; 0: no limit")
    add("--idle", type=float, default=3.0, help="stop after so many seconds in which nothing arrived")
    add("--rate", type=float, default=0.0, help="messages a second in all, as an open load; 0: as fast as confirmed")
    add("--window", type=int, default=1000, help="unconfirmed messages per publisher")
    add("--no-confirm", action="store_true", help="publish without confirms; the rate is then up to channel.close-ok")
    add("--mandatory", action="store_true", help="set the mandatory bit, count what is returned")
    add("--batch", type=int, default=0, help="go on when so much of the window is free again; 0: an eighth of it; under a rate 1")
    add("--lag-max", type=int, default=0, help="both, fanout: publish only while fewer are on their way to consumers; 0: no limit")
    add("--prefetch", type=int, default=1000, help="basic.qos prefetch count; 0: no limit")
    add("--ack-every", type=int, default=100, help="acknowledge every so many (multiple when over 1); 0: never")
    add("--auto-ack", action="store_true", help="consume with no-ack")
    add("--stall", action="store_true", help="consume: subscribe, print a line, and read nothing for --seconds")
    add("--stream-offset", default="", help="consume: x-stream-offset (first, last, next, a number)")
    add("--frame-max", type=int, default=131072, help="largest frame to negotiate")
    add("--first-publisher", type=int, default=0, help="number of the first publisher, for several processes on one queue")
    add("--zero-filler", action="store_true", help="bodies are zeros after their head, instead of noise")
    add("--fault", choices=["gap", "duplicate", "reorder"], default="", help="number messages wrongly now and then, to test the check")
    return out


def options_of(arguments: argparse.Namespace) -> Options:
    """Checked options. Raises ValueError."""
    from benchmarks.system.scenario import Options

    options = Options(**vars(arguments))
    if options.size < 16:
        raise ValueError(f"--size {options.size}: a body holds at least its 16 octets of number and time")
    for name in ("publishers", "queues", "window"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)}: at least 1")
    routes = max(options.publishers, options.queues, options.queue.count(",") + 1) * max(options.priorities, 1) + options.first_publisher
    if options.mode != "idle" and routes > 16384:
        raise ValueError(f"{routes} publishers and routes: at most 16384 can be told apart")
    return options


def hold_idle(options: Options) -> int:
    """Opens idle connections and holds them."""
    from benchmarks.system.handshake import Address, Session

    address = Address.parse(options.url)
    sessions = [Session(address) for _ in range(options.publishers)]
    print(json.dumps({"ready": len(sessions)}), flush=True)
    time.sleep(options.seconds or 5)
    return 0


def main(words: list[str] | None = None) -> int:
    """Runs one load; the exit status."""
    arguments = parser().parse_args(words)
    build.ensure()
    try:
        options = options_of(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    from benchmarks.system.handshake import BrokerError
    from benchmarks.system.scenario import Run

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # an open load's wake-ups would be 50 µs late
    gc.disable()  # nothing cyclic is made while measuring
    try:
        if options.mode == "idle":
            return hold_idle(options)
        result = Run(options).execute()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result.as_dict()))
    for failure in result.failures:
        print(failure, file=sys.stderr)
    return result.exit_status()


if __name__ == "__main__":
    sys.exit(main())
