"""Kafka and pystream read each other's log directories: segments, indexes, producer snapshots, leader epochs.

The first tests run on a log that pystream wrote, and on one that Apache Kafka wrote: the second run shows that the
expectations are Kafka's own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import kafka_dump, wire
from tests.conformance.clients import Client, Confluent, KafkaPython
from tests.conformance.compare import read_and_compare, write
from tests.conformance.kafka_process import KafkaProcess
from tests.conformance.records import CODECS, NO_OFFSET, PARTITIONS, Placed, Record, generate
from tests.support.broker_process import BrokerProcess

TOPIC = "dumped"
SEGMENT_BYTES = 1 << 20
RECORDS_PER_CODEC = 6_000
ADMIN_SECONDS = 120
WRITE_SECONDS = 120

pytestmark = pytest.mark.skipif("PYSTREAM_TEST_BOOTSTRAP" in os.environ, reason="looks at the files of its own brokers")


def printable(record: Record) -> Record:
    """The record with its bytes in hexadecimal, for a tool that prints text."""
    key = None if record.key is None else record.key.hex().encode()
    value = None if record.value is None else record.value.hex().encode()
    return record._replace(key=key, value=value, headers=tuple((name, b"") for name, _ in record.headers if name))


def written_records() -> Iterator[Record]:
    """What write_log has written, in order of offset."""
    for _ in CODECS:
        yield from map(printable, generate(0, RECORDS_PER_CODEC))


def write_log(bootstrap: str, scratch: Path) -> list[wire.Batch]:
    """Fill one partition through every codec, in batches of 16 kB; the batches as a consumer gets them."""
    config = {"segment.bytes": str(SEGMENT_BYTES), "index.interval.bytes": "4096", "retention.ms": "-1"}
    topic = NewTopic(TOPIC, num_partitions=1, replication_factor=1, config=config)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[TOPIC].result(ADMIN_SECONDS)
    for codec in CODECS:
        feed = (Placed(0, NO_OFFSET, printable(record)) for record in generate(0, RECORDS_PER_CODEC))
        KafkaPython(scratch).produce(bootstrap, TOPIC, codec, feed, seconds=WRITE_SECONDS)
    with wire.Connection(bootstrap) as connection:
        return list(fetch_all(connection))


def fetch_all(connection: wire.Connection) -> Iterator[wire.Batch]:
    offset = 0
    while offset < RECORDS_PER_CODEC * len(CODECS):
        for batch in wire.batches(wire.fetch(connection, TOPIC, 0, offset)):
            yield batch
            offset = batch.base_offset + batch.last_offset_delta + 1


class Written(NamedTuple):
    """A stopped broker's partition directory, and its batches as a consumer saw them."""

    folder: Path
    batches: list[wire.Batch]

    def files(self, suffix: str) -> list[Path]:
        return sorted(self.folder.glob(f"*{suffix}"))


