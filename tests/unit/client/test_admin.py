"""How the admin client goes on when brokers send it away, leave things out or keep silent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client.admin.acls import AclOperation, operations_of
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.results import Results
from pystream.client.admin.topics import NewTopic
from pystream.client.aio import AdminClient
from pystream.common.error_codes import (
    INVALID_PARTITIONS,
    LEADER_NOT_AVAILABLE,
    NOT_CONTROLLER,
    NOT_COORDINATOR,
    NOT_LEADER_OR_FOLLOWER,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import (
    Closed,
    DeadlineExceeded,
    InvalidPartitions,
    InvalidTopic,
    LeaderNotAvailable,
    PystreamError,
    UnknownServerError,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from pystream.protocol.messages.create_topics import CreatableTopicResult, CreateTopicsResponse
from pystream.protocol.messages.delete_groups import DeletableGroupResult, DeleteGroupsResponse
from pystream.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorResponse
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from pystream.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from tests.support.scripted_broker import ScriptedBroker

TEST_SECONDS = 120
QUICK: dict[str, Any] = {"retry_backoff_ms": 1, "retry_backoff_max_ms": 4, "reconnect_backoff_ms": 1}


def run(work: Callable[[AdminClient, ScriptedBroker], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.on(ApiKey.METADATA, lambda request: metadata(broker, request))
            where = f"127.0.0.1:{broker.port}"
            async with AdminClient(QUICK, bootstrap_servers=where, **settings) as admin:
                await work(admin, broker)

    asyncio.run(whole())


def metadata(broker: ScriptedBroker, request: Any, error_code: int = 0) -> MetadataResponse:
    partitions = [MetadataResponsePartition(partition_index=0, leader_id=1)]
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=broker.port)],
        controller_id=1,
        topics=[
            MetadataResponseTopic(name=topic.name, error_code=error_code, partitions=partitions)
            for topic in request.topics or ()
        ],
    )


def created(*results: tuple[str, int]) -> CreateTopicsResponse:
    topics = [CreatableTopicResult(name=name, error_code=code, error_message=None) for name, code in results]
    return CreateTopicsResponse(topics=topics)


def test_only_the_items_that_failed_for_now_are_asked_for_again():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        answers = iter([created(("a", 0), ("b", NOT_CONTROLLER), ("c", INVALID_PARTITIONS)), created(("b", 0))])
        broker.on(ApiKey.CREATE_TOPICS, lambda _: next(answers))
        results = await admin.create_topics([NewTopic("a"), NewTopic("b"), NewTopic("c")])
        assert list(results.succeeded) == ["a", "b"]
        assert isinstance(results["c"], InvalidPartitions)
        asked = [[topic.name for topic in request.topics] for request in broker.asked(ApiKey.CREATE_TOPICS)]
        assert asked == [["a", "b", "c"], ["b"]]

    run(work)


def test_an_item_that_the_broker_leaves_out_has_an_error():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.CREATE_TOPICS, lambda _: created(("a", 0)))
        results = await admin.create_topics([NewTopic("a"), NewTopic("b")])
        assert isinstance(results["b"], UnknownServerError)
        assert "left b out" in str(results["b"])

    run(work)


def test_items_that_go_on_failing_get_the_last_error_when_the_time_is_over():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.CREATE_TOPICS, lambda _: created(("a", NOT_CONTROLLER)))
        error = (await admin.create_topics([NewTopic("a")], timeout_ms=2_000))["a"]
        assert isinstance(error, DeadlineExceeded)
        assert "create_topics: not done within 2000 ms" in str(error)
        assert isinstance(error.last_error, PystreamError)

    run(work)


def test_a_silent_broker_fails_all_items_in_time():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        results = await admin.create_topics([NewTopic("a"), NewTopic("b")], timeout_ms=60)
        assert {name: type(error) for name, error in results.items()} == {
            "a": DeadlineExceeded,
            "b": DeadlineExceeded,
        }

    run(work)


def test_retries_may_be_switched_off():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.CREATE_TOPICS, lambda _: created(("a", NOT_CONTROLLER)))
        await admin.create_topics([NewTopic("a")])
        assert len(broker.asked(ApiKey.CREATE_TOPICS)) == 1

    run(work, retries=0)


def test_a_broken_connection_is_opened_again_for_what_is_left():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        async def break_first(request: Any) -> None:
            await broker.drop()

        drops: list[asyncio.Task[None]] = []

        def answer(request: Any) -> CreateTopicsResponse | None:
            if not drops:
                drops.append(asyncio.create_task(break_first(request)))
                return None
            return created(("a", 0))

        broker.on(ApiKey.CREATE_TOPICS, answer)
        assert list((await admin.create_topics([NewTopic("a")])).checked()) == ["a"]

    run(work)


def test_a_coordinator_that_moved_is_looked_for_again():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        told = Coordinator(key="g", node_id=1, host="127.0.0.1", port=broker.port)
        broker.on(ApiKey.FIND_COORDINATOR, lambda _: FindCoordinatorResponse(coordinators=[told]))
        codes = iter([NOT_COORDINATOR, 0])
        broker.on(
            ApiKey.DELETE_GROUPS,
            lambda _: DeleteGroupsResponse(results=[DeletableGroupResult(group_id="g", error_code=next(codes))]),
        )
        (await admin.delete_groups(["g"])).checked()
        assert len(broker.asked(ApiKey.FIND_COORDINATOR)) == 2

    run(work)


def offsets(error_code: int) -> ListOffsetsResponse:
    told = ListOffsetsPartitionResponse(partition_index=0, error_code=error_code, offset=7)
    return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="a", partitions=[told])])


def test_a_leader_that_moved_is_looked_for_again():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        codes = iter([NOT_LEADER_OR_FOLLOWER, LEADER_NOT_AVAILABLE, 0])
        broker.on(ApiKey.LIST_OFFSETS, lambda _: offsets(next(codes)))
        partition = TopicPartition("a", 0)
        assert (await admin.list_offsets({partition: -1})).result(partition).offset == 7
        assert len(broker.asked(ApiKey.METADATA)) >= 3

    run(work)


def test_a_topic_that_is_not_there_is_believed_after_some_attempts():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        broker.on(ApiKey.METADATA, lambda request: metadata(broker, request, UNKNOWN_TOPIC_OR_PARTITION))
        partition = TopicPartition("a", 0)
        assert isinstance((await admin.list_offsets({partition: -1}))[partition], UnknownTopicOrPartition)

    run(work)


def test_a_topic_of_many_partitions_comes_in_pages():
    def page(name: str, partitions: range, following: tuple[str, int] | None) -> DescribeTopicPartitionsResponse:
        told = [DescribeTopicPartitionsResponsePartition(partition_index=index) for index in partitions]
        cursor = following and DescribeTopicPartitionsResponseCursor(
            topic_name=following[0], partition_index=following[1]
        )
        topic = DescribeTopicPartitionsResponseTopic(name=name, partitions=told)
        return DescribeTopicPartitionsResponse(topics=[topic], next_cursor=cursor or None)

    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        pages = iter([page("a", range(2), ("a", 2)), page("a", range(2, 3), ("b", 0)), page("b", range(1), None)])
        broker.on(ApiKey.DESCRIBE_TOPIC_PARTITIONS, lambda _: next(pages))
        described = (await admin.describe_topics(["b", "a"])).checked()
        assert {name: len(found.partitions) for name, found in described.items()} == {"a": 3, "b": 1}
        cursors = [request.cursor for request in broker.asked(ApiKey.DESCRIBE_TOPIC_PARTITIONS)]
        assert [cursor and (cursor.topic_name, cursor.partition_index) for cursor in cursors] == [
            None,
            ("a", 2),
            ("b", 0),
        ]

    run(work)


def test_an_operation_that_the_broker_does_not_have_is_raised_and_names_it():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        known = [
            ApiVersion(api_key=key, min_version=0, max_version=4) for key in (ApiKey.METADATA, ApiKey.API_VERSIONS)
        ]
        broker.on(ApiKey.API_VERSIONS, lambda _: ApiVersionsResponse(api_keys=known))
        with pytest.raises(UnsupportedVersion, match="does not have CreateTopics"):
            await admin.create_topics([NewTopic("a")])
        with pytest.raises(UnsupportedVersion, match="does not have ListConfigResources"):
            await admin.list_config_resources()

    run(work)


def test_a_closed_client_says_so():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        await admin.close()
        await admin.close()
        for call in (admin.create_topics([NewTopic("a")]), admin.list_topics(), admin.describe_cluster()):
            with pytest.raises(Closed, match="make a new one"):
                await call

    run(work)


def test_an_operation_that_is_cancelled_leaves_no_task_behind():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        asked = asyncio.Event()
        broker.on(ApiKey.CREATE_TOPICS, lambda _: asked.set())
        before = asyncio.all_tasks()
        operation = asyncio.create_task(admin.create_topics([NewTopic("a")]))
        await asked.wait()
        operation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await operation
        assert asyncio.all_tasks() - before - broker._tasks == set()

    run(work)


def test_metrics_count_what_went_over_the_wire():
    async def work(admin: AdminClient, broker: ScriptedBroker) -> None:
        await admin.list_topics()
        await broker.drop()
        await admin.list_topics(timeout_ms=60_000)
        counts = await admin.metrics()
        assert (counts["connection-creation-total"], counts["connection-count"]) == (2, 1)
        assert counts["connection-close-total"] == 1
        assert counts["request-total"] >= counts["response-total"] >= 4
        assert min(counts["incoming-byte-total"], counts["outgoing-byte-total"]) > 100

    run(work)


def test_numbers_that_are_newer_than_this_client_are_unknown_to_it():
    assert (AclOperation(77), AclOperation(3)) == (AclOperation.UNKNOWN, AclOperation.READ)
    assert operations_of(1 << AclOperation.READ | 1 << 30) == {AclOperation.READ}
    assert operations_of(-(1 << 31)) is None
    with pytest.raises(ValueError, match="READ"):
        AclOperation("READ")


def test_results_are_a_mapping_with_the_errors_set_apart():
    refused, unled = InvalidTopic("no"), LeaderNotAvailable("later")
    results: Results[str, int] = Results({"a": 1, "b": refused, "c": unled, "d": 0})
    assert (len(results), list(results), results["a"]) == (4, ["a", "b", "c", "d"], 1)
    assert (results.succeeded, results.failed) == ({"a": 1, "d": 0}, {"b": refused, "c": unled})
    assert results.result("d") == 0
    with pytest.raises(InvalidTopic):
        results.checked()
    with pytest.raises(LeaderNotAvailable):
        results.result("c")
    assert "LeaderNotAvailable" in repr(results)
    assert str(ConfigResource(ConfigResourceType.TOPIC, "a")) == "topic 'a'"
