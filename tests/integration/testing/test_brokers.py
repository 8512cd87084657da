"""Brokers of the test kit, as suites of users have them: every client, several at once, restarts, and nothing left."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
import uvloop

import pystream
from pystream.broker.broker import Broker
from pystream.common.errors import InvalidConfig
from pystream.testing import BrokerFailed, LocalBroker, NotThere, broker, embedded

with warnings.catch_warnings():  # kafka-python reads its schemas in a way that Python 3.11 calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka

SECONDS = 120


def with_confluent_kafka(bootstrap: str, topic: str, values: list[bytes]) -> list[bytes]:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(SECONDS) == 0
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "g-confluent", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    read: list[bytes] = []
    while len(read) < len(values):
        for message in consumer.consume(len(values), SECONDS):
            assert message.error() is None
            read.append(message.value())
    consumer.close()
    return read


def with_kafka_python(bootstrap: str, topic: str, values: list[bytes]) -> list[bytes]:
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap)
    for sent in [producer.send(topic, value) for value in values]:
        sent.get(SECONDS)
    producer.close()
    consumer = kafka.KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id="g-python", auto_offset_reset="earliest",
        consumer_timeout_ms=SECONDS * 1_000,
    )  # fmt: skip
    read = [message.value for message in itertools.islice(consumer, len(values))]
    consumer.close()
    return read


def with_the_sdk(bootstrap: str, topic: str, values: list[bytes]) -> list[bytes]:
    with pystream.Producer(bootstrap_servers=bootstrap) as producer:
        for value in values:
            producer.send(topic, value)
    with pystream.Consumer(bootstrap_servers=bootstrap, group_id="g-sdk", auto_offset_reset="earliest") as consumer:
        consumer.subscribe([topic])
        return [message.value for message in itertools.islice(consumer, len(values))]


@pytest.mark.parametrize("client", [with_confluent_kafka, with_kafka_python, with_the_sdk])
@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
@pytest.mark.parametrize("faults", [False, True], ids=["direct", "relayed"])
def test_every_client_produces_and_consumes_in_a_group(
    client: Callable[[str, str, list[bytes]], list[bytes]], process: bool, faults: bool
):
    values = [b"%d" % number for number in range(100)]
    with broker(process=process, faults=faults) as b:
        b.create_topic("t")
        assert client(b.bootstrap, "t", values) == values


def test_brokers_beside_one_another_know_nothing_of_each_other():
    with broker() as one, broker() as other, broker(process=True) as third:
        brokers: list[LocalBroker] = [one, other, third]
        for number, each in enumerate(brokers):
            each.create_topic(f"of-{number}")
            assert with_the_sdk(each.bootstrap, f"of-{number}", [b"x"]) == [b"x"]
        for number, each in enumerate(brokers):
            with pystream.AdminClient(bootstrap_servers=each.bootstrap) as admin:
                assert set(admin.list_topics()) == {f"of-{number}"}
        assert len({each.bootstrap for each in brokers}) == 3


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_a_restart_keeps_port_and_data(process: bool):
    with broker(process=process, num_partitions=3) as b:
        before = b.bootstrap
        b.create_topic("kept")
        with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
            producer.send("kept", b"first").result(SECONDS)
            b.restart()
            producer.send("kept", b"second").result(SECONDS)
        assert b.bootstrap == before
        assert with_the_sdk(b.bootstrap, "kept", [b"third"]) == [b"first"]


def test_a_killed_broker_comes_back_with_what_it_acknowledged():
    with broker(process=True, faults=True) as b:
        b.create_topic("t")
        with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
            producer.send("t", b"1").result(SECONDS)
            first = b.pid
            b.kill()
            assert not b.is_running
            b.start()
            assert b.pid != first
            producer.send("t", b"2").result(SECONDS)
        assert with_the_sdk(b.bootstrap, "t", [b"3"]) == [b"1"]


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_nothing_is_left_at_the_end(process: bool):
    before = set(threading.enumerate())
    with broker(process=process, faults=True) as b:
        b.create_topic("t")
        assert b.data_dir.is_dir()
        assert set(threading.enumerate()) - before
    b.close()
    assert not b.data_dir.exists()
    assert set(threading.enumerate()) <= before
    with pytest.raises(BrokerFailed, match="make a new one"):
        b.start()


def test_a_broker_that_hangs_is_an_error_and_no_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    async def never(_: Broker) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(embedded, "LONGEST_SECONDS", 0.2)
    monkeypatch.setattr(Broker, "start", never)
    before = set(threading.enumerate())

    with pytest.raises(BrokerFailed, match="not ready within"), broker():
        pass

    assert set(threading.enumerate()) <= before


def test_a_broker_in_memory_warns_of_nothing(caplog: pytest.LogCaptureFixture):
    """Its data is meant to go; what it says at info is for whoever wants to see it."""
    with caplog.at_level(logging.INFO), broker() as b:
        b.create_topic("t")
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []
    assert "broker ready" in caplog.text


def test_a_data_directory_that_was_given_is_kept_and_taken_up_again(tmp_path: Path):
    with broker(data_dir=tmp_path / "data") as b:
        b.create_topic("t", partitions=2, retention_ms=1_234)
    with broker(data_dir=tmp_path / "data") as b, pystream.AdminClient(bootstrap_servers=b.bootstrap) as admin:
        assert list(admin.list_topics()) == ["t"]


@pytest.mark.parametrize("process", [False, True], ids=["in this process", "in its own"])
def test_a_broker_that_does_not_start_says_why(process: bool, tmp_path: Path):
    (tmp_path / "data").write_text("a file where the directory should be")
    with pytest.raises(BrokerFailed, match=r"data"), broker(process=process, data_dir=tmp_path / "data"):
        pass
    with pytest.raises(InvalidConfig, match=r"num\.partitions"), broker(num_partitions=0):
        pass


def test_what_a_process_of_its_own_lacks_is_said():
    with broker(process=True) as b:
        with pytest.raises(NotThere, match="without process=True"):
            _ = b.clock
        with pytest.raises(NotThere, match="without process=True"):
            _ = b.disk
        with pytest.raises(NotThere, match="faults=True"):
            _ = b.faults
    with pytest.raises(NotThere, match="process=True"):
        broker(process=True, manual_clock=True)
    with broker() as b, pytest.raises(NotThere, match="process=True"):
        b.kill()


def test_a_broker_in_its_own_process_ends_with_the_test_run():
    script = (
        "import os, sys; from pystream.testing import broker\n"
        "b = broker(process=True).start(); print(b.pid, b.data_dir, flush=True); os._exit(0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=SECONDS)
    pid = int(result.stdout.split()[0])
    ends_at, pause = time.monotonic() + SECONDS, threading.Event()
    while runs(pid):
        assert time.monotonic() < ends_at
        pause.wait(0.02)


def runs(pid: int) -> bool:
    """False of one that has ended and whose new parent has not asked how, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_start_costs_less_than_a_tenth_of_a_second():
    """Of processor time, which a busy machine leaves as it is: 10 ms. The first start of a process pays for imports."""
    seconds = []
    for _ in range(6):
        began = time.process_time()
        with broker():
            seconds.append(time.process_time() - began)
    assert min(seconds[1:]) < 0.1, seconds


def test_the_asyncio_clients_run_on_uvloop():
    async def round_trip(bootstrap: str) -> list[bytes]:
        async with pystream.aio.Producer(bootstrap_servers=bootstrap) as producer:
            sent = [await producer.send("t", b"%d" % number) for number in range(10)]
            for delivery in sent:
                await delivery
        async with pystream.aio.Consumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign([("t", 0)])
            read: list[bytes] = []
            while len(read) < 10:
                read += [message.value for message in await consumer.poll(timeout=SECONDS)]
            return read

    with broker() as b:
        b.create_topic("t")
        assert uvloop.run(round_trip(b.bootstrap)) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("settings", ["num.partitions=3", [("num.partitions", 3)], {1: 2}])
def test_settings_that_are_no_names_with_values_are_refused(settings: Any):
    with pytest.raises(InvalidConfig, match="settings are names with values"):
        broker(settings)