@pytest.fixture(scope="module", params=["pystream", "kafka"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The log of a partition in several segments, after a clean stop of its broker."""
    scratch = tmp_path_factory.mktemp(request.param)
    if request.param == "kafka":
        with KafkaProcess(scratch / "kafka") as kafka:
            batches = write_log(kafka.bootstrap, scratch)
        return Written(kafka.log_dir / f"{TOPIC}-0", batches)
    with BrokerProcess(scratch / "data") as broker:
        batches = write_log(broker.bootstrap, scratch)
    (folder,) = (scratch / "data").rglob(f"{TOPIC}-0")
    return Written(folder, batches)


def test_kafka_prints_the_batches_that_a_consumer_got(written: Written) -> None:
    segments = written.files(".log")
    assert len(segments) > 2

    dumped = kafka_dump.dump_log(segments).batches

    assert [
        (
            int(batch["baseOffset"]),
            int(batch["count"]),
            int(batch["crc"]),
            int(batch["size"]) - wire.BATCH_OVERHEAD,
            int(batch["producerId"]),
            int(batch["producerEpoch"]),
            int(batch["baseSequence"]),
            int(batch["partitionLeaderEpoch"]),
            int(batch["CreateTime"]),
            batch["compresscodec"],
        )
        for batch in dumped
    ] == [
        (
            batch.base_offset,
            batch.record_count,
            batch.crc,
            batch.batch_length,
            batch.producer_id,
            batch.producer_epoch,
            batch.base_sequence,
            batch.partition_leader_epoch,
            batch.max_timestamp,
            batch.codec,
        )
        for batch in written.batches
    ]


def test_kafka_prints_the_records_that_were_written(written: Written) -> None:
    dumped = kafka_dump.dump_log(written.files(".log")).records

    assert dumped == [
        kafka_dump.DumpedRecord(
            offset,
            record.timestamp_ms or 0,
            None if record.key is None else record.key.decode(),
            None if record.value is None else record.value.decode(),
            tuple(name for name, _ in record.headers),
        )
        for offset, record in enumerate(written_records())
    ]


def test_every_segment_has_its_indexes(written: Written) -> None:
    segments = [path.stem for path in written.files(".log")]
    assert [path.stem for path in written.files(".index")] == segments
    assert [path.stem for path in written.files(".timeindex")] == segments


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_kafka_finds_the_indexes_sound(written: Written, suffix: str) -> None:
    files = written.files(suffix)
    assert kafka_dump.run("--index-sanity-check", files=files).count("passed sanity check") == len(files)


def test_kafka_finds_the_index_entries_in_the_log(written: Written) -> None:
    """Without options the tool looks every entry up in the segment, and complains of any that is not there."""
    entries = kafka_dump.run(files=written.files(".index")).count("position:")
    assert entries > len(written.files(".index")), "entries beyond the empty one of each segment"
    kafka_dump.run("--verify-index-only", files=written.files(".timeindex"))


def test_kafka_reads_the_last_sequence_of_each_producer(written: Written) -> None:
    last = {batch.producer_id: batch for batch in written.batches}

    dumped = kafka_dump.dump_producers(written.files(".snapshot")[-1])

    assert {
        int(producer["producerId"]): (int(producer["lastSequence"]), int(producer["lastOffset"])) for producer in dumped
    } == {
        producer_id: (
            batch.base_sequence + batch.record_count - 1,
            batch.base_offset + batch.last_offset_delta,
        )
        for producer_id, batch in last.items()
    }


def test_leader_epochs_are_in_kafkas_form(written: Written) -> None:
    lines = (written.folder / "leader-epoch-checkpoint").read_text().splitlines()
    first_epoch = written.batches[0].partition_leader_epoch
    assert lines[:3] == ["0", "1", f"{first_epoch} 0"]


# -- a log that Apache Kafka wrote, opened by pystream


TAKEN_OVER = "taken-over"
TAKEN_OVER_RECORDS = 4_000


@pytest.fixture(scope="module", params=["stopped", "killed"])
def kafka_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kafka's log directory with one topic of two partitions, after a clean stop or a kill -9."""
    scratch = tmp_path_factory.mktemp(f"kafka-{request.param}")
    with KafkaProcess(scratch / "kafka") as kafka:
        config = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": "-1"}
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        topic = NewTopic(TAKEN_OVER, num_partitions=PARTITIONS, replication_factor=1, config=config)
        admin.create_topics([topic])[TAKEN_OVER].result(ADMIN_SECONDS)
        for codec in CODECS:
            write(Confluent(scratch), kafka.bootstrap, TAKEN_OVER, codec, TAKEN_OVER_RECORDS)
        if request.param == "killed":
            kafka.kill()
    return kafka.log_dir


@pytest.fixture
def taken_over(kafka_log: Path, tmp_path: Path) -> Iterator[BrokerProcess]:
    """pystream on a data directory into which Kafka's has been imported."""
    data_dir = tmp_path / "data"
    command = [sys.executable, "-m", "pystream.cli.main", "log", "import", str(kafka_log), "--data-dir", str(data_dir)]
    subprocess.run([*command, "--topic-config", "retention.ms=-1"], check=True, timeout=WRITE_SECONDS)
    with BrokerProcess(data_dir) as broker:
        yield broker


def written_before(client: Client) -> list[Iterator[Record]]:
    def again(partition: int) -> Iterator[Record]:
        for _ in CODECS:
            yield from map(client.writes, generate(partition, TAKEN_OVER_RECORDS // PARTITIONS))

    return [again(partition) for partition in range(PARTITIONS)]


def test_a_log_that_kafka_wrote_is_served(taken_over: BrokerProcess, tmp_path: Path) -> None:
    client = Confluent(tmp_path)
    count = TAKEN_OVER_RECORDS * len(CODECS)
    read_and_compare(client, taken_over.bootstrap, TAKEN_OVER, written_before(client), count)


def test_a_log_that_kafka_wrote_goes_on(taken_over: BrokerProcess, tmp_path: Path) -> None:
    """New records follow the old ones, and both are read."""
    client = Confluent(tmp_path)
    write(client, taken_over.bootstrap, TAKEN_OVER, "lz4", TAKEN_OVER_RECORDS)
    expected = [
        itertools.chain(old, generate(partition, TAKEN_OVER_RECORDS // PARTITIONS))
        for partition, old in enumerate(written_before(client))
    ]
    count = TAKEN_OVER_RECORDS * (len(CODECS) + 1)
    read_and_compare(client, taken_over.bootstrap, TAKEN_OVER, expected, count)


def test_a_producer_that_wrote_to_kafka_is_still_known(taken_over: BrokerProcess) -> None:
    """Its last batch, sent again, is a duplicate: answered with its offset, and not appended."""
    with wire.Connection(taken_over.bootstrap) as connection:
        end = wire.list_offset(connection, TAKEN_OVER, 0, wire.LATEST).offset
        last = wire.last_batch(connection, TAKEN_OVER, 0)
        (header,) = wire.batches(last)
        assert header.producer_id >= 0

        answer = wire.produce(connection, TAKEN_OVER, 0, last)

        assert (int(answer.error_code), answer.base_offset) == (0, header.base_offset)
        assert wire.list_offset(connection, TAKEN_OVER, 0, wire.LATEST).offset == end


def test_the_topic_keeps_the_id_that_kafka_gave_it(kafka_log: Path, taken_over: BrokerProcess) -> None:
    lines = (kafka_log / f"{TAKEN_OVER}-0" / "partition.metadata").read_text().splitlines()
    admin = AdminClient({"bootstrap.servers": taken_over.bootstrap})
    described = admin.describe_topics(TopicCollection([TAKEN_OVER]))[TAKEN_OVER].result(ADMIN_SECONDS)
    url_safe = str(described.topic_id).translate(str.maketrans("+/", "-_"))
    assert lines[1] == f"topic_id: {url_safe}"
