"""Logs that were on the disk before the metadata knew of them, and logs that it knows of and that are not there.

A broker that founds its cluster on directories that hold logs, Apache Kafka's or its own after the metadata was lost,
takes their topics over, ids and all. In a cluster that exists, a log of an unknown topic is told of and left alone:
never deleted. A partition whose log is gone, with a disk that is not mounted or a folder that was deleted, begins
empty, as in Kafka, and is told of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pystream.common.errors import PystreamError
from pystream.common.logging import get_logger
from pystream.common.model import ZERO_UUID, TopicPartition
from pystream.controller.requests import FoundTopic
from pystream.controller.topics import TopicController

if TYPE_CHECKING:
    from pystream.metadata.image import ClusterImage
    from pystream.storage.log_manager import LogManager
    from pystream.storage.partition_log import PartitionLog

logger = get_logger(__name__)

PARTITIONS_NAMED = 20  # in one line of the log


def found_topics(logs: Iterable[PartitionLog]) -> list[FoundTopic]:
    """The topics that the logs belong to. Partitions that lie between those found are counted: they begin empty.

    Logs of one name but of several topic ids are left out: nobody can tell which topic is the living one.
    """
    by_name: dict[str, list[PartitionLog]] = {}
    for log in logs:
        by_name.setdefault(log.topic, []).append(log)
    found = []
    for name, of_topic in sorted(by_name.items()):
        topic_ids = {log.topic_id for log in of_topic} - {ZERO_UUID}
        if len(topic_ids) > 1:
            logger.error("logs of one name belong to several topics", topic=name, topic_ids=len(topic_ids))
            continue
        partitions = 1 + max(log.partition for log in of_topic)
        found.append(FoundTopic(name=name, topic_id=topic_ids.pop() if topic_ids else ZERO_UUID, partitions=partitions))
    return found


async def adopt(topics: TopicController, logs: Iterable[PartitionLog], *, node_id: int) -> None:
    """Enter the topics of the logs into the metadata of a cluster that was just founded."""
    for outcome in await topics.adopt_topics(found_topics(logs), node_id=node_id):
        if outcome.error is not None:
            logger.error("topic of logs found here not taken over", topic=outcome.name, error=outcome.error)
        else:
            logger.warning("topic taken over with its logs", topic=outcome.name, partitions=outcome.partitions)


def report_strays(logs: Iterable[PartitionLog], image: ClusterImage) -> None:
    """Tell of logs that belong to no partition of the image."""
    strays = [
        str(TopicPartition(log.topic, log.partition))
        for log in logs
        if image.partition(log.topic, log.partition) is None
    ]
    if strays:
        logger.error("logs of unknown topics are left alone", count=len(strays), partitions=",".join(strays))


def missing_logs(logs: LogManager, image: ClusterImage, *, node_id: int) -> list[TopicPartition]:
    """Partitions of the image that are this broker's and have no log that was opened. Called before they get one."""
    return [
        TopicPartition(topic.name, partition.index)
        for topic in image.topics.values()
        for partition in topic.partitions
        if node_id in partition.replicas and logs.get(topic.name, partition.index) is None
    ]


def report_missing(names: Iterable[TopicPartition]) -> None:
    """Tell of partitions that begin anew as the broker starts."""
    begun = list(map(str, names))
    if begun:
        left_out = len(begun) - PARTITIONS_NAMED
        shown = ",".join(begun[:PARTITIONS_NAMED]) + (f" and {left_out} more" if left_out > 0 else "")
        logger.error("partitions begin empty: no log directory holds their logs", count=len(begun), partitions=shown)


async def collect_garbage(topics: TopicController) -> None:
    """Rid the metadata of what deletions left that were cut short. It can wait: nobody reads it."""
    try:
        collected = await topics.collect_garbage()
    except PystreamError as error:
        logger.warning("garbage of deleted topics remains", error=error)
        return
    if collected:
        logger.info("garbage of deleted topics collected", keys=collected)
