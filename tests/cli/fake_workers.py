"""A directory of two workers whose sockets answer what is written here; and commands on it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
from typer.testing import CliRunner

from entrepot.admin import socket_file
from entrepot.cli.app import app
from entrepot.cluster.workers.directory import NAME, WorkersFile, directory_of

FILE = WorkersFile(version=1, workers=2, cluster_id="c", shards=256)


class FakeWorker:
    """Answers by path; `asked` is what it was asked. An answer is a document, or a status and a document."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []


@contextmanager
def served(directory: Path, workers: dict[int, FakeWorker]) -> Iterator[None]:
    (directory / NAME).write_bytes(msgspec.json.encode(FILE))
    servers = [_server(directory_of(directory, number), worker) for number, worker in workers.items()]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _server(directory: Path, worker: FakeWorker) -> socketserver.BaseServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            worker.asked.append((self.path, json.loads(body or b"null")))
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            answer = worker.answers.get(self.path, (404, {"error": f"nothing at {self.path}", "reason": "NOT_FOUND"}))
            status, document = answer if isinstance(answer, tuple) else (200, answer)
            text = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> Any:
            sock, _ = self.socket.accept()
            sock.setblocking(True)
            return sock, ("local", 0)

    directory.mkdir()
    server = Server(str(directory), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket_file.bind(directory, 8)
    return server


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments, "--data", str(directory)], env={"NO_COLOR": "1"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout
