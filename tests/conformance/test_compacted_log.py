"""Compacted segments, read by Kafka's own kafka-dump-log with their indexes, by confluent-kafka and by kafka-python."""

from __future__ import annotations

from pathlib import Path

from pystream._native.local_log import LocalLog
from tests.conformance import kafka_dump
from tests.support.compaction import ABORT, COMMIT, DAY_MS, NOW_MS, append, batch, clean, filled, marker

CODECS = range(5)


def cleaned(path: Path) -> LocalLog:
    """Updates in every codec, a tombstone with its horizon, transactions, an idempotent producer's emptied batch."""
    log = LocalLog.open(str(path), segment_bytes=1 << 20, index_interval_bytes=100)
    filled(
        log,
        [
            [batch([(b"k%d" % number, b"old-%d" % codec) for number in range(6)], codec=codec) for codec in CODECS],
            [batch([(b"k%d" % codec, b"new-%d" % codec), (b"own-%d" % codec, b"1")], codec=codec) for codec in CODECS],
            [batch([(b"k0", None), (b"k1", b"last")], codec=4)],
            [batch([(b"gone", b"1")], producer_id=9, sequence=0), batch([(b"gone", b"2")])],
            [batch([(b"txn", b"aborted")], producer_id=7, sequence=0, transactional=True), marker(7, ABORT)],
            [batch([(b"txn", b"committed")], producer_id=7, sequence=1, transactional=True), marker(7, COMMIT)],
        ],
    )
    clean(log, now_ms=NOW_MS, delete_retention_ms=DAY_MS)
    append(log, batch([(b"active", b"1")]))
    log.flush()
    return log


def test_kafka_dump_log_reads_what_compaction_leaves(tmp_path: Path) -> None:
    log = cleaned(tmp_path / "t-0")
    segments = sorted((tmp_path / "t-0").glob("*.log"))
    indexes = sorted((tmp_path / "t-0").glob("00000000000000000000.*index"))
    log.close()

    dump = kafka_dump.dump_log(segments)
    kafka_dump.run("--index-sanity-check", files=[path for path in indexes if path.stat().st_size])

    data = {record.key: record.value for record in dump.records if record.key and record.value is not None}
    assert {name: data[name] for name in ("k1", "k2", "k3", "k4", "gone", "txn", "active")} == {
        "k1": "last",
        "k2": "new-2",
        "k3": "new-3",
        "k4": "new-4",
        "gone": "2",
        "txn": "committed",
        "active": "1",
    }
    assert data["k5"] == "old-4"
    horizons = [found["deleteHorizonMs"] for found in dump.batches if "deleteHorizonMs" in found]
    assert f"OptionalLong[{NOW_MS + DAY_MS}]" in horizons or str(NOW_MS + DAY_MS) in " ".join(horizons)
    assert any(found["producerId"] == "9" and found["count"] == "0" for found in dump.batches)
