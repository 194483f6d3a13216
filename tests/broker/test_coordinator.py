import pytest
from transaction_bench import Bench

from entrepot.broker.transactions import coordinator as module
from entrepot.broker.transactions.coordinator import Participant, ParticipantKind, Phase, coordinator_log_id
from entrepot.model.entry import make_entry, stored_entry
from entrepot.model.errors import CorruptData, Reason, Refused

LOG_A = Participant(ParticipantKind.LOG, 0, b"a" * 16)
LOG_B = Participant(ParticipantKind.LOG, 3, b"b" * 16)


@pytest.fixture
def bench():
    return Bench()


def reopened(bench, power=True):
    bench.settle_down()
    bench.down(power)
    bench.open()
    return bench.coordinator


def test_everything_is_there_after_a_restart(bench):
    one = bench.coordinator.begin(b"one", 7, 2, 5000)
    bench.coordinator.join(one, [LOG_A, LOG_B, LOG_A])
    two = bench.coordinator.begin(b"two")
    bench.coordinator.join(two, [LOG_B])
    bench.coordinator.decide(two, False)
    bench.coordinator.prepare(bench.coordinator.begin(b"three"))
    again = reopened(bench)
    one, two, three = (again.named(name) for name in (b"one", b"two", b"three"))
    assert (one.phase, one.producer_id, one.producer_epoch, one.deadline_ms, list(one.participants)) == (Phase.OPEN, 7, 2, 5000, [LOG_A, LOG_B])
    assert (two.phase, list(two.waiting)) == (Phase.ABORTING, [LOG_B])
    assert three.phase is Phase.PREPARED
    assert again.expired(4999) == []
    assert again.expired(5000) == [one]
    assert again.decided() == [two]


def test_an_ended_one_is_gone_and_its_name_free(bench):
    one = bench.coordinator.begin(b"one")
    bench.coordinator.join(one, [LOG_A, LOG_B])
    bench.coordinator.decide(one, True)
    bench.coordinator.decide(one, True)
    bench.coordinator.participant_ended(one, LOG_A)
    with pytest.raises(Refused, match="a transaction named b'one' has not ended yet"):
        bench.coordinator.begin(b"one")
    bench.coordinator.participant_ended(one, LOG_B)
    bench.coordinator.participant_ended(one, LOG_B)
    again = reopened(bench)
    assert not again.transactions
    assert again.begin(b"one").id != one.id


def test_records_of_what_ended_are_let_go(bench):
    kept = bench.coordinator.begin(b"kept")
    for _ in range(50):
        bench.coordinator.decide(bench.coordinator.begin(b""), True)
        bench.settle_down(0.05)
    log = bench.store.log(coordinator_log_id(0))
    assert log.next_offset == 151
    assert log.next_offset - log.first_offset - sum(end - first for first, end in log.holes()) < 8
    again = reopened(bench)
    assert list(again.transactions) == [kept.id]
    assert len(again.transactions[kept.id].offsets) == 1


def test_what_is_decided_stays_so(bench):
    one = bench.coordinator.begin(b"one")
    bench.coordinator.join(one, [LOG_A])
    bench.coordinator.decide(one, True)
    for step in (lambda: bench.coordinator.decide(one, False), lambda: bench.coordinator.prepare(one), lambda: bench.coordinator.join(one, [LOG_B])):
        with pytest.raises(Refused, match="is committing") as refused:
            step()
        assert refused.value.reason is Reason.INVALID
    bench.coordinator.participant_ended(one, LOG_A)
    with pytest.raises(Refused) as refused:
        bench.coordinator.decide(one, False)
    assert refused.value.reason is Reason.NOT_FOUND


def test_limits(bench, monkeypatch):
    with pytest.raises(Refused, match="1025 bytes"):
        bench.coordinator.begin(b"x" * 1025)
    monkeypatch.setattr(module, "TRANSACTIONS_MAX", 1)
    monkeypatch.setattr(module, "PARTICIPANTS_MAX", 1)
    one = bench.coordinator.begin(b"")
    with pytest.raises(Refused, match="1 transactions have not ended"):
        bench.coordinator.begin(b"")
    with pytest.raises(Refused, match="more than 1 logs"):
        bench.coordinator.join(one, [LOG_A, LOG_B])
    assert not one.participants


@pytest.mark.parametrize(
    ("codec", "data"), [(1, b"\x01\x01\x01" + bytes(40)), (5, b"\x01\x01"), (5, b"\x02\x02\x01" + bytes(40)), (5, b"\x01\x01\x09" + bytes(40))]
)
def test_what_is_no_record(bench, codec, data):
    entry = make_entry(codec, 1, 0, b"", data, 1)
    entry.seal()
    with pytest.raises(CorruptData, match="coordinator log of shard 0"):
        bench.coordinator.replay(stored_entry(4, entry))


def test_record_bytes(bench):
    one = bench.coordinator.begin(b"one", 7, 2, 5000)
    bench.coordinator.join(one, [LOG_A])
    bench.coordinator.decide(one, True)
    bench.settle_down()
    reader = bench.store.log(coordinator_log_id(0)).reader()
    assert [reader.at(offset).entry.data.hex(" ", 4) for offset in range(3)] == [
        bytes.fromhex("01010100 0000000000000000 0700000000000000 02000000 8813000000000000 6f6e65").hex(" ", 4),
        bytes.fromhex("01010200 0000000000000000 01 0000 61616161616161616161616161616161").hex(" ", 4),
        bytes.fromhex("01010400 0000000000000000 01").hex(" ", 4),
    ]
