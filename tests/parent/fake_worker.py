"""A worker that only speaks with its parent: what it is told it prints, on the output that it shares with the parent.

FAKE_ENDS names workers that end at once with a status, as `w1=2`; a worker named in FAKE_STAYS heeds no words.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--worker-fd") + 1]))
    lines = sock.makefile("rb")
    first = json.loads(lines.readline())
    place, config = first["place"], first["config"]
    name = f"w{place['number']}"

    def tell(what: str) -> None:
        os.write(1, f"{name} {os.getpid()} {what}\n".encode())

    def say(**said: object) -> None:
        sock.sendall(json.dumps(said).encode() + b"\n")

    ends = dict(one.split("=") for one in os.environ.get("FAKE_ENDS", "").split())
    if name in ends:
        say(failed=f"{name} does not want to")
        sys.exit(int(ends[name]))
    tell(f"began {place['start']} {config['values']['data']} {place['addresses'].get('amqp')} {','.join(place['own'].get('kafka', []))}")
    say(locked=True)
    say(ready={"pid": os.getpid(), "compiled": True})
    for line in lines:
        said = json.loads(line)
        if "look" in said:
            say(here=True)
            continue
        tell(json.dumps(said))
        if name in os.environ.get("FAKE_STAYS", "").split():
            continue
        if "leave" in said:
            say(left=True)
        elif "end" in said:
            sys.exit(0)
        elif "ask" in said:
            say(answer={"asked": said["ask"]})
    tell("alone")
    os._exit(75)


if __name__ == "__main__":
    main()
