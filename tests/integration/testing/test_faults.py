"""Faults that a test orders meet the clients that they are meant for, as often as ordered."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest

import pystream
from pystream._native.wire import Reader
from pystream.broker.registry import Registry
from pystream.common.error_codes import NOT_COORDINATOR
from pystream.common.errors import (
    Closed,
    DeliveryTimeout,
    NotEnoughReplicas,
    TopicAuthorizationFailed,
)
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ADVERTISED, ApiKey, name_of
from pystream.protocol.catalogue import request_class, response_class
from pystream.protocol.headers import RequestHeader, encode_request, read_response_header
from pystream.testing import EmbeddedBroker, broker
from pystream.testing.refusals import refusal

SECONDS = 120


@pytest.fixture
def b() -> Iterator[EmbeddedBroker]:
    with broker(faults=True) as made:
        made.create_topic("t")
        yield made


def values(b: EmbeddedBroker) -> list[bytes]:
    """What the log holds, read past the faults."""
    partition = TopicPartition("t", 0)
    read: list[bytes] = []
    with pystream.Consumer(bootstrap_servers=b.direct_bootstrap) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning()
        end = consumer.end_offsets([partition])[partition]
        while consumer.position(partition) < end:
            read += [message.value for message in consumer.poll(timeout=SECONDS)]
    return read


def test_an_error_that_passes_is_borne_by_a_producer(b: EmbeddedBroker):
    fault = b.faults.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        assert producer.send("t", b"v").result(SECONDS)
    assert fault.strikes == 2
    assert values(b) == [b"v"]


def test_an_error_that_stays_reaches_the_caller_until_the_block_ends(b: EmbeddedBroker):
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        with b.faults.fail(ApiKey.PRODUCE, "TOPIC_AUTHORIZATION_FAILED"), pytest.raises(TopicAuthorizationFailed):
            producer.send("t", b"refused").result(SECONDS)
        producer.send("t", b"taken").result(SECONDS)
    assert values(b) == [b"taken"]


def test_other_clients_meet_the_same_errors(b: EmbeddedBroker):
    fault = b.faults.fail("Produce", "NOT_ENOUGH_REPLICAS", times=1)
    failed: list[object] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": b.bootstrap, "retries": 0})
    producer.produce("t", b"v", on_delivery=lambda error, _: failed.append(error.code()))
    assert producer.flush(SECONDS) == 0
    assert failed == [NotEnoughReplicas.code]
    assert fault.strikes == 1


def test_an_answer_that_is_lost_makes_no_second_copy(b: EmbeddedBroker):
    fault = b.faults.lose("Produce", times=3)
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        for number in range(5):
            producer.send("t", b"%d" % number).result(SECONDS)
    assert fault.strikes == 3
    assert values(b) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_request_that_is_dropped_was_never_seen(b: EmbeddedBroker):
    fault = b.faults.drop("Produce")
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        delivery = producer.send("t", b"v")
        fault.wait(2)
        assert values(b) == []
        fault.remove()
        delivery.result(SECONDS)
    assert values(b) == [b"v"]


def test_a_delayed_request_waits_and_is_done(b: EmbeddedBroker):
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        producer.send("t", b"0").result(SECONDS)
        b.faults.delay("Produce", ms=300, times=1)
        began = time.monotonic()
        producer.send("t", b"1").result(SECONDS)
        assert time.monotonic() - began > 0.29  # timers count whole milliseconds
    assert values(b) == [b"0", b"1"]


def test_a_fault_of_one_client_spares_the_others(b: EmbeddedBroker):
    fault = b.faults.fail("Produce", "TOPIC_AUTHORIZATION_FAILED", client_id="bad")
    with (
        pystream.Producer(bootstrap_servers=b.bootstrap, client_id="bad") as bad,
        pystream.Producer(bootstrap_servers=b.bootstrap, client_id="good") as good,
    ):
        good.send("t", b"good").result(SECONDS)
        with pytest.raises(TopicAuthorizationFailed):
            bad.send("t", b"bad").result(SECONDS)
    assert fault.strikes == 1
    assert values(b) == [b"good"]


def test_answers_keep_the_order_of_requests_when_some_are_refused(b: EmbeddedBroker):
    """A refused Heartbeat behind a Fetch that waits is answered after it."""

    def sent(key: ApiKey, number: int, **fields: object) -> bytes:
        version = ADVERTISED[key][0]
        header = RequestHeader(api_key=key, api_version=version, correlation_id=number, client_id="c")
        frame = encode_request(header, request_class(key)(**fields))
        return len(frame).to_bytes(4, "big") + frame

    b.faults.fail("Heartbeat", "REBALANCE_IN_PROGRESS")
    host, _, port = b.bootstrap.partition(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(
            sent(ApiKey.HEARTBEAT, 1) + sent(ApiKey.FETCH, 2, max_wait_ms=100, min_bytes=1) + sent(ApiKey.HEARTBEAT, 3)
        )
        with connection.makefile("rb") as answers:
            order = []
            for _ in range(3):
                frame = answers.read(int.from_bytes(answers.read(4), "big"))
                order.append(int.from_bytes(frame[:4], "big"))
    assert order == [1, 2, 3]


def test_connections_break_and_are_made_again(b: EmbeddedBroker):
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        producer.send("t", b"0").result(SECONDS)
        assert b.faults.drop_connections() >= 1
        producer.send("t", b"1").result(SECONDS)
    assert values(b) == [b"0", b"1"]


def test_a_broker_that_is_away_refuses_connections_and_comes_back(b: EmbeddedBroker):
    host, _, port = b.bootstrap.partition(":")
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        producer.send("t", b"0").result(SECONDS)
        with b.faults.refused_connections():
            delivery = producer.send("t", b"1")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), SECONDS)
            assert not delivery.done()
        delivery.result(SECONDS)
    assert values(b) == [b"0", b"1"]


def test_lengths_that_no_broker_takes_close_the_connection_as_the_broker_does(b: EmbeddedBroker):
    """What is no Kafka client ("GET " is 1.2 GB) is not waited for, and is no failure of the kit."""
    for bootstrap in (b.bootstrap, b.direct_bootstrap):
        for said in (b"GET / HTTP/1.1\r\n\r\n", (-5).to_bytes(4, "big", signed=True), b"\x7f\xff\xff\xff"):
            host, _, port = bootstrap.partition(":")
            with socket.create_connection((host, int(port)), SECONDS) as connection:
                connection.sendall(said)
                try:
                    assert connection.recv(1) == b""
                except ConnectionResetError:
                    continue


def test_whoever_connects_while_connections_are_refused_is_not_served(b: EmbeddedBroker):
    """Also where the connection was taken from the queue a moment before."""
    host, _, port = b.bootstrap.partition(":")
    for _ in range(50):
        with socket.create_connection((host, int(port)), SECONDS) as connection, b.faults.refused_connections():
            connection.settimeout(SECONDS)
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                continue


def test_a_disk_that_is_full_fails_produce_until_the_restart(b: EmbeddedBroker):
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        producer.send("t", b"0").result(SECONDS)
    with pystream.Producer(
        bootstrap_servers=b.bootstrap, delivery_timeout_ms=5_000, request_timeout_ms=4_000
    ) as producer:
        b.disk.fail(errno.EIO, call="pwritev")
        with pytest.raises(DeliveryTimeout, match="Disk error"):
            producer.send("t", b"1").result(SECONDS)
        b.disk.repair()
        b.restart()
    with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
        producer.send("t", b"2").result(SECONDS)
    assert values(b) == [b"0", b"2"]


def test_what_cannot_be_ordered_is_said(b: EmbeddedBroker):
    with pytest.raises(ValueError, match="Produce, Fetch"):
        b.faults.fail("Prodcue", "NOT_COORDINATOR")
    with pytest.raises(ValueError, match="NOT_LEADER_OR_FOLLOWER"):
        b.faults.fail("Produce", "NOT_A_LEADER")
    with pytest.raises(ValueError, match="times"):
        b.faults.drop("Produce", times=0)
    with pytest.raises(TimeoutError, match="0 so far"):
        b.faults.drop("Produce").wait(timeout_s=0)
    with pytest.raises(ValueError, match="no such rule"):
        b.disk.fail(errno.EIO, call="write")


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": 0},
        {"times": 1.5},
        {"times": True},
        {"client_id": 5},
        {"ms": math.nan},
        {"ms": -1},
        {"ms": 1e12},
        {"api": 9_999},
        {"api": None},
        {"api": True},
    ],
    ids=repr,
)
def test_what_is_no_fault_is_refused(b: EmbeddedBroker, wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"times is 1 or more|a client's id|a delay of|no API key"):
        b.faults.delay(**{"api": "Fetch", "ms": 1, **wrong})


@pytest.mark.parametrize("error", [None, True, 1.0, "NOPE", 0])
def test_what_is_no_error_of_kafkas_is_no_answer(b: EmbeddedBroker, error: Any):
    with pytest.raises(ValueError, match="no error of Kafka"):
        b.faults.fail("Fetch", error)


def test_a_disk_does_not_fail_with_what_is_no_errno(b: EmbeddedBroker):
    for wrong in (0, -5, 99_999):
        with pytest.raises(ValueError, match="is no errno"):
            b.disk.fail(wrong)
    with pytest.raises(ValueError, match="after=-1"):
        b.disk.fail(errno.EIO, after=-1)


def test_a_request_that_does_not_parse_is_left_to_the_broker_whatever_is_ordered(b: EmbeddedBroker):
    fault = b.faults.fail("Metadata", "UNKNOWN_TOPIC_OR_PARTITION")
    garbage = b"\x00\x03\x00\x01\x00\x00\x00\x07\x00\x01x" + b"\x7f\xff"  # Metadata 1 of more topics than bytes
    with socket.create_connection(("127.0.0.1", b.port), SECONDS) as connection:
        connection.sendall(len(garbage).to_bytes(4, "big") + garbage)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""  # closed, as by the broker; and no failure of the relay at the end
    assert fault.strikes == 1


def test_faults_of_a_closed_broker_say_so():
    made = broker(faults=True)
    made.close()
    for call in (made.faults.drop_connections, made.faults.refuse_connections, made.faults.clear):
        with pytest.raises(Closed, match="the broker that it was for is closed"):
            call()


@pytest.mark.parametrize(("key", "low", "high"), Registry().advertised(), ids=lambda key: name_of(key))
def test_every_key_has_a_refusal_in_every_version(key: int, low: int, high: int):
    for version in range(max(low, min(request_class(key).READERS)), high + 1):
        header = RequestHeader(api_key=key, api_version=version, correlation_id=7, client_id="c")
        answer = Reader(refusal(encode_request(header, request_class(key)()), NOT_COORDINATOR))
        assert read_response_header(answer, key, version) == 7
        response_class(key).read(answer, version)
        answer.finish()
