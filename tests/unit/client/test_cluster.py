"""What a client knows of a cluster, against brokers that come, go and change their minds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.connections import Connections
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.metadata import ClusterMetadata, Leader, Node
from pystream.client.config import AdminConfig
from pystream.common.clock import ManualClock
from pystream.common.error_codes import (
    COORDINATOR_NOT_AVAILABLE,
    GROUP_AUTHORIZATION_FAILED,
    LEADER_NOT_AVAILABLE,
    REBOOTSTRAP_REQUIRED,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import (
    BrokerNotAvailable,
    ClientError,
    ClientForked,
    Closed,
    ConnectFailed,
    DeadlineExceeded,
    Disconnected,
    GroupAuthorizationFailed,
    NoBrokersAvailable,
    RebootstrapRequired,
    RequestTimedOut,
    TopicAuthorizationFailed,
    UnknownTopicOrPartition,
)
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from pystream.protocol.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from tests.support.ports import nobodys
from tests.support.scripted_broker import ScriptedBroker

TEST_SECONDS = 120
SOME_TRIES_MS = 2_000  # a busy machine, and a sanitizer, need some of it for the first one
QUICK: dict[str, Any] = {
    "retry_backoff_ms": 1,
    "retry_backoff_max_ms": 4,
    "reconnect_backoff_ms": 1,
    "reconnect_backoff_max_ms": 4,
}
Work = Callable[[Cluster, ScriptedBroker], Awaitable[None]]


def topic(name: str, leaders: list[tuple[int, int]], *, error_code: int = 0, topic_id: bytes = b"t" * 16) -> Any:
    """A topic whose partitions have these leaders and epochs."""
    partitions = [
        MetadataResponsePartition(partition_index=index, leader_id=leader, leader_epoch=epoch)
        for index, (leader, epoch) in enumerate(leaders)
    ]
    return MetadataResponseTopic(name=name, topic_id=topic_id, error_code=error_code, partitions=partitions)


def metadata(broker: ScriptedBroker, *topics: Any, node_id: int = 1) -> MetadataResponse:
    brokers = [MetadataResponseBroker(node_id=node_id, host="127.0.0.1", port=broker.port)]
    return MetadataResponse(brokers=brokers, topics=list(topics), controller_id=node_id, cluster_id="scripted")


def run(work: Work, **settings: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.on(ApiKey.METADATA, lambda _: metadata(broker))
            config = AdminConfig.load({**QUICK, "bootstrap_servers": f"127.0.0.1:{broker.port}", **settings})
            async with Cluster(config) as cluster:
                await work(cluster, broker)
            assert asyncio.all_tasks() - {asyncio.current_task()} - broker._tasks == set()

    asyncio.run(whole())


def test_many_who_ask_at_once_share_one_request():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await asyncio.gather(*(cluster.refresh() for _ in range(50)))
        assert len(broker.asked(ApiKey.METADATA)) == 1

    run(work)


def test_who_asks_while_a_request_is_under_way_gets_the_next_one():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        asked, answers = asyncio.Event(), 0

        def answer(_: Any) -> MetadataResponse:
            nonlocal answers
            answers += 1
            asked.set()
            return metadata(broker, topic(f"answer-{answers}", [(1, 0)]))

        broker.on(ApiKey.METADATA, answer)
        cluster.track_all()
        first = asyncio.create_task(cluster.refresh())
        await asked.wait()
        later = await asyncio.gather(*(cluster.refresh() for _ in range(5)))
        assert list((await first).topics) == ["answer-1"]
        assert {name for found in later for name in found.topics} == {"answer-2"}

    run(work)


def test_a_dead_bootstrap_server_is_passed_over():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        config = AdminConfig.load(QUICK, bootstrap_servers=[f"127.0.0.1:{nobodys()}", f"127.0.0.1:{broker.port}"])
        async with Cluster(config) as other:
            assert (await other.refresh()).cluster_id == "scripted"

    run(work)


def test_when_nobody_can_be_reached_each_is_named():
    async def whole() -> None:
        ports = [nobodys(0), nobodys(1)]
        config = AdminConfig.load(QUICK, bootstrap_servers=[f"127.0.0.1:{port}" for port in ports])
        async with Cluster(config) as cluster:
            with pytest.raises(NoBrokersAvailable, match=f"{ports[0]}.*{ports[1]}"):
                await cluster.refresh()
            with pytest.raises(DeadlineExceeded, match=r"metadata of topic 'a'.*no broker could be reached"):
                await cluster.topic("a", timeout_ms=SOME_TRIES_MS)

    asyncio.run(whole())


def test_a_topic_is_waited_for_while_it_gets_its_leader():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        answers = iter(
            [
                topic("orders", [], error_code=UNKNOWN_TOPIC_OR_PARTITION),
                topic("orders", [], error_code=LEADER_NOT_AVAILABLE),
                topic("orders", [(1, 5), (-1, 5)]),
            ]
        )
        broker.on(ApiKey.METADATA, lambda _: metadata(broker, next(answers)))
        found = await cluster.topic("orders")
        assert found.partition_count == 2
        assert cluster.leader_of("orders", 0) == Leader(1, 5)
        assert cluster.leader_of("orders", 1) is None
        assert cluster.leader_of("orders", 2) is None
        assert cluster.leader_of("other", 0) is None
        assert cluster.metadata.topic_by_id(b"t" * 16) is found
        assert await cluster.topic("orders") is found
        assert len(broker.asked(ApiKey.METADATA)) == 3

    run(work)


def test_a_topic_that_never_comes_is_named_with_what_to_do():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        missing = topic("orders", [], error_code=UNKNOWN_TOPIC_OR_PARTITION)
        broker.on(ApiKey.METADATA, lambda _: metadata(broker, missing))
        with pytest.raises(UnknownTopicOrPartition, match=r"'orders' does not exist.*create it first"):
            await cluster.topic("orders", timeout_ms=SOME_TRIES_MS)

    run(work)


def test_a_topic_that_may_not_be_seen_fails_at_once():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        secret = topic("secret", [], error_code=TOPIC_AUTHORIZATION_FAILED)
        broker.on(ApiKey.METADATA, lambda _: metadata(broker, secret))
        with pytest.raises(TopicAuthorizationFailed, match="topic 'secret'"):
            await cluster.topic("secret")
        assert len(broker.asked(ApiKey.METADATA)) == 1

    run(work)


def test_only_tracked_topics_are_asked_for():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        def answer(request: Any) -> MetadataResponse:
            return metadata(broker, *(topic(each.name, [(1, 0)]) for each in request.topics))

        broker.on(ApiKey.METADATA, answer)
        cluster.track(["a", "b"])
        assert set((await cluster.refresh()).topics) == {"a", "b"}
        cluster.untrack(["a"])
        assert set((await cluster.refresh()).topics) == {"b"}
        assert [each.allow_auto_topic_creation for each in broker.asked(ApiKey.METADATA)] == [False, False]

    run(work)


def test_an_older_leader_epoch_is_not_believed_until_the_topic_is_another():
    broker = ScriptedBroker()
    known = ClusterMetadata().merged(metadata(broker, topic("a", [(1, 7)])), whole=False)
    older = known.merged(metadata(broker, topic("a", [(2, 6)])), whole=False)
    assert older.leader_of("a", 0) == Leader(1, 7)
    reborn = known.merged(metadata(broker, topic("a", [(2, 0)], topic_id=b"n" * 16), node_id=2), whole=False)
    assert reborn.leader_of("a", 0) == Leader(2, 0)


def test_a_newer_leader_is_believed_from_whoever_tells():
    broker = ScriptedBroker()
    known = ClusterMetadata().merged(metadata(broker, topic("a", [(1, 7)])), whole=False)
    node = Node(2, "elsewhere", 9092)
    assert known.with_leader("a", 0, Leader(2, 7), node) is known
    assert known.with_leader("a", 0, Leader(2, 8), None) is known  # nobody knows where 2 is
    assert known.with_leader("a", 9, Leader(2, 8), node) is known
    newer = known.with_leader("a", 0, Leader(2, 8), node)
    assert newer.leader_of("a", 0) == Leader(2, 8)
    assert newer.nodes[2] == node


def test_subscribers_hear_of_each_change():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        heard: list[ClusterMetadata] = []
        broker.on(ApiKey.METADATA, lambda _: metadata(broker, topic("a", [(1, 1)])))
        cluster.subscribe(heard.append)
        cluster.track(["a"])
        await cluster.refresh()
        cluster.note_leader("a", 0, Leader(1, 2))
        cluster.note_leader("a", 0, Leader(1, 2))
        assert [found.leader_of("a", 0) for found in heard] == [Leader(1, 1), Leader(1, 2)]

    run(work)


def test_metadata_that_is_too_old_is_renewed():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        renewed = asyncio.Event()
        await cluster.refresh()
        cluster.subscribe(lambda _: renewed.set())
        await renewed.wait()

    run(work, metadata_max_age_ms=5)


def test_stale_metadata_is_renewed_even_when_the_first_attempts_fail():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        renewed = asyncio.Event()
        cluster.subscribe(lambda _: renewed.set())
        await broker.stop()
        cluster.refresh_soon()
        cluster.refresh_soon()
        with pytest.raises(NoBrokersAvailable):
            await cluster.refresh()
        await broker.start()
        await renewed.wait()

    run(work)


def test_a_broken_connection_is_replaced_when_it_is_needed():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        first = await cluster.connection_to(1)
        assert await cluster.connection_to(1) is first
        await broker.drop()
        await first._lost
        second = await cluster.connection_to(1)
        assert second is not first
        assert second.is_open

    run(work)


def test_everybody_who_asks_while_it_is_opened_gets_the_same_connection():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        before = broker.connections
        found = await asyncio.gather(*(cluster.connection_to(1, "fetch") for _ in range(20)))
        assert len(set(map(id, found))) == 1
        assert broker.connections == before + 1
        assert found[0] is not await cluster.connection_to(1)

    run(work)


def test_a_caller_that_gives_up_does_not_take_the_connection_from_the_others():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        impatient = asyncio.create_task(cluster.connection_to(1, "fetch"))
        patient = asyncio.create_task(cluster.connection_to(1, "fetch"))
        await asyncio.wait([impatient], timeout=0)
        impatient.cancel()
        assert (await patient).is_open

    run(work)


def test_failures_to_connect_are_spaced_out():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        node = Node(5, "127.0.0.1", nobodys())
        connections = Connections(cluster.config, HurriedClock())
        waits = []
        for _ in range(4):
            with pytest.raises(ConnectFailed, match="is a broker listening there"):
                await connections.get(node)
            waits.append(connections.wait_ms(5))
        assert [round(wait, -3) for wait in waits[:1]] == [1_000]
        assert waits[0] < waits[1] < waits[2] < waits[3] <= 9_600
        assert connections.wait_ms(1) == 0
        assert connections.metrics()["connection-failure-total"] == 4
        await connections.close()

    run(work, reconnect_backoff_ms=1_000, reconnect_backoff_max_ms=60_000)


class HurriedClock(ManualClock):
    """Sleeping takes no time but moves the clock."""

    async def sleep_ms(self, duration_ms: int) -> None:
        self.advance(max(duration_ms, 0))


class StuckClock(ManualClock):
    """Time stands still; sleeping lasts for ever."""

    async def sleep_ms(self, duration_ms: int) -> None:
        await asyncio.get_running_loop().create_future()


async def waiting_for_its_back_off(cluster: Cluster, node: Node) -> tuple[Connections, asyncio.Task[Any]]:
    """Somebody waits for a connection to a broker that is down."""
    connections = Connections(cluster.config, StuckClock())
    with pytest.raises(ConnectFailed):
        await connections.get(node)
    waiting = asyncio.create_task(connections.get(node))
    await asyncio.wait([waiting], timeout=0)
    return connections, waiting


def test_who_waits_for_a_broker_that_leaves_the_cluster_gets_an_error_and_is_not_cancelled():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        connections, waiting = await waiting_for_its_back_off(cluster, Node(5, "127.0.0.1", nobodys()))
        connections.forget_absent({1})
        with pytest.raises(ConnectFailed, match="broker 5 has left the cluster, or has moved"):
            await waiting
        await connections.close()

    run(work)


def test_who_waits_for_a_broker_that_moves_gets_an_error_and_is_not_cancelled():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        connections, waiting = await waiting_for_its_back_off(cluster, Node(5, "127.0.0.1", nobodys()))
        assert (await connections.get(Node(5, "127.0.0.1", broker.port))).is_open
        with pytest.raises(ConnectFailed, match="has moved"):
            await waiting
        await connections.close()

    run(work)


def test_who_waits_for_a_broker_when_the_client_closes_is_told_so():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        connections, waiting = await waiting_for_its_back_off(cluster, Node(5, "127.0.0.1", nobodys()))
        await connections.close()
        with pytest.raises(Closed):
            await waiting

    run(work)


def test_what_was_asked_of_a_broker_that_moves_can_be_asked_again():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        connections = Connections(cluster.config, cluster.clock)
        connection = await connections.get(Node(5, "localhost", broker.port))
        broker.on(ApiKey.METADATA, lambda _: None)
        answer = connection.request(MetadataRequest())
        await connections.get(Node(5, "127.0.0.1", broker.port))
        with pytest.raises(Disconnected, match="has moved"):
            await answer
        await connections.close()

    run(work)


@pytest.mark.parametrize("node", [Node(5, "no\0name", 9092), Node(5, "a" * 70, 9092), Node(5, "127.0.0.1", 1 << 17)])
def test_an_address_that_cannot_be_is_a_broker_that_cannot_be_reached(node: Node):
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        with pytest.raises(ConnectFailed):
            await cluster.connections.get(node)

    run(work)


def test_a_broker_that_cannot_be_reached_is_told_in_the_log_now_and_then(caplog: pytest.LogCaptureFixture):
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        clock = HurriedClock()
        connections = Connections(cluster.config, clock)
        node = Node(5, "127.0.0.1", nobodys())
        for _ in range(100):
            with pytest.raises(ConnectFailed):
                await connections.get(node)
        assert clock.monotonic_ms() > 70_000
        await connections.close()

    with caplog.at_level("WARNING", "pystream.client"):
        run(work, reconnect_backoff_ms=1_000, reconnect_backoff_max_ms=1_000)
    lines = [record.getMessage() for record in caplog.records]
    assert 3 <= len(lines) <= 5
    assert all("broker cannot be reached" in line and "broker=5" in line and "127.0.0.1:" in line for line in lines)


def test_a_broker_that_nobody_knows():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        with pytest.raises(BrokerNotAvailable, match=r"broker 9 is not among \[1\]"):
            await cluster.connection_to(9)

    run(work)


def test_a_cluster_that_moved_is_found_again_by_its_bootstrap_servers():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        async with ScriptedBroker() as elsewhere:
            elsewhere.on(ApiKey.METADATA, lambda _: metadata(elsewhere, node_id=7))
            broker.on(ApiKey.METADATA, lambda _: metadata(elsewhere, node_id=7))
            assert set((await cluster.refresh()).nodes) == {7}
            connection = await cluster.connection_to(7)
            port = elsewhere.port
        await connection._lost
        await broker.drop()
        broker.on(ApiKey.METADATA, lambda _: metadata(broker, node_id=8))
        found = await cluster.retrying("refresh", lambda _: cluster.refresh())
        assert (set(found.nodes), found.nodes[8].port != port) == ({8}, True)

    run(work)


def test_brokers_that_tell_nothing_for_too_long_are_forgotten():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        broker.on(ApiKey.METADATA, lambda _: None)
        for _ in range(2):
            with pytest.raises(RequestTimedOut):
                await cluster.refresh()
        assert cluster.metadata.nodes == {}
        assert cluster.metadata.cluster_id == "scripted"

    run(work, request_timeout_ms=SOME_TRIES_MS, metadata_recovery_rebootstrap_trigger_ms=20)


def test_a_coordinator_that_cannot_be_reached_is_forgotten():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        gone = Coordinator(key="g", node_id=6, host="127.0.0.1", port=nobodys())
        broker.on(ApiKey.FIND_COORDINATOR, lambda _: FindCoordinatorResponse(coordinators=[gone]))
        with pytest.raises(ConnectFailed):
            await cluster.coordinator(CoordinatorKind.GROUP, "g")
        assert cluster.coordinators._known == {}

    run(work)


def test_a_broker_may_ask_to_begin_anew():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        await cluster.refresh()
        broker.on(ApiKey.METADATA, lambda _: MetadataResponse(error_code=REBOOTSTRAP_REQUIRED))
        with pytest.raises(RebootstrapRequired):
            await cluster.refresh()
        assert cluster.metadata.nodes == {}

    run(work)


def found(key: str, broker: ScriptedBroker, *, error_code: int = 0) -> FindCoordinatorResponse:
    told = Coordinator(key=key, node_id=1, host="127.0.0.1", port=broker.port, error_code=error_code)
    return FindCoordinatorResponse(coordinators=[told])


def test_a_coordinator_is_waited_for_remembered_and_forgotten():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        codes = iter([COORDINATOR_NOT_AVAILABLE, 0, 0])
        broker.on(ApiKey.FIND_COORDINATOR, lambda _: found("g", broker, error_code=next(codes)))
        connection = await cluster.coordinator(CoordinatorKind.GROUP, "g")
        assert await cluster.coordinator(CoordinatorKind.GROUP, "g") is connection
        assert len(broker.asked(ApiKey.FIND_COORDINATOR)) == 2
        cluster.coordinators.forget(CoordinatorKind.GROUP, "g")
        assert await cluster.coordinator(CoordinatorKind.GROUP, "g") is connection
        assert len(broker.asked(ApiKey.FIND_COORDINATOR)) == 3
        cluster.coordinators.forget_node(1)
        assert cluster.coordinators._known == {}

    run(work)


def test_a_coordinator_that_may_not_be_used_is_an_error_at_once():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.FIND_COORDINATOR, lambda _: found("g", broker, error_code=GROUP_AUTHORIZATION_FAILED))
        with pytest.raises(GroupAuthorizationFailed, match="coordinator of group 'g'"):
            await cluster.coordinator(CoordinatorKind.GROUP, "g")

    run(work)


def test_an_operation_that_takes_too_long_says_so():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.METADATA, lambda _: None)
        with pytest.raises(DeadlineExceeded, match="look at it: not done within 50 ms"):
            await cluster.retrying("look at it", lambda _: cluster.refresh(), timeout_ms=50)

    run(work)


def test_closing_stops_what_is_under_way_and_may_be_repeated():
    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        asked = asyncio.Event()
        broker.on(ApiKey.METADATA, lambda _: asked.set())
        waiting = asyncio.create_task(cluster.refresh())
        await asked.wait()
        await cluster.close()
        await cluster.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for call in (cluster.refresh, cluster.any_broker, cluster.controller):
            with pytest.raises(Closed, match="make a new one"):
                await call()
        cluster.refresh_soon()

    run(work)


def test_a_client_is_of_one_event_loop():
    config = AdminConfig.load(bootstrap_servers="127.0.0.1:1")
    cluster = Cluster(config)

    async def use() -> None:
        cluster.check_usable()

    asyncio.run(use())
    with pytest.raises(ClientError, match="another event loop"):
        asyncio.run(use())


def test_a_client_is_of_one_process():
    """The child of the fork reports by its exit code."""
    cluster = Cluster(AdminConfig.load(bootstrap_servers="127.0.0.1:1"))
    child = os.fork()
    if child == 0:
        try:
            cluster.check_usable()
        except ClientForked:
            os._exit(17)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_how_long_brokers_throttle_is_told():
    throttles: list[tuple[int, int]] = []

    async def work(cluster: Cluster, broker: ScriptedBroker) -> None:
        def answer(_: Any) -> MetadataResponse:
            answered = metadata(broker)
            answered.throttle_time_ms = 7
            return answered

        broker.on(ApiKey.METADATA, answer)
        cluster.connections.on_throttle = lambda node, throttle_ms: throttles.append((node.port, throttle_ms))
        await cluster.refresh()
        assert (broker.port, 7) in throttles

    run(work)


def test_a_broker_that_cannot_be_reached_is_told_to_the_listener_alone(caplog: pytest.LogCaptureFixture):
    lines: list[str] = []
    address = f"127.0.0.1:{nobodys()}"

    async def whole() -> None:
        async with Cluster(AdminConfig.load(QUICK, bootstrap_servers=address)) as cluster:
            cluster.connections.listener = lambda _level, _source, line: not lines.append(line.event)
            with pytest.raises(NoBrokersAvailable):
                await cluster.refresh()

    asyncio.run(whole())
    assert lines[0] == "broker cannot be reached"
    assert not [record for record in caplog.records if address in record.getMessage()]
