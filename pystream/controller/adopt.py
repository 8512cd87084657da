"""Topics whose records exist already: entered into a store that no broker has open, with the id they have.

The partitions begin a new leader epoch above every one that their logs know, and producer ids go on above every one
that wrote to them: neither an old epoch nor an old producer's sequence can then be taken for a new one's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pystream.common.errors import TopicAlreadyExists
from pystream.common.model import uuid_text
from pystream.metadata import records
from pystream.metadata.store import Absent, MetadataStore, ModRevision, Operation, Put

CHUNK = 100  # keys of one transaction


class AdoptedTopic(NamedTuple):
    """`leader_epochs`: of each partition in order, the newest that its log knows, or -1."""

    name: str
    topic_id: bytes
    leader_epochs: Sequence[int]
    configs: Mapping[str, str]


async def adopt_topic(store: MetadataStore, topic: AdoptedTopic, *, node_id: int) -> None:
    """Enter the topic, led by `node_id`. Raises TopicAlreadyExists for its name or id."""
    replicas = (node_id,)
    partitions: list[Operation] = []
    for index, leader_epoch in enumerate(topic.leader_epochs):
        state = records.initial_partition(replicas)._replace(leader_epoch=leader_epoch + 1)
        partitions.append(Put(records.partition_key(topic.topic_id, index), records.encode_partition(state)))
    name_key, topic_key = records.topic_name_key(topic.name), records.topic_key(topic.topic_id)
    absent = [Absent(name_key), Absent(topic_key)]
    for start in range(0, len(partitions), CHUNK):  # garbage until the topic itself is there
        result = await store.transaction(absent, partitions[start : start + CHUNK])
        if not result.succeeded:
            raise TopicAlreadyExists(f"Topic '{topic.name}' already exists.")
    record = records.TopicRecord(topic.name, (replicas,) * len(topic.leader_epochs))
    writes: list[Operation] = [
        Put(name_key, uuid_text(topic.topic_id).encode()),
        Put(topic_key, records.encode_topic(record)),
    ]
    if topic.configs:
        writes.append(Put(records.topic_config_key(topic.topic_id), records.encode_mapping("values", topic.configs)))
    result = await store.transaction(absent, writes)
    if not result.succeeded:
        raise TopicAlreadyExists(f"Topic '{topic.name}' already exists.")


async def reserve_producer_ids(store: MetadataStore, below: int) -> None:
    """See to it that no producer id under `below` is given out from now on."""
    item = await store.get(records.PRODUCER_IDS_KEY)
    first = int(item.value.split()[0]) if item is not None else 0
    if first < below:
        revision = item.mod_revision if item is not None else 0
        value = f"{below} {secrets.token_hex(8)}".encode()
        await store.transaction(
            [ModRevision(records.PRODUCER_IDS_KEY, revision)], [Put(records.PRODUCER_IDS_KEY, value)]
        )
