"""The short ways of the producer's requests and answers say what the general ones say."""

from __future__ import annotations

from typing import Any

import pytest

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.producer.produce_request import NEWEST, encode, encode_one, written
from pystream.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)

TOPIC_ID = bytes(range(16))
LATER = 1 << 40


def a_batch(value_bytes: int) -> tuple[Accumulator, ProducerBatch]:
    """With the buffer, whose end would be the batch's."""
    buffer = Accumulator(batch_bytes=1 << 20, delivery_timeout_ms=LATER * 2)
    buffer.set_topic("t", 4)
    buffer.append("t", b"v" * value_bytes, partition=3)
    batch = buffer.drain("t", 3, LATER)
    assert batch is not None
    return buffer, batch


@pytest.mark.parametrize("value_bytes", [0, 10, 58, 60, 1_000, 16_300, 500_000])
@pytest.mark.parametrize("transactional_id", [None, "", "payments"])
def test_one_batch_is_encoded_as_among_others(value_bytes: int, transactional_id: str | None):
    _buffer, batch = a_batch(value_bytes)
    settings: dict[str, Any] = {"transactional_id": transactional_id, "acks": -1, "timeout_ms": 30_000}
    general = encode([batch], NEWEST, topic_ids={"t": TOPIC_ID}, **settings)
    short = encode_one(batch, topic_id=TOPIC_ID, **settings)
    assert b"".join(map(bytes, short)) == b"".join(map(bytes, general))


def an_answer(**changes: Any) -> ProduceResponse:
    part = PartitionProduceResponse(index=3, base_offset=1 << 40, log_append_time_ms=-1, log_start_offset=7)
    for name, value in changes.items():
        setattr(part, name, value)
    topic = TopicProduceResponse(topic_id=TOPIC_ID, partition_responses=[part])
    return ProduceResponse(responses=[topic], throttle_time_ms=9)


def test_the_usual_answer_is_read_in_one_go():
    found = written(an_answer().encode(NEWEST), NEWEST)
    assert found == (TOPIC_ID, 3, 1 << 40, -1, 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"error_code": 6},
        {"error_message": "no"},
        {"error_message": ""},
        {"record_errors": [BatchIndexAndErrorMessage()]},
        {"current_leader": LeaderIdAndEpoch(leader_id=1, leader_epoch=2)},
    ],
)
def test_every_other_answer_is_left_to_the_codec(changes: dict[str, Any]):
    assert written(an_answer(**changes).encode(NEWEST), NEWEST) is None


def test_answers_of_other_shapes_are_left_to_the_codec():
    two = an_answer()
    two.responses = [*two.responses, *two.responses]
    assert written(two.encode(NEWEST), NEWEST) is None
    away = an_answer()
    away.node_endpoints = [NodeEndpoint(node_id=1, host="h", port=1)]
    assert written(away.encode(NEWEST), NEWEST) is None
    assert written(an_answer().encode(NEWEST), NEWEST - 1) is None
    body = an_answer().encode(NEWEST)
    assert [written(body[:size], NEWEST) for size in range(len(body))] == [None] * len(body)
