"""A broker that goes and comes back, deadlines, the end of the server, and servers that cannot start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pystream.client.grpc import connect
from pystream.client.grpc.faces import Admin
from pystream.client.grpc.messages import topics_pb2
from pystream.client.grpc.status import TRAILER, error_of
from pystream.common.errors import (
    ClientError,
    Closed,
    DeadlineExceeded,
    DeliveryTimeout,
    KafkaError,
    NoBrokersAvailable,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.testing import broker as embedded_broker
from tests.integration.services.conftest import fresh
from tests.support.admin_process import AdminProcess
from tests.support.broker_process import ROOT, BrokerProcess

TRIES = 20  # a server has a tenth of a second to say what was not done; on a busy machine the client is sooner
LIST_TOPICS = "/pystream.admin.v1.TopicService/ListTopics"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """One that may be stopped."""
    with BrokerProcess(tmp_path / "data", {"num.partitions": "1"}) as process:
        yield process


@pytest.fixture
def own_server(own_broker: BrokerProcess, tmp_path: Path) -> Iterator[AdminProcess]:
    with AdminProcess(own_broker.bootstrap, tmp_path / "admin.log") as process:
        yield process.wait_until_serving()


@pytest.fixture
def own_admin(own_server: AdminProcess) -> Iterator[Admin]:
    with connect(own_server.address) as client:
        yield client


# --- the broker -------------------------------------------------------------------------------------------------------


def test_a_broker_that_goes_is_unavailable_and_one_that_comes_back_is_found(
    own_admin: Admin, own_broker: BrokerProcess, own_server: AdminProcess
):
    name = fresh("kept")
    own_admin.topics.create_topics(topics=[name])
    with grpc.insecure_channel(own_server.address) as channel:
        health = iter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=120))
        assert next(health).status == SERVING

        own_broker.kill()
        assert next(health).status == NOT_SERVING
        with pytest.raises(PystreamError) as failed:
            own_admin.topics.list_topics(timeout=1)
        own_broker.start()
        assert next(health).status == SERVING

    assert isinstance(failed.value, DeadlineExceeded | NoBrokersAvailable | KafkaError)
    assert [each.name for each in own_admin.topics.list_topics(timeout=60).results] == [name]


def test_a_watch_outlives_its_broker(own_broker: BrokerProcess, tmp_path: Path):
    name = fresh("kept")
    settings = {"default.api.timeout.ms": "1000"}
    with AdminProcess(own_broker.bootstrap, tmp_path / "log", settings) as server, connect(server.address) as admin:
        admin.topics.create_topics(topics=[name])
        with admin.topics.watch_topics(interval_ms=100, timeout=120) as watch:
            assert [each.name for each in next(watch).results] == [name]
            own_broker.terminate()
            (failure,) = next(watch).failures
            own_broker.start()
            again = next(watch)
            while again.failures:
                again = next(watch)

    assert failure.item == "cluster"
    assert [each.name for each in again.results] == [name]


def test_a_tail_outlives_its_broker(own_admin: Admin, own_broker: BrokerProcess):
    name = fresh("tailed")
    own_admin.topics.create_topics(topics=[name])

    with own_admin.records.tail_records(topic=name, text=True, timeout=120) as tail:
        tail.wait_until_begun()
        own_broker.terminate()
        own_broker.start()
        own_admin.records.produce_records(topic=name, records=[{"value": {"text": "after"}}], timeout=60)
        assert next(tail).records[0].value.text == "after"


def test_a_server_starts_before_its_cluster(tmp_path: Path):
    broker = BrokerProcess(tmp_path / "data")
    with AdminProcess(broker.bootstrap, tmp_path / "log") as server, connect(server.address) as admin:
        with pytest.raises(PystreamError):
            admin.cluster.describe_cluster(timeout=0.5)
        with broker:
            assert admin.cluster.describe_cluster(timeout=60).result.brokers == 1


# --- deadlines --------------------------------------------------------------------------------------------------------


def test_a_deadline_is_the_operations_time_and_says_what_was_not_done(own_broker: BrokerProcess, own_admin: Admin):
    own_admin.topics.list_topics()
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        for _ in range(TRIES):
            with pytest.raises(DeadlineExceeded) as failed:
                own_admin.topics.list_topics(timeout=1)
            if "not done within" in str(failed.value):
                break
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)

    assert "list topics: not done within" in str(failed.value)
    assert own_admin.topics.list_topics(timeout=60) is not None


def test_records_that_were_not_acknowledged_in_time_are_told_one_by_one(tmp_path: Path):
    name = fresh("late")
    settings = {"stop.timeout.ms": "100"}  # what is in the buffer would be tried until then
    with (
        embedded_broker(faults=True) as b,
        AdminProcess(b.bootstrap, tmp_path / "log", settings) as server,
        connect(server.address) as admin,
    ):
        admin.topics.create_topics(topics=[name])
        b.faults.fail("Produce", "NOT_ENOUGH_REPLICAS")
        for _ in range(TRIES):
            with contextlib.suppress(DeadlineExceeded):
                answer = admin.records.produce_records(
                    topic=name, records=[{"value": {"text": "x"}, "partition": 0}, {"partition": 9}], timeout=2
                )
                break

    late, wrong = (error_of(result.error) for result in answer.results)
    assert isinstance(late, DeliveryTimeout)
    assert isinstance(wrong, UnknownTopicOrPartition)


def test_a_call_that_is_cancelled_leaves_the_server_in_order(own_broker: BrokerProcess, own_server: AdminProcess):
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        with grpc.insecure_channel(own_server.address) as channel:
            call = channel.unary_unary(LIST_TOPICS).future(b"", timeout=60)
            call.cancel()
            assert call.cancelled()
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)

    with connect(own_server.address) as admin:
        assert list(admin.topics.list_topics(timeout=60).failures) == []


# --- bad input on the wire --------------------------------------------------------------------------------------------


def refused(address: str, path: str, body: bytes) -> Any:
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(path)(body, timeout=60)
    return failed.value


@pytest.mark.parametrize("path", [LIST_TOPICS, "/pystream.admin.v1.TopicService/WatchTopics"])
def test_bytes_that_are_no_message_are_refused(server: AdminProcess, path: str):
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            list(channel.unary_stream(path)(b"\xff\xff\xff", timeout=60))

    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_method_that_is_not_there_is_unimplemented(server: AdminProcess):
    path = "/pystream.admin.v1.TopicService/Frobnicate"

    assert refused(server.address, path, b"").code() is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_wrong_comes_as_googles_status_with_each_field(server: AdminProcess):
    request = topics_pb2.CreateTopicsRequest(partitions=-1)

    error = refused(server.address, "/pystream.admin.v1.TopicService/CreateTopics", request.SerializeToString())

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (raw,) = [value for name, value in error.trailing_metadata() if name == TRAILER]
    status = status_pb2.Status.FromString(raw)
    assert "partitions: -1" in str(error_of(status))
    names: list[any_pb2.Any] = list(status.details)
    assert [each.TypeName() for each in names] == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    names[0].Unpack(info)
    names[1].Unpack(bad)
    assert (info.reason, info.metadata["code"]) == ("INVALID_REQUEST", "42")
    assert [each.field for each in bad.field_violations] == ["topics", "partitions"]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_streams_lets_calls_end_and_exits_cleanly(own_broker: BrokerProcess, tmp_path: Path):
    name = fresh("drained")
    settings = {"health.interval.ms": "3600000"}  # nobody but the call asks the broker
    with AdminProcess(own_broker.bootstrap, tmp_path / "log", settings) as server, connect(server.address) as admin:
        admin.topics.create_topics(topics=[name])
        connections = set(waiting_bytes(own_broker))
        tail = admin.records.tail_records(topic=name, timeout=60)
        tail.wait_until_begun()
        os.kill(own_broker.pid, signal.SIGSTOP)  # a call is under way when the server is told to stop
        with ThreadPoolExecutor() as pool:
            listed = pool.submit(admin.topics.list_topics, timeout=30)
            pause = threading.Event()
            while not any(waiting_bytes(own_broker).get(each) for each in connections):
                pause.wait(0.01)
            server.signal_stop()
            with pytest.raises(Closed, match="stopping"):
                next(tail)
            os.kill(own_broker.pid, signal.SIGCONT)
            assert [each.name for each in listed.result(60).results] == [name]
        assert server.wait() == 0


def waiting_bytes(broker: BrokerProcess) -> dict[str, int]:
    """What the broker's connections, by their clients' addresses, have received and it has not read."""
    columns = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {each[2]: int(each[4].split(":")[1], 16) for each in columns if each[1].endswith(f":{broker.port:04X}")}


def test_an_address_that_is_taken_is_exit_code_one(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run_admin("--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    assert result.returncode == 1
    assert "cannot listen" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--listen", "nowhere"), "listen"),
        (("--bootstrap", "x"), "bootstrap.servers"),
        (("--set", "max.streams=-1"), "max.streams"),
        (("--set", "max.streams"), "KEY=VALUE"),
        (("--listen", "0.0.0.0:9095"), "listeners.public.allow"),
        (("--listen", "somewhere:9095"), "listeners.public.allow"),
        (("--set", "metrics.listener=https://127.0.0.1:1"), "metrics.listener"),
        (("--set", "metrics.listener=http://0.0.0.0:1"), "listeners.public.allow"),
    ],
)
def test_a_wrong_setting_is_wrong_usage(arguments: tuple[str, ...], said: str):
    result = run_admin(*arguments)

    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_help_shows_an_example():
    result = run_admin("--help")

    assert result.returncode == 0
    assert "Examples: pystream admin --bootstrap" in " ".join(result.stdout.split())


def run_admin(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pystream.cli.main", "admin", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- metrics over HTTP ------------------------------------------------------------------------------------------------


def test_metrics_and_health_are_served_where_that_is_wanted(broker: BrokerProcess, tmp_path: Path):
    settings = {"metrics.listener": "http://127.0.0.1:0"}
    with AdminProcess(broker.bootstrap, tmp_path / "log", settings) as server, connect(server.address) as admin:
        server.wait_until_serving()
        admin.topics.list_topics(timeout=60)
        metrics = httpx.get(f"http://{server.metrics_address}/metrics")
        health = httpx.get(f"http://{server.metrics_address}/health")

    assert 'pystream_admin_calls_total{method="TopicService/ListTopics",code="OK"} 1' in metrics.text
    assert (health.status_code, health.json()["status"]) == (200, "ok")


# --- without gRPC -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["grpc", "google.rpc"])
def test_without_grpc_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str):
    from pystream.client.grpc import connection

    monkeypatch.setattr(connection, "find_spec", lambda name: None if name == package else object())

    with pytest.raises(ClientError, match=r"pip install 'pystream\[grpc\]'"):
        connect("127.0.0.1:1")


def test_nothing_of_grpc_is_imported_before_it_is_used():
    script = "import sys, pystream, pystream.client.grpc, pystream.services.admin.process; print('grpc' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "False\n"


def test_streams_of_health_and_of_reflection_leave_room_for_calls(broker: BrokerProcess, tmp_path: Path):
    def health(channel: grpc.Channel) -> Any:
        return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=120)

    def reflection(channel: grpc.Channel) -> Any:
        return reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked(), timeout=120)

    def asked() -> Iterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        over.wait(120)

    over = threading.Event()
    with AdminProcess(broker.bootstrap, tmp_path / "log", {"max.concurrent.calls": "16"}) as server:
        with grpc.insecure_channel(server.address) as channel, connect(server.address) as admin:
            for streams_of in (health, reflection):
                streams = [streams_of(channel) for _ in range(4)]
                assert all(next(stream) for stream in streams)
                with pytest.raises(grpc.RpcError, match="as many as the server allows") as refused:
                    next(streams_of(channel))
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert admin.cluster.describe_cluster(timeout=60).result.brokers == 1
            over.set()


def test_a_server_that_is_not_there_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with connect(f"127.0.0.1:{unused.getsockname()[1]}") as admin, pytest.raises(NoBrokersAvailable):
            admin.topics.list_topics(timeout=30)
