"""Reading and copying partition directories of Apache Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystream._native.record_builder import RecordBatchBuilder
from pystream.common.errors import DataDirectoryError
from pystream.common.model import NO_LEADER_EPOCH, uuid_bytes
from pystream.storage.kafka_directory import copy_partition, find_partitions

TOPIC_ID = "uGG1a8sqTsm90ORK5YSNhA"


def batch(base_offset: int, producer_id: int) -> bytes:
    builder = RecordBatchBuilder(
        base_offset=base_offset, producer_id=producer_id, producer_epoch=0, base_sequence=0, partition_leader_epoch=0
    )
    builder.append(b"value", timestamp=0)
    return bytes(builder.build())


def partition_directory(log_directory: Path, name: str, *, epochs: str = "0\n1\n3 0\n", log: bytes = b"") -> Path:
    """A directory as Kafka 4.2 leaves it."""
    directory = log_directory / name
    directory.mkdir(parents=True)
    (directory / "partition.metadata").write_text(f"version: 0\ntopic_id: {TOPIC_ID}")
    (directory / "leader-epoch-checkpoint").write_text(epochs)
    (directory / f"{0:020}.log").write_bytes(log)
    (directory / f"{0:020}.index").write_bytes(bytes(800))
    return directory


def test_a_partition_is_found_with_its_id_epoch_and_producers(tmp_path: Path) -> None:
    directory = partition_directory(tmp_path, "orders-0", log=batch(0, 7) + batch(1, 41) + batch(2, 12))

    (found,) = find_partitions(tmp_path)

    assert (found.topic, found.partition, found.directory) == ("orders", 0, directory)
    assert found.topic_id == uuid_bytes(TOPIC_ID)
    assert found.leader_epoch == 3
    assert found.next_producer_id == 42


def test_a_torn_last_batch_hides_no_producer_before_it(tmp_path: Path) -> None:
    partition_directory(tmp_path, "orders-0", log=batch(0, 7) + batch(1, 41)[:30])
    (found,) = find_partitions(tmp_path)
    assert found.next_producer_id == 8


def test_an_unwritten_partition_has_no_epoch_and_no_producer(tmp_path: Path) -> None:
    partition_directory(tmp_path, "orders-0", epochs="0\n0\n")
    (found,) = find_partitions(tmp_path)
    assert (found.leader_epoch, found.next_producer_id) == (NO_LEADER_EPOCH, 0)


def test_kafkas_own_topics_and_other_directories_are_passed_over(tmp_path: Path) -> None:
    for name in ("a-b-10", "a-b-2", "__consumer_offsets-0", "__cluster_metadata-0", "gone-0.1234-delete"):
        partition_directory(tmp_path, name)
    (tmp_path / "notes-1").write_text("a file")
    assert [(found.topic, found.partition) for found in find_partitions(tmp_path)] == [("a-b", 2), ("a-b", 10)]


def test_a_topic_that_is_not_there_is_named(tmp_path: Path) -> None:
    partition_directory(tmp_path, "orders-0")
    with pytest.raises(DataDirectoryError, match="no topic bills"):
        find_partitions(tmp_path, frozenset({"orders", "bills"}))


def test_a_partition_without_a_topic_id_is_refused(tmp_path: Path) -> None:
    (partition_directory(tmp_path, "orders-0") / "partition.metadata").unlink()
    with pytest.raises(DataDirectoryError, match=r"partition\.metadata"):
        find_partitions(tmp_path)


def test_an_older_message_format_is_refused(tmp_path: Path) -> None:
    old = bytearray(batch(0, -1))
    old[16] = 1
    partition_directory(tmp_path, "orders-0", log=bytes(old))
    with pytest.raises(DataDirectoryError, match="message format 1"):
        find_partitions(tmp_path)


def test_a_copy_has_the_log_and_leaves_the_indexes(tmp_path: Path) -> None:
    source = partition_directory(tmp_path / "kafka", "orders-0", log=batch(0, 7))
    (found,) = find_partitions(tmp_path / "kafka")
    (tmp_path / "data").mkdir()

    copied = copy_partition(found, tmp_path / "data")

    assert copied == tmp_path / "data" / "orders-0"
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir() if path.suffix != ".index"
    }


def test_a_copy_never_overwrites_a_partition(tmp_path: Path) -> None:
    partition_directory(tmp_path / "kafka", "orders-0")
    existing = partition_directory(tmp_path / "data", "orders-0", log=b"ours")
    (found,) = find_partitions(tmp_path / "kafka")
    with pytest.raises(DataDirectoryError, match="exists already"):
        copy_partition(found, tmp_path / "data")
    assert (existing / f"{0:020}.log").read_bytes() == b"ours"
