"""A leader whose log parts from what was read (KIP-320): it says where, or does not know; so does Fetch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client.aio import Consumer
from pystream.client.consumer.positions import Phase
from pystream.common.error_codes import FENCED_LEADER_EPOCH
from pystream.common.errors import LogTruncation, OffsetOutOfRange
from pystream.common.model import TopicPartition
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages import fetch, offset_for_leader_epoch
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from pystream.protocol.messages.metadata import MetadataResponse
from tests.support.misbehaving_broker import QUICK, TOPIC, MisbehavingBroker, fetched, records

TEST_SECONDS = 60
PLACE = TopicPartition(TOPIC, 0)
UNDEFINED = -1
COUNT = 3  # records that are read under the first leader


class TwoLeaders(MisbehavingBroker):
    """Leads with epoch 1, and when it is told so with epoch 2: then it knows other things of its log."""

    def __init__(self) -> None:
        super().__init__(ApiKey.PRODUCE)
        self.epoch = 1
        self.end: Callable[[int], tuple[int, int]] = lambda epoch: (epoch, 100)  # of the part up to an epoch
        self.diverging: list[tuple[int, int]] = []  # what Fetch tells, in turn
        self.fetched_from: list[int] = []  # under the second leader
        self.asked_again = asyncio.Event()
        self.on(ApiKey.FETCH, self._fetch)
        self.on(ApiKey.OFFSET_FOR_LEADER_EPOCH, self._end_of_epoch)
        self.on(ApiKey.LIST_OFFSETS, self._list)

    def _metadata(self) -> MetadataResponse:
        told = super()._metadata()
        told.topics[0].partitions[0].leader_epoch = self.epoch
        return told

    def _fetch(self, request: Any) -> fetch.FetchResponse | None:
        wanted = [part for topic in request.topics for part in topic.partitions]
        if not wanted:
            return None
        offset, epoch = wanted[0].fetch_offset, wanted[0].current_leader_epoch
        if epoch != self.epoch:
            return fetched(error_code=FENCED_LEADER_EPOCH)
        if self.epoch == 1:
            return fetched(records(COUNT)) if offset == 0 else fetched()
        self.fetched_from.append(offset)
        if self.diverging:
            answer = fetched()
            end_epoch, end_offset = self.diverging.pop(0)
            answer.responses[0].partitions[0].diverging_epoch = fetch.EpochEndOffset(
                epoch=end_epoch, end_offset=end_offset
            )
            return answer
        return fetched(records(1, base_offset=offset))

    def _end_of_epoch(self, request: Any) -> offset_for_leader_epoch.OffsetForLeaderEpochResponse:
        if len(self.asked(ApiKey.OFFSET_FOR_LEADER_EPOCH)) > 1:
            self.asked_again.set()
        epoch, end_offset = self.end(request.topics[0].partitions[0].leader_epoch)
        told = offset_for_leader_epoch.EpochEndOffset(partition=0, leader_epoch=epoch, end_offset=end_offset)
        topic = offset_for_leader_epoch.OffsetForLeaderTopicResult(topic=TOPIC, partitions=[told])
        return offset_for_leader_epoch.OffsetForLeaderEpochResponse(topics=[topic])

    def _list(self, request: Any) -> ListOffsetsResponse:
        told = ListOffsetsPartitionResponse(partition_index=0, offset=50)
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name=TOPIC, partitions=[told])])


Work = Callable[[TwoLeaders, Consumer], Awaitable[None]]


def run(work: Work, policy: str) -> None:
    """`work` with a consumer that has read COUNT records under the first leader."""

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), TwoLeaders() as broker:
            async with Consumer(bootstrap_servers=broker.bootstrap, auto_offset_reset=policy, **QUICK) as consumer:
                await consumer.assign([PLACE])
                await consumer.seek(PLACE, 0)
                found = []
                while len(found) < COUNT:
                    found += await consumer.poll()
                await work(broker, consumer)

    asyncio.run(whole())


async def next_offset(consumer: Consumer) -> int:
    while not (found := await consumer.poll()):
        continue
    return found[0].offset


def test_a_leader_that_knows_nothing_of_the_epoch_has_the_position_reset():
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.end = lambda _: (UNDEFINED, UNDEFINED)
        broker.epoch = 2
        assert await next_offset(consumer) == 50
        assert broker.fetched_from[0] == 50

    run(work, "earliest")


@pytest.mark.parametrize("end", [(UNDEFINED, UNDEFINED), (1, UNDEFINED), (UNDEFINED, 2)])
def test_without_a_policy_it_is_told_until_the_user_seeks(end: tuple[int, int]):
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.end = lambda _: end
        broker.epoch = 2
        for _ in range(2):
            with pytest.raises(LogTruncation, match=r"topic-0: .* position 3, nobody knows where") as caught:
                await next_offset(consumer)
            assert (caught.value.position, caught.value.divergent_offset) == (COUNT, None)
        assert broker.fetched_from == []
        await consumer.seek(PLACE, 1)
        assert await next_offset(consumer) == 1

    run(work, "none")


def test_where_the_leader_knows_the_end_reading_goes_on_there():
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.end = lambda _: (1, 2)
        broker.epoch = 2
        assert await next_offset(consumer) == 2

    run(work, "latest")


def test_without_a_policy_the_end_is_in_the_error():
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.end = lambda _: (1, 2)
        broker.epoch = 2
        with pytest.raises(OffsetOutOfRange, match=r"position 3, at 2, the end of leader epoch 1") as caught:
            await next_offset(consumer)
        error = caught.value
        assert isinstance(error, LogTruncation)
        assert (error.topic, error.partition, error.position) == (TOPIC, 0, COUNT)
        assert (error.divergent_offset, error.divergent_epoch) == (2, 1)

    run(work, "none")


@pytest.mark.parametrize("policy", ["earliest", "none"])
def test_a_log_that_goes_on_behind_the_position_is_read_on(policy: str):
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.end = lambda _: (1, COUNT)
        broker.epoch = 2
        assert await next_offset(consumer) == COUNT

    run(work, policy)


@pytest.mark.parametrize(("end", "goes_on_at"), [((0, 2), 2), ((0, COUNT), COUNT), ((0, 100), COUNT)])
def test_what_fetch_tells_moves_the_position_back_and_never_on(end: tuple[int, int], goes_on_at: int):
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.diverging = [end]
        broker.epoch = 2
        assert await next_offset(consumer) == goes_on_at

    run(work, "earliest")


def test_what_fetch_tells_is_an_error_without_a_policy():
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        broker.diverging = [(0, 2)] * 2
        broker.epoch = 2
        with pytest.raises(LogTruncation, match=r"at 2, the end of leader epoch 0"):
            await next_offset(consumer)

    run(work, "none")


def test_what_is_in_the_buffer_only_is_fetched_again_without_a_word():
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS), TwoLeaders() as broker:
            async with Consumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="none", **QUICK) as consumer:
                await consumer.assign([PLACE])
                await consumer.seek(PLACE, 0)
                while not (found := await consumer.poll(max_records=1)):
                    continue
                assert found[0].offset == 0
                broker.end = lambda _: (1, 1)
                broker.epoch = 2
                await broker.asked_again.wait()
                assert await next_offset(consumer) == 1
                assert broker.fetched_from[0] == 1

    asyncio.run(work())


def test_a_seek_while_a_position_is_about_to_be_checked_counts():
    async def work(broker: TwoLeaders, consumer: Consumer) -> None:
        offsets = consumer._engine.offsets
        can_validate = offsets.can_validate

        async def seek_meanwhile(key: TopicPartition) -> bool:
            offsets.can_validate = can_validate  # type: ignore[method-assign]
            able = await can_validate(key)
            await consumer.seek(PLACE, 1)
            return able

        offsets.can_validate = seek_meanwhile  # type: ignore[method-assign]
        broker.end = lambda epoch: (UNDEFINED, UNDEFINED) if epoch < 0 else (epoch, 100)  # as Kafka answers
        broker.epoch = 2
        assert await next_offset(consumer) == 1

    run(work, "earliest")


def test_a_position_that_went_back_is_not_fetched_before_it_is_checked():
    async def work() -> None:
        async with asyncio.timeout(TEST_SECONDS), TwoLeaders() as broker:
            async with Consumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="none", **QUICK) as consumer:
                await consumer.assign([PLACE])
                await consumer.seek(PLACE, 0)
                while not await consumer.poll(max_records=1):
                    continue
                engine = consumer._engine
                wake = engine.fetcher.wake
                woken: list[tuple[Phase, int]] = []

                def note() -> None:
                    state = engine.find(PLACE)
                    woken.append((state.phase, state.leader_epoch))
                    wake()

                engine.fetcher.wake = note  # type: ignore[method-assign]
                broker.end = lambda _: (1, 1)
                broker.epoch = 2
                await broker.asked_again.wait()
                assert (Phase.VALIDATING, 2) in woken
                assert (Phase.FETCHING, UNDEFINED) not in woken

    asyncio.run(work())
