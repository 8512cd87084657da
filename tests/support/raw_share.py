"""A share consumer over a bare socket: every request is written by hand, as clients in other languages would."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    NONE,
    NOT_COORDINATOR,
)
from pystream.protocol.messages import share_acknowledge, share_fetch
from pystream.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from pystream.protocol.messages.find_coordinator import FindCoordinatorRequest
from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from pystream.protocol.messages.share_acknowledge import ShareAcknowledgeRequest
from pystream.protocol.messages.share_fetch import ShareFetchRequest
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest
from tests.support.raw_client import RawClient

SETTINGS = {
    "offsets.topic.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "2",
    "group.share.min.record.lock.duration.ms": "1000",
}
SECONDS = 120
PASSING = {COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR}
GROUP_RESOURCE, SET = 32, 0
Range = tuple[int, int, int]


def create_topic(client: RawClient, name: str, partitions: int = 1) -> bytes:
    """The id of a new topic, which keeps records of any age."""
    for_ever = CreatableTopicConfig(name="retention.ms", value="-1")
    topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=[for_ever])
    (created,) = client.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7).topics
    assert created.error_code == NONE, created.error_message
    return bytes(created.topic_id)


def begin_with_the_first_record(client: RawClient, group_id: str, **configs: str) -> None:
    """`configs`: more settings of the group, their dots written as underscores."""
    wanted = {"share.auto.offset.reset": "earliest"} | {k.replace("_", "."): v for k, v in configs.items()}
    entries = [AlterableConfig(name=name, config_operation=SET, value=value) for name, value in wanted.items()]
    resource = AlterConfigsResource(resource_type=GROUP_RESOURCE, resource_name=group_id, configs=entries)
    (answer,) = client.call(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    assert answer.error_code == NONE, answer.error_message


def eventually(call: Any, done: Any) -> Any:
    """The first answer of `call` that is `done`. Raises AssertionError after a while."""
    deadline = time.monotonic() + SECONDS
    while True:
        answer = call()
        if done(answer):
            return answer
        assert time.monotonic() < deadline, answer


class RawShareMember:
    """A member with its own connection, its epochs, and its share session."""

    def __init__(self, port: int, group_id: str, member_id: str, topic: str, topic_id: bytes) -> None:
        self.client = RawClient(port)
        self.group_id, self.member_id = group_id, member_id
        self.topic, self.topic_id = topic, topic_id
        self.member_epoch = self.session_epoch = 0

    def heartbeat(self) -> Any:
        request = ShareGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.member_epoch,
            subscribed_topic_names=[self.topic],
        )
        response = self.client.call(request, 1)
        if response.error_code == NONE:
            self.member_epoch = response.member_epoch
        return response

    def join(self) -> RawShareMember:
        """Join, and return once something is assigned."""
        eventually(
            lambda: self.client.call(FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group_id]), 6),
            lambda found: found.coordinators[0].error_code == NONE,
        )

        def assigned(response: Any) -> bool:
            assert response.error_code in {NONE, *PASSING}, response
            return response.assignment is not None and len(response.assignment.topic_partitions) > 0

        eventually(self.heartbeat, assigned)
        return self

    def fetch(self, said: Iterable[Range] = (), *, version: int = 2, **fields: Any) -> Any:
        """One ShareFetch, for partition 0; `said`: (first, last, type) of acknowledgements."""
        batches = [
            share_fetch.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=[kind])
            for first, last, kind in said
        ]
        partition = share_fetch.FetchPartition(partition_index=0, acknowledgement_batches=batches)
        request = ShareFetchRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            topics=[share_fetch.FetchTopic(topic_id=self.topic_id, partitions=[partition])],
            **{
                "share_session_epoch": self.session_epoch,
                "max_wait_ms": 500,
                "min_bytes": 1,
                "max_bytes": 1 << 20,
                "max_records": 500,
                "batch_size": 500,
                **fields,
            },
        )
        response = self.client.call(request, version)
        if response.error_code == NONE:
            self.session_epoch += 1
        return response

    def take(self, said: Iterable[Range] = (), **fields: Any) -> list[Range]:
        """(first, last, delivery count) of what one fetch gives."""
        response = self.fetch(said, **fields)
        assert response.error_code == NONE, response
        partitions = [partition for topic in response.responses for partition in topic.partitions]
        assert all(p.error_code == NONE and p.acknowledge_error_code == NONE for p in partitions), response
        return [(a.first_offset, a.last_offset, a.delivery_count) for p in partitions for a in p.acquired_records]

    def take_until(self, **fields: Any) -> list[Range]:
        """What the first fetch gives that gives something."""
        found: list[Range] = eventually(lambda: self.take(**fields), bool)
        return found

    def acknowledge(self, *said: Range, version: int = 2, **fields: Any) -> int:
        """The error code: of the request, or of the partition."""
        batches = [
            share_acknowledge.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=[kind])
            for first, last, kind in said
        ]
        partition = share_acknowledge.AcknowledgePartition(partition_index=0, acknowledgement_batches=batches)
        request = ShareAcknowledgeRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            topics=[share_acknowledge.AcknowledgeTopic(topic_id=self.topic_id, partitions=[partition])],
            **{"share_session_epoch": self.session_epoch, **fields},
        )
        response = self.client.call(request, version)
        if response.error_code != NONE:
            return int(response.error_code)
        self.session_epoch += 1
        return int(response.responses[0].partitions[0].error_code)

    def close(self) -> None:
        self.client.close()
