"""`entrepot serve`: run a broker until a signal ends it."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded

if TYPE_CHECKING:
    from entrepot.server import Started


def serve(
    config: ConfigFile = None,
    data: DataDirectory = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            "-l",
            metavar="PROTOCOL=HOST:PORT",
            help="Listen here, and only where --listen says; repeatable. PROTOCOL: amqp, amqps, kafka, kafkas, http; port 0 takes a free one and prints it.",
        ),
    ] = None,
    settings: Settings = None,
    ready_fd: Annotated[
        int | None, typer.Option("--ready-fd", metavar="N", help="Write one line of JSON with all addresses to this file descriptor once ready, and close it.")
    ] = None,
    control_fd: Annotated[
        int | None, typer.Option("--control-fd", metavar="N", hidden=True, help="A connected socket for entrepot.control's commands.")
    ] = None,
) -> None:
    """Run a broker.

    Without options: AMQP 0-9-1 on 127.0.0.1:5672, Apache Kafka on 127.0.0.1:9092, health and metrics on 127.0.0.1:9700, messages in
    ./entrepot-data, every confirmed message synced to the disk.

    SIGTERM or Ctrl-C stops it gracefully (clients are told, everything is stored); a second one stops it at once.
    """
    from entrepot import logs
    from entrepot.allocator import keep_free_memory
    from entrepot.server import run

    found = loaded(config, data, settings, listen)
    logs.set_up(found.config.log_level, found.config.log_format)
    keep_free_memory()

    def announce(started: Started) -> None:
        if ready_fd is not None:
            os.write(ready_fd, json.dumps(started.as_json()).encode() + b"\n")
            if ready_fd > 2:  # the standard ones stay open
                os.close(ready_fd)
        print(_banner(started), flush=True)

    sys.exit(run(found.config, announce, notes=found.notes, control_fd=control_fd))


def _banner(started: Started) -> str:
    about = {
        "http": "/healthz /readyz /metrics",
        "amqp": "RabbitMQ clients",
        "amqps": "RabbitMQ clients, TLS",
        "kafka": "Apache Kafka clients; behind another address or port: kafka.advertised",
        "kafkas": "Apache Kafka clients, TLS; behind another address or port: kafka.advertised_tls",
        "sqs": "Amazon SQS: endpoint_url, AWS_ENDPOINT_URL_SQS",
        "sqss": "Amazon SQS, TLS",
    }
    lines = [f"Entrepot {started.version} is ready after {started.seconds:.2f} s (process {started.pid})"]
    lines += [f"  {name:6} {started.url(name):31} {about.get(name, '')}" for name in started.addresses]
    if not started.is_compiled:
        lines.append("  the modules run interpreted, many times slower: there was no C compiler (or ENTREPOT_PURE was set) when Entrepot was installed")
    lines += [f"  data  {started.data}   durability: {started.durability}", "Ctrl-C stops it."]
    return "\n".join(lines)
