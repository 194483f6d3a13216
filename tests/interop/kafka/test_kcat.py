"""kcat, the command-line client (Debian's package of that name)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

NewTopicName = Callable[..., str]
TIMEOUT_S = 60

pytestmark = pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed (Debian: apt-get install kcat)")


def kcat(bootstrap: str, *words: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["kcat", "-b", bootstrap, *words], input=given, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4"])
def test_produce_and_consume(bootstrap: str, topic: NewTopicName, compression: str) -> None:
    name = topic()
    kcat(bootstrap, "-P", "-t", name, "-K", ":", "-z", compression, "-H", "one=1", "-H", "two=2", given=b"".join(b"k%d:v%d\n" % (n, n) for n in range(500)))
    said = kcat(bootstrap, "-C", "-t", name, "-e", "-q", "-f", "%o %k %s %h\n").decode().splitlines()
    assert said == [f"{n} k{n} v{n} one=1,two=2" for n in range(500)]


def test_offsets(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    kcat(bootstrap, "-P", "-t", name, given=b"".join(b"%d\n" % n for n in range(100)))
    assert kcat(bootstrap, "-C", "-t", name, "-o", "95", "-e", "-q").split() == [b"95", b"96", b"97", b"98", b"99"]
    assert kcat(bootstrap, "-C", "-t", name, "-o", "-2", "-e", "-q").split() == [b"98", b"99"]
    assert kcat(bootstrap, "-C", "-t", name, "-o", "beginning", "-c", "3", "-q").split() == [b"0", b"1", b"2"]
    assert kcat(bootstrap, "-Q", "-t", f"{name}:0:0").strip().endswith(b"offset 0")


def test_a_group(bootstrap: str, topic: NewTopicName, group: str) -> None:
    name = topic(2)
    kcat(bootstrap, "-P", "-t", name, "-p", "1", given=b"a\nb\nc\n")
    said = kcat(bootstrap, "-G", group, "-c", "3", "-q", "-X", "auto.offset.reset=earliest", "-f", "%p %s\n", name)
    assert said.split(b"\n")[:3] == [b"1 a", b"1 b", b"1 c"]


def test_metadata(bootstrap: str, topic: NewTopicName, node_count: int) -> None:
    name = topic(3)
    said = json.loads(kcat(bootstrap, "-L", "-J", "-t", name))
    names = [broker["name"] for broker in said["brokers"]]
    assert names == [bootstrap] if node_count == 1 else len(set(names)) == node_count
    (found,) = said["topics"]
    assert (found["topic"], [part["partition"] for part in found["partitions"]]) == (name, [0, 1, 2])
