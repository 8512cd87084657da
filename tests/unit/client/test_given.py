"""What the admin's doors do with arguments that nearly fit: they say what to write, or take what can only mean one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pystream import testing
from pystream.client import AdminClient
from pystream.client.admin.client import AdminClient as AsyncAdminClient
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.client.admin.topics import NewTopic
from pystream.client.given import as_partitions, by_partition, config_text, listed
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from tests.unit.client.test_admin import created, run

MANY = ("Iterable[", "Mapping[", "ByPartition[", "Wanted")
NOWHERE = "127.0.0.1:1"


def doors() -> list[tuple[str, str]]:
    """Each operation that takes a collection, with the argument that it is."""
    return [
        (name, parameter.name)
        for name, member in inspect.getmembers(AsyncAdminClient, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(member).parameters.values()
        if str(parameter.annotation).startswith(MANY)
    ]


def test_there_are_many_doors():
    assert len(doors()) > 45
    assert {("delete_topics", "topics"), ("delete_groups", "group_ids"), ("list_groups", "states")} <= {*doors()}


@pytest.mark.parametrize(("operation", "argument"), doors())
@pytest.mark.parametrize("given", ["ab", b"ab"])
def test_a_str_is_never_taken_letter_by_letter(operation: str, argument: str, given: Any):
    async def work() -> None:
        async with AsyncAdminClient(bootstrap_servers=NOWHERE) as admin:
            method = getattr(admin, operation)
            others = {
                name: "x" if parameter.annotation == "str" else {}
                for name, parameter in inspect.signature(method).parameters.items()
                if parameter.default is inspect.Parameter.empty and name != argument
            }
            with pytest.raises(TypeError, match=r"not the (str|bytes) b?'ab'"):
                await method(**others, **{argument: given}, timeout_ms=1_000)

    asyncio.run(work())


def test_the_refusal_says_what_to_write():
    with pytest.raises(TypeError, match=r"a list of names, not the str 'ab': write \['ab'\]"):
        listed("ab")
    assert listed(iter(["ab"])) == ["ab"]
    assert listed(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (100_000, "100000"),
            (1e5, "100000"),
            (0.5, "0.5"),
            (True, "true"),
            (False, "false"),
            ("x", "x"),
            (None, None),
        ),
        *((np.int64(7), "7"), (np.float64(7), "7"), (np.float32(0.5), "0.5"), (float("inf"), "inf")),
    ],
)
def test_settings_are_written_as_kafka_writes_them(value: Any, text: str | None):
    assert config_text(value) == text


def test_a_setting_that_is_no_value_is_refused():
    with pytest.raises(TypeError, match="the value of a setting"):
        config_text(["a"])  # type: ignore[arg-type]


def test_a_topic_may_have_numbers_among_its_settings():
    async def work(admin: Any, broker: Any) -> None:
        broker.on(ApiKey.CREATE_TOPICS, lambda _: created(("x", 0)))
        configs = {"retention.ms": 100_000, "preallocate": True, "min.cleanable.dirty.ratio": 0.5}
        (await admin.create_topics([NewTopic("x", 1, configs=configs)])).checked()
        (request,) = broker.asked(ApiKey.CREATE_TOPICS)
        told = {each.name: each.value for each in request.topics[0].configs}
        assert told == {"retention.ms": "100000", "preallocate": "true", "min.cleanable.dirty.ratio": "0.5"}

    run(work)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda admin: admin.create_topics(["t"]), r"write \[NewTopic\('t', num_partitions=1\)\]"),
        (lambda admin: admin.create_topics({"t": 3}), "a list of NewTopic"),
        (lambda admin: admin.create_topics(NewTopic("t")), r"write \[NewTopic\("),
        (lambda admin: admin.create_partitions({"t": "3"}), "t: the count in all is an int"),
        (lambda admin: admin.create_partitions({"t": [3]}), "t: the count in all is an int"),
        (lambda admin: admin.list_offsets({("t", 0): "newest"}), "latest, earliest, max-timestamp"),
        (lambda admin: admin.incremental_alter_configs({(2, "t"): "ab"}), "not the str 'ab'"),
    ],
)
def test_a_near_miss_is_told_in_our_words(call: Callable[[Any], Any], reason: str):
    async def work() -> None:
        async with AsyncAdminClient(bootstrap_servers=NOWHERE) as admin:
            with pytest.raises(TypeError, match=reason):
                await call(admin)

    asyncio.run(work())


def test_partitions_may_be_pairs():
    async def work(admin: Any, broker: Any) -> None:
        def answer(request: Any) -> ListOffsetsResponse:
            told = [ListOffsetsPartitionResponse(partition_index=0, offset=7)]
            return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=told)])

        broker.on(ApiKey.LIST_OFFSETS, answer)
        for spec in ("latest", "earliest", LATEST):
            found = await admin.list_offsets({("t", 0): spec})
            assert found.result(TopicPartition("t", 0)).offset == 7
        asked = [each.topics[0].partitions[0].timestamp for each in broker.asked(ApiKey.LIST_OFFSETS)]
        assert asked == [LATEST, EARLIEST, LATEST]

    run(work)


def test_what_is_no_partition_is_told():
    assert as_partitions([("t", 0), TopicPartition("t", 0)]) == [TopicPartition("t", 0)]
    assert by_partition({("t", 1): 5}) == {TopicPartition("t", 1): 5}
    with pytest.raises(ValueError, match="TopicPartition"):
        by_partition({"t": 5})  # type: ignore[dict-item]


@pytest.mark.parametrize("one", [TopicPartition("t", 0), ("t", 0)])
def test_one_partition_in_the_place_of_many_is_told(one: Any):
    with pytest.raises(ValueError, match="expected a list of partitions, found one"):
        as_partitions(one)
    with pytest.raises(TypeError, match="a list of names, not the str 'orders'"):
        as_partitions("orders")  # type: ignore[arg-type]
    assert as_partitions([("t", np.int32(3))]) == [TopicPartition("t", 3)]


def test_whole_numbers_of_numpy_are_offsets():
    place = TopicPartition("t", 0)
    with testing.broker() as broker, AdminClient(bootstrap_servers=broker.bootstrap) as admin:
        admin.create_topics([NewTopic("t", 1, 1)]).checked()
        admin.alter_consumer_group_offsets("g", {place: np.int64(5)}).checked()
        assert admin.list_consumer_group_offsets(["g"]).checked()["g"][place].offset == 5
        assert admin.list_offsets({place: np.int64(EARLIEST)}).checked()[place].offset == 0
        for wrong in (-1, np.int64(-1)):
            with pytest.raises(ValueError, match="t-0: invalid negative offset"):
                admin.alter_share_group_offsets("g", {place: wrong})
