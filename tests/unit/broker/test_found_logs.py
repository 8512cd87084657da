"""Which topics a heap of logs belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pystream.broker.found_logs import found_topics
from pystream.common.model import ZERO_UUID
from pystream.controller.requests import FoundTopic

ONE, OTHER = b"1" * 16, b"2" * 16


def log(topic: str, partition: int, topic_id: bytes = ONE) -> Any:
    return SimpleNamespace(topic=topic, partition=partition, topic_id=topic_id)


def test_partitions_are_counted_up_to_the_last_one_found():
    assert found_topics([log("b", 4), log("a", 0, OTHER), log("b", 1)]) == [
        FoundTopic(name="a", topic_id=OTHER, partitions=1),
        FoundTopic(name="b", topic_id=ONE, partitions=5),
    ]


def test_logs_without_an_id_belong_to_the_topic_of_those_that_have_one():
    assert found_topics([log("a", 0, ZERO_UUID), log("a", 1)]) == [FoundTopic(name="a", topic_id=ONE, partitions=2)]
    assert found_topics([log("a", 0, ZERO_UUID)]) == [FoundTopic(name="a", topic_id=ZERO_UUID, partitions=1)]


def test_a_name_that_belongs_to_two_topics_is_left_alone():
    assert found_topics([log("a", 0), log("a", 1, OTHER), log("b", 0)]) == [
        FoundTopic(name="b", topic_id=ONE, partitions=1)
    ]
