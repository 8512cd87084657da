"""What `kafka-replica-verification` finds in replicas that differ."""

from __future__ import annotations

import pytest

from pystream._native.record_builder import RecordBatchBuilder
from pystream.cli.kafka.cluster.replica_verification import Comparison
from pystream.cli.kafka.options import Mistake
from pystream.common.model import TopicPartition
from pystream.protocol.messages.fetch import PartitionData

PLACE = TopicPartition("orders", 0)


def batch(base_offset: int, *values: bytes) -> bytes:
    builder = RecordBatchBuilder(base_offset=base_offset)
    for value in values:
        builder.append(value, timestamp=1)
    return bytes(builder.build())


def answer(*batches: bytes, high_watermark: int) -> PartitionData:
    return PartitionData(high_watermark=high_watermark, records=b"".join(batches))


@pytest.fixture
def comparison() -> Comparison:
    return Comparison({PLACE: (1, 2, 3)}, {PLACE: 0})


WHOLE = (batch(0, b"a", b"b"), batch(2, b"c"))


def test_replicas_that_are_the_same_are_compared_up_to_the_high_watermark(comparison: Comparison):
    assert comparison.compare({PLACE: {node: answer(*WHOLE, high_watermark=3) for node in (1, 2, 3)}})
    assert comparison.report() == "max lag is 0 for partition orders-0 at offset 3 among 1 partitions"

    comparison.offsets[PLACE] = 0
    comparison.compare({PLACE: {node: answer(*WHOLE, high_watermark=2) for node in (1, 2, 3)}})
    assert comparison.offsets == {PLACE: 2}


def test_a_replica_that_is_behind_is_waited_for(comparison: Comparison):
    whole, behind = answer(*WHOLE, high_watermark=3), answer(WHOLE[0], high_watermark=2)

    comparison.compare({PLACE: {1: whole, 2: behind, 3: whole}})

    assert comparison.report() == "max lag is 1 for partition orders-0 at offset 2 among 1 partitions"


def test_another_checksum_is_told_and_the_rest_is_compared(comparison: Comparison, capsys: pytest.CaptureFixture[str]):
    whole = answer(*WHOLE, high_watermark=3)
    other = answer(batch(0, b"a", b"B"), WHOLE[1], high_watermark=3)

    comparison.compare({PLACE: {1: whole, 2: other, 3: whole}})

    (line,) = capsys.readouterr().out.splitlines()
    assert ": partition orders-0 has unmatched checksum at offset 1; replica 1's checksum " in line
    assert (comparison.unmatched, comparison.offsets) == (1, {PLACE: 3})


def test_batches_that_end_elsewhere_end_the_tool(comparison: Comparison):
    whole, other = answer(*WHOLE, high_watermark=3), answer(batch(0, b"a"), batch(1, b"b"), high_watermark=3)

    with pytest.raises(Mistake, match="replica 1's offset 1 doesn't match replica 2's offset 0"):
        comparison.compare({PLACE: {1: whole, 2: other, 3: whole}})


def test_a_broker_that_does_not_answer_delays_its_partitions_only(comparison: Comparison):
    whole = answer(*WHOLE, high_watermark=3)

    assert not comparison.compare({PLACE: {1: whole, 3: whole}})
    assert comparison.offsets == {PLACE: 0}
    assert comparison.report() == "max lag is -1 for partition null at offset -1 among 1 partitions"
