"""What a broker refuses to start on, what it tells each listener, and what is left of work in flight when it stops."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pystream.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from pystream.protocol.messages.metadata import MetadataRequest
from tests.support.broker_process import BrokerFailed, BrokerProcess
from tests.support.raw_client import RawClient

TIMEOUT_SECONDS = 60.0
LATEST = -1
MakeBroker = Callable[..., BrokerProcess]


def create(broker: BrokerProcess, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(TIMEOUT_SECONDS)


def health(broker: BrokerProcess) -> tuple[int, dict[str, object]]:
    """Status and body of /health."""
    host, _, port = broker.metrics_url.removeprefix("http://").rpartition(":")
    with closing(HTTPConnection(host, int(port), TIMEOUT_SECONDS)) as connection:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def refusal(broker: BrokerProcess) -> str:
    """What the broker says when it does not start; it ends by itself and shows no traceback."""
    with pytest.raises(BrokerFailed) as refused:
        broker.start()
    text = str(refused.value)
    assert "Traceback" not in text
    return text


def test_a_directory_of_another_broker_is_refused(make_broker: MakeBroker, tmp_path: Path):
    make_broker().start().terminate()

    text = refusal(make_broker({"node.id": "2"}))

    assert "node.id" in text or "broker" in text.lower()
    assert str(tmp_path / "data") in text


def test_damaged_metadata_is_refused_and_not_touched(make_broker: MakeBroker, tmp_path: Path):
    broker = make_broker().start()
    create(broker, "orders")
    broker.terminate()
    database = tmp_path / "data" / "metadata.db"
    damaged = b"not a database".ljust(len(database.read_bytes()), b"!")
    database.write_bytes(damaged)

    text = refusal(make_broker())

    assert "metadata.db" in text
    assert database.read_bytes() == damaged


def test_a_partition_whose_log_is_gone_begins_empty_and_is_told_of(make_broker: MakeBroker, tmp_path: Path):
    broker = make_broker().start()
    create(broker, "orders")
    create(broker, "kept")
    broker.terminate()
    before = broker.log_tail()
    shutil.rmtree(tmp_path / "data" / "orders-0")

    broker.start()
    broker.terminate()

    (told,) = [line for line in broker.log_tail().splitlines() if "begin empty" in line]
    assert "ERROR" in told
    assert "orders-0" in told
    assert "kept-0" not in told
    assert "begin empty" not in before
    assert (tmp_path / "data" / "orders-0").is_dir()


def test_a_broker_whose_log_directory_is_gone_is_not_well(make_broker: MakeBroker, tmp_path: Path):
    with make_broker() as broker:
        well = ill = health(broker)
        (tmp_path / "data").rename(tmp_path / "gone")
        while ill[0] == 200:  # the broker looks once a second
            ill = health(broker)

    assert well[0] == 200
    assert (well[1]["status"], well[1]["offline_log_dirs"], well[1]["full_log_dirs"]) == ("ok", 0, 0)
    assert ill[0] == 503
    assert (ill[1]["status"], ill[1]["offline_log_dirs"]) == ("failing", 1)


def test_a_file_in_the_place_of_the_data_directory_is_refused(make_broker: MakeBroker, tmp_path: Path):
    (tmp_path / "data").write_text("in the way")

    assert str(tmp_path / "data") in refusal(make_broker())


def test_each_listener_tells_its_own_address(make_broker: MakeBroker):
    arguments = ("--listener", "INSIDE://127.0.0.1:0", "--set", "advertised.listeners=PLAINTEXT://localhost:0")
    settings = {"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT"}
    with make_broker(settings, arguments=arguments) as broker:
        inside = int(broker.listeners["INSIDE"].rpartition(":")[2])
        told = {}
        for port in (broker.port, inside):
            with RawClient(port) as client:
                (node,) = client.call(MetadataRequest(topics=()), 12).brokers
                told[port] = (node.host, node.port)

    assert told == {broker.port: ("localhost", broker.port), inside: ("127.0.0.1", inside)}


def test_what_was_acknowledged_while_the_broker_stopped_is_there_after_it(make_broker: MakeBroker):
    broker = make_broker().start()
    create(broker, "orders")
    acknowledged = threading.Semaphore(0)
    highest = -1

    def delivered(error: object, message: object) -> None:
        nonlocal highest
        if error is None:
            highest = max(highest, message.offset())  # type: ignore[attr-defined]
            acknowledged.release()

    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "message.timeout.ms": 60_000})
    for number in range(500):
        producer.produce("orders", str(number), on_delivery=delivered)
        producer.poll(0)
    while not acknowledged.acquire(blocking=False):
        producer.poll(0.1)

    assert broker.terminate() == 0
    producer.purge()
    producer.flush(TIMEOUT_SECONDS)
    with broker, RawClient(broker.port) as client:
        partition = ListOffsetsPartition(partition_index=0, timestamp=LATEST)
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name="orders", partitions=[partition])])
        end = client.call(request, 7).topics[0].partitions[0].offset

    assert end > highest >= 0
