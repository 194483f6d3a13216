"""SUBSCRIBEs and UNSUBSCRIBEs that wait behind another: done together, answered one by one."""

from __future__ import annotations

import pytest
from mqtt_bench import Bench
from mqtt_wire import connect, listed, subscribe, unsubscribe

from entrepot.broker.catalogue.stream import CatalogueStream


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("is_kept", [False, True])
def test_packets_that_wait_are_done_together_and_answered_each(bench: Bench, is_kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expiry = listed(b"\x11\0\0\1\0") if is_kept else b"\0"
    client, writer = bench.client(), bench.connected("w")
    client.send(connect(5, b"m", properties=expiry)).hear()
    writer.publish(b"f/7", b"kept", 1, 1, retain=True).hear()
    commits: list[int] = []
    commit = CatalogueStream.commit
    monkeypatch.setattr(CatalogueStream, "commit", lambda self, rows: (commits.append(int(bench.store.statistics()["commits"])), commit(self, rows)))
    changes = [subscribe(n + 1, (b"a", n % 3), properties=b"\0") for n in range(150)]
    others = [subscribe(n + 200, (b"f/%d" % n, 1 | (2 if n == 7 else 0) << 4), (b"f/7", 2), properties=b"\0") for n in range(150)]
    client.send(b"".join(changes + others))
    heard = client.hear()
    assert [one for one in heard if one[0] == "SUBACK"] == [
        *[("SUBACK", n + 1, [n % 3]) for n in range(150)],
        *[("SUBACK", n + 200, [1, 2]) for n in range(150)],
    ]
    assert {one[1]["payload"] for one in heard if one[0] == "PUBLISH"} == {b"kept"}
    assert len(set(commits)) < 30
    assert len(client.session.subscriptions) == 151
    assert client.session.subscriptions.get(b"f/7")[0].qos == 2
    writer.publish(b"a", b"1", 1, 2).publish(b"f/9", b"2", 2, 3)
    assert [one[1]["payload"] for one in client.hear() if one[0] == "PUBLISH"] == [b"1", b"2"]
    client.send(b"".join(unsubscribe(n + 1, b"f/%d" % n, b"f/0", properties=b"\0") for n in range(150)) + unsubscribe(999, b"a", properties=b"\0"))
    assert client.hear() == [("UNSUBACK", 1, [0, 0x11]), *[("UNSUBACK", n + 1, [0, 0x11]) for n in range(1, 150)], ("UNSUBACK", 999, [0])]
    assert len(client.session.subscriptions) == 0
