"""What a share consumer holds, and what it says about it: plain state."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream.client.share.delivery import (
    GAP,
    AcknowledgeType,
    Delivery,
    Range,
    Run,
    deliveries_of,
    gather,
    ranges_of,
)
from pystream.common.model import TopicIdPartition, TopicPartition

ACCEPT, RELEASE, REJECT, RENEW = AcknowledgeType
KEY = TopicPartition("topic", 0)
PLACE = TopicIdPartition(bytes(15) + b"\x07", 0)


class StubSession:
    node_id = 1
    generation = 0

    def tell(self, said: Any) -> None:
        raise AssertionError(said)

    def supports_renewal(self) -> bool:
        return True


def records(*spans: range) -> bytes:
    """A batch for each span of offsets."""
    data = b""
    for span in spans:
        builder = RecordBatchBuilder(base_offset=span.start)
        for offset in span:
            builder.append(b"v%d" % offset, timestamp=0)
        data += builder.build()
    return data


def given(data: bytes, *acquired: tuple[int, int, int]) -> tuple[list[Delivery], list[Run]]:
    batch = MessageBatch(data, *KEY, from_offset=acquired[0][0], acquired=acquired)
    return deliveries_of(StubSession(), KEY, PLACE, batch, data, acquired, expires_at_ms=9)


def told(*deliveries: Delivery) -> list[Run]:
    return [run for said in gather(deliveries) for run in said.runs]


def test_each_range_that_was_acquired_is_a_delivery_of_its_own():
    found, useless = given(records(range(10, 20)), (10, 12, 1), (15, 19, 3))
    assert [[m.offset for m in each.messages()] for each in found] == [[10, 11, 12], [15, 16, 17, 18, 19]]
    assert [[m.delivery_count for m in each.messages()] for each in found] == [[1] * 3, [3] * 5]
    assert useless == []


def test_ranges_without_records_are_told_as_gaps():
    found, useless = given(records(range(5), range(10, 15)), (0, 4, 1), (5, 9, 1), (10, 14, 1))
    assert [(each.first, each.last) for each in found] == [(0, 4), (10, 14)]
    assert useless == [(5, 9, GAP)]


def test_what_stands_behind_a_batch_that_was_cut_off_is_released():
    data = records(range(5), range(5, 10))
    found, useless = given(data[:-1], (0, 9, 1))
    assert [(each.first, each.last, len(each)) for each in found] == [(0, 4, 5)]
    assert useless == [(5, 9, RELEASE)]


def test_a_damaged_batch_is_rejected_and_those_behind_it_are_released():
    head, damaged, tail = records(range(5)), bytearray(records(range(5, 10))), records(range(10, 15))
    damaged[-1] ^= 1
    found, useless = given(head + bytes(damaged) + tail, (0, 14, 1))
    assert [(each.first, each.last) for each in found] == [(0, 4)]
    assert useless == [(5, 9, REJECT), (10, 14, RELEASE)]


def test_one_type_for_all_is_one_run_and_gaps_go_with_their_neighbours():
    ((one, two), _) = given(records(range(5), range(10, 15)), (0, 4, 1), (5, 20, 1))[0], None
    one.say_all(ACCEPT)
    assert told(one) == [(0, 4, ACCEPT)]
    two.say_all(ACCEPT)
    assert told(two) == [(5, 9, GAP), (10, 14, ACCEPT)]


def test_what_was_told_is_not_told_again_and_cannot_be_changed():
    ((delivery,), _) = given(records(range(4)), (0, 3, 1))
    assert delivery.say(1, ACCEPT)
    assert delivery.say(1, REJECT)  # said anew before it is told
    assert told(delivery) == [(1, 1, REJECT)]
    assert not delivery.say(1, ACCEPT)
    assert delivery.unsaid == 3
    delivery.say_all(RELEASE)
    assert told(delivery) == [(0, 0, RELEASE), (2, 3, RELEASE)]
    assert told(delivery) == []
    assert delivery.unsaid == 0


def test_rows_are_found_by_their_offsets():
    ((delivery,), _) = given(records(range(5), range(10, 15)), (3, 12, 1))
    assert [delivery.find(offset) for offset in (2, 3, 4, 5, 10, 12, 13)] == [None, 0, 1, None, 2, 4, None]


def test_a_delivery_is_split_with_what_was_said_of_it():
    ((delivery,), _) = given(records(range(3), range(10, 13)), (0, 12, 1))
    delivery.say(0, ACCEPT)
    rest = delivery.split(3)
    assert [m.offset for m in delivery.messages()] == [0, 1, 2]
    assert [m.offset for m in rest.messages()] == [10, 11, 12]
    assert (delivery.unsaid, rest.unsaid) == (2, 3)
    delivery.say_all(RELEASE)
    rest.say_all(ACCEPT)
    assert told(delivery, rest) == [(0, 0, ACCEPT), (1, 2, RELEASE), (3, 9, GAP), (10, 12, ACCEPT)]


def test_renewed_rows_come_back_as_deliveries():
    ((delivery,), _) = given(records(range(6)), (0, 5, 2))
    for row, kind in enumerate((RENEW, RENEW, ACCEPT, RENEW, ACCEPT, ACCEPT)):
        delivery.say(row, kind)
    (said,) = gather([delivery])
    assert said.renews
    assert [[m.offset for m in each.messages()] for each in said.renewed] == [[0, 1], [3]]
    assert [each.unsaid for each in said.renewed] == [2, 1]
    assert said.offsets == [(0, 5)]


def test_partitions_and_sessions_are_told_apart_and_runs_put_in_order():
    ((one, two), _) = given(records(range(10)), (0, 3, 1), (4, 9, 2))
    two.say_all(ACCEPT)
    one.say_all(ACCEPT)
    assert [said.runs for said in gather([two, one])] == [[(0, 9, ACCEPT)]]
    ((one, two), _) = given(records(range(10)), (0, 3, 1), (4, 9, 2))
    two.generation = 1
    two.say_all(ACCEPT)
    one.say_all(ACCEPT)
    assert [said.runs for said in gather([two, one])] == [[(4, 9, ACCEPT)], [(0, 3, ACCEPT)]]


def test_short_runs_side_by_side_become_a_list_of_types():
    runs = [(0, 0, 1), (1, 1, 2), (2, 2, 1), (5, 900, 3), (901, 901, 1)]
    assert ranges_of(runs) == [Range(0, 2, [1, 2, 1]), Range(5, 900, [3]), Range(901, 901, [1])]
    assert ranges_of([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_acknowledgements_tell_each_offset_once(seed: int):
    chance = random.Random(seed)
    edges = sorted(chance.sample(range(200), 8))
    spans = [range(first, last) for first, last in itertools.pairwise(edges)][::2]
    found, useless = given(records(*spans), (edges[0], edges[-1] + 5, 1))
    assert {kind for _, _, kind in useless} <= {GAP, RELEASE}
    expected: dict[int, int] = {}
    runs: list[Run] = list(useless)
    while any(each.unsaid for each in found):
        for each in found:
            for row in range(each.start, each.stop):
                kind = chance.choice(list(AcknowledgeType))
                offset = each.batch[row].offset
                if chance.random() < 0.3 and offset not in expected:
                    assert each.say(row, kind)
                    expected[offset] = kind
        runs += told(*found)
    wire = [
        (each.first + place if len(each.kinds) > 1 else offset, kind)
        for each in ranges_of(sorted(runs))
        for place, offset in enumerate(range(each.first, each.last + 1))
        for kind in [each.kinds[place] if len(each.kinds) > 1 else each.kinds[0]]
    ]
    assert [offset for offset, _ in wire] == list(range(edges[0], edges[-1] + 6))
    assert {offset: kind for offset, kind in wire if offset in expected} == expected
