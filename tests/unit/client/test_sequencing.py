"""What idempotence makes of a leader's answers: which batch shows that a sequence is lost, and what is acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.producer.sequencing import SEQUENCES, Idempotence, Verdict, _is_later
from pystream.common.errors import (
    DeliveryTimeout,
    DuplicateSequenceNumber,
    KafkaError,
    NotLeaderOrFollower,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
)
from tests.support.sending import LATER

OUT_OF_ORDER = OutOfOrderSequenceNumber("out of order")
LATE = DeliveryTimeout("late")


class Producer:
    """Three batches of one partition in flight, with sequences 0, 1 and 2."""

    def __init__(self) -> None:
        self.accumulator = Accumulator(batch_bytes=0, delivery_timeout_ms=LATER * 2)
        self.accumulator.set_topic("t", 1)
        unused: Any = None
        self.idempotence = Idempotence(
            unused, self.accumulator, wake=lambda: None, fatal=lambda error: pytest.fail(str(error))
        )
        self.idempotence.become(7, 0)
        self.batches = [self.send() for _ in range(3)]

    def send(self) -> ProducerBatch:
        self.accumulator.append("t", b"value")
        batch = self.accumulator.drain("t", 0, LATER)
        assert batch is not None
        return batch

    def judge(self, batch: ProducerBatch, error: KafkaError) -> Verdict:
        return self.idempotence.judge(batch, error, -1)

    @property
    def epoch(self) -> int:
        """Of what is sent next."""
        self.idempotence.may_send()
        return self.idempotence.producer_epoch


def test_only_the_batch_right_behind_one_that_was_given_up_shows_that_it_is_lost():
    """Those further behind may wait for a batch that is sent again, and perhaps is written: it keeps its sequence."""
    producer = Producer()
    first, second, third = producer.batches
    producer.idempotence.given_up(first, LATE, answered=False)
    assert producer.judge(third, OUT_OF_ORDER) is Verdict.AGAIN
    assert producer.epoch == 0
    assert producer.judge(second, OUT_OF_ORDER) is Verdict.AGAIN
    assert producer.epoch == 1


def test_a_batch_that_was_given_up_and_turns_out_to_be_written_begins_no_epoch():
    producer = Producer()
    first, second, third = producer.batches
    producer.idempotence.given_up(first, LATE, answered=False)
    producer.idempotence.delivered(second)
    producer.idempotence.given_up(third, LATE, answered=False)
    assert producer.epoch == 0
    assert producer.judge(producer.send(), OUT_OF_ORDER) is Verdict.AGAIN
    assert producer.epoch == 1


def test_a_batch_that_was_given_up_and_is_acknowledged_after_all_leaves_nothing_in_doubt():
    producer = Producer()
    first, _, third = producer.batches
    producer.idempotence.given_up(first, LATE, answered=False)
    producer.idempotence.delivered(first)
    assert producer.judge(third, OUT_OF_ORDER) is Verdict.AGAIN
    assert producer.epoch == 0
    assert not producer.idempotence._unresolved


def test_a_batch_that_a_leader_certainly_does_not_have_leaves_a_gap():
    producer = Producer()
    producer.idempotence.given_up(producer.batches[0], NotLeaderOrFollower("moved"), answered=True)
    assert producer.epoch == 1


def test_an_acknowledgement_that_comes_late_takes_nothing_back():
    producer = Producer()
    first, second, third = producer.batches
    producer.idempotence.delivered(second)
    assert producer.judge(first, DuplicateSequenceNumber("written")) is Verdict.DELIVERED
    producer.idempotence.delivered(first)
    assert producer.judge(third, OUT_OF_ORDER) is Verdict.AGAIN
    assert producer.epoch == 1  # all before it is acknowledged, so the leader has lost its place


def test_a_leader_that_forgot_the_producer_is_sent_a_new_epoch():
    producer = Producer()
    assert producer.judge(producer.batches[0], UnknownProducerId("forgotten")) is Verdict.AGAIN
    assert producer.epoch == 1


def test_sequences_go_round():
    assert _is_later(0, SEQUENCES - 1)
    assert _is_later(5, 4)
    assert _is_later(5, 5)
    assert not _is_later(SEQUENCES - 1, 0)
    assert not _is_later(4, 5)
