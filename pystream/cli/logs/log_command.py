"""`pystream logs import`: take over topics from a log directory of Apache Kafka.

    pystream logs import /var/kafka/data --data-dir ./data --topic orders --topic-config retention.ms=-1

Neither broker may run. Kafka's files are copied, never changed; topics keep their ids, names, records and offsets. But
their settings lie elsewhere: give what they need, above all retention, with --topic-config.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pystream.cli.failure import sentence
from pystream.cli.logs.dump_command import dump
from pystream.cli.logs.log_repair import EXIT_CODES, repair, verify
from pystream.cli.manual import ManualCommand
from pystream.cli.settings import from_assignments
from pystream.common.errors import DataDirectoryError, NotFound, PystreamError, TopicAlreadyExists
from pystream.common.model import NO_LEADER_EPOCH
from pystream.storage.directories import LogDirectory
from pystream.storage.kafka_directory import KafkaPartition, copy_partition, find_partitions
from pystream.storage.repair.verification import held

if TYPE_CHECKING:
    from pystream.metadata.store import MetadataStore

DEFAULT_NODE_ID = 1


@click.group(help="Look into logs; verify, repair and take them over while no broker has them open.")
def logs() -> None:
    """The noun; its verbs follow."""


logs.add_command(dump)
logs.add_command(verify)
logs.add_command(repair)


@logs.command(
    "import",
    cls=ManualCommand,
    help="Take over topics from a log directory (log.dirs) of Apache Kafka.",
    examples=("pystream logs import /var/kafka/data --data-dir ./data --topic orders --topic-config retention.ms=-1",),
    exit_codes=EXIT_CODES,
)
@click.argument("kafka_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--data-dir", required=True, type=click.Path(path_type=Path, file_okay=False), help="Of the new broker.")
@click.option("--topic", "topics", multiple=True, help="Only this topic; may be repeated. Else all but Kafka's own.")
@click.option("--topic-config", "assignments", multiple=True, metavar="KEY=VALUE", help="Set on each topic.")
@click.option("--node-id", type=int, help="The new broker's; by default whose directory it is, or 1.")
def import_(
    kafka_directory: Path, data_dir: Path, topics: tuple[str, ...], assignments: tuple[str, ...], node_id: int | None
) -> None:
    """Copy, enter into the metadata, and say what came over; exit code 1 when something could not."""
    configs = from_assignments(assignments, option="--topic-config")
    try:
        with held(kafka_directory):
            partitions = find_partitions(kafka_directory, frozenset(topics))
            if not partitions:
                raise NotFound(f"{kafka_directory} holds no partition of a topic")
            target = LogDirectory.open(data_dir)
            try:
                leader = int(target.meta.get("node.id", DEFAULT_NODE_ID)) if node_id is None else node_id
                asyncio.run(_import(partitions, data_dir, configs, leader))
            finally:
                target.close(clean=False)  # what was copied is checked, and its indexes are made, at the broker's start
    except BrokenPipeError:
        raise  # see `ending`
    except (PystreamError, OSError) as error:
        print(f"pystream logs import: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None


async def _import(
    partitions: list[KafkaPartition], data_directory: Path, configs: dict[str, str], node_id: int
) -> None:
    from pystream.broker.broker import METADATA_FILE
    from pystream.common.config import definition_of
    from pystream.controller.adopt import reserve_producer_ids
    from pystream.metadata.store.sqlite import SqliteStore
    from pystream.storage.config import LogConfig

    definition_of(LogConfig).validate(configs)
    store = SqliteStore.open(data_directory / METADATA_FILE)
    try:
        await reserve_producer_ids(store, max((partition.next_producer_id for partition in partitions), default=0))
        for name, group in itertools.groupby(partitions, key=lambda partition: partition.topic):
            count = await _import_topic(store, name, list(group), data_directory, configs, node_id)
            click.echo(f"{name}: {count} partitions")
    finally:
        await store.close()


async def _import_topic(
    store: MetadataStore,
    name: str,
    partitions: list[KafkaPartition],
    data_directory: Path,
    configs: dict[str, str],
    node_id: int,
) -> int:
    """The files first, then the metadata: what is interrupted leaves directories that no topic knows, and no more."""
    from pystream.controller.adopt import AdoptedTopic, adopt_topic
    from pystream.metadata.records import topic_name_key

    topic_ids = {partition.topic_id for partition in partitions}
    if len(topic_ids) > 1:
        raise DataDirectoryError(f"the partitions of {name} belong to topics of different ids")
    if await store.get(topic_name_key(name)) is not None:
        raise TopicAlreadyExists(f"Topic '{name}' already exists.")
    leader_epochs = [NO_LEADER_EPOCH] * (partitions[-1].partition + 1)
    for partition in partitions:
        copy_partition(partition, data_directory)
        leader_epochs[partition.partition] = partition.leader_epoch
    await adopt_topic(store, AdoptedTopic(name, topic_ids.pop(), leader_epochs, configs), node_id=node_id)
    return len(leader_epochs)
