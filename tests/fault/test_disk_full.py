"""A real file system that is full: errors, nothing acknowledged is lost, and it goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream._native.record_builder import RecordBatchBuilder
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.fault.test_broker_crash import TOPIC, create_topic, read_partition
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

KAFKA_STORAGE_ERROR = 56
VALUE = b"v" * 500_000
SIZE_MIB = 64
RECOVERY_SECONDS = 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 64 MiB; needs the right to mount."""
    image, mount = tmp_path / "disk.img", tmp_path / "mnt"
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("mounting a small file system needs root and mkfs.ext4")
    with open(image, "wb") as file:
        file.truncate(SIZE_MIB << 20)
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(mount)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine mounts no loop file systems: {mounted.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def produce_one(client: RawClient, number: int) -> tuple[int, int]:
    """(error code, base offset) of one record of half a MB."""
    builder = RecordBatchBuilder()
    builder.append(b"%08d" % number + VALUE, timestamp=int(time.time() * 1000))
    part = PartitionProduceData(index=0, records=bytes(builder.build()))
    request = ProduceRequest(
        acks=-1, timeout_ms=30_000, topic_data=[TopicProduceData(name=TOPIC, partition_data=[part])]
    )
    answered = client.call(request, 9).responses[0].partition_responses[0]
    return answered.error_code, answered.base_offset


def delete_topic(client: RawClient) -> int:
    """The error code."""
    request = DeleteTopicsRequest(topic_names=[TOPIC], timeout_ms=30_000)
    return int(client.call(request, 4).responses[0].error_code)


def again_while(code: int, ask: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """The first answer of another code: the broker looks at its disks every second, then it takes records again."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (answered := ask())[0] == code and time.monotonic() < deadline:
        continue
    return answered


@pytest.mark.parametrize("filled_by", ["the broker", "somebody else"])
def test_a_full_disk_refuses_loses_nothing_and_recovers_without_a_restart(small_disk: Path, filled_by: str) -> None:
    settings = {"log.flush.policy": "group", "log.dir.reserve.bytes": "1048576", "log.segment.bytes": "4194304"}
    acknowledged: list[int] = []
    other = small_disk / "somebody-else"
    with BrokerProcess(small_disk / "data", settings) as broker, RawClient(broker.port) as client:
        create_topic(broker.port)
        code, number = 0, 0
        if filled_by == "somebody else":
            assert produce_one(client, 0)[0] == 0
            acknowledged.append(0)
            number = 1
            subprocess.run(
                ["fallocate", "-l", str(shutil.disk_usage(small_disk).free - (4 << 20)), str(other)], check=False
            )
        while code == 0:
            code, offset = produce_one(client, number)
            if code == 0:
                assert offset == number
                acknowledged.append(number)
                number += 1
            assert number < SIZE_MIB * 2, "the disk never got full"
        assert code == KAFKA_STORAGE_ERROR

        records, _ = read_partition(client, 0, 0)
        assert [records[offset][:8] for offset in acknowledged] == [b"%08d" % offset for offset in acknowledged]

        if filled_by == "somebody else":
            other.unlink()
            taken = again_while(KAFKA_STORAGE_ERROR, lambda: produce_one(client, number))
            assert taken == (0, len(acknowledged))
        else:
            assert delete_topic(client) == 0
