"""`kafka-verifiable-consumer`, as Kafka's VerifiableConsumer: reads, and says in JSON what it got and committed."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.load.events import Events
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import Commands, serve_or_help, settings_file
from pystream.common.errors import FencedInstanceId, PystreamError, Wakeup
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.consumer import Consumer

RANGE: Final = "org.apache.kafka.clients.consumer.RangeAssignor"
POLL_SECONDS: Final = 0.5


def options() -> Commands:
    made = Commands(
        prog="verifiable-consumer", description="Consumes a topic, and prints rebalances, messages and commits in JSON."
    )
    made.add_argument("--bootstrap-server", required=True, help="The servers to connect to.")
    made.add_argument("--topic", required=True, help="Consumes messages from this topic.")
    made.add_argument("--group-protocol", default="classic", help="classic or consumer.")
    made.add_argument("--group-remote-assignor", help="Of the protocol consumer.")
    made.add_argument("--group-id", required=True, help="The group id of the consumer group")
    made.add_argument("--group-instance-id", help="Static membership.")
    made.add_argument("--max-messages", type=int, default=-1, help="So many; -1: until it is stopped.")
    made.add_argument("--session-timeout", type=int, metavar="TIMEOUT-MS", help="Of the protocol classic.")
    made.add_argument("--verbose", action="store_true", help="Tell of each record.")
    made.add_argument("--enable-autocommit", action="store_true", help="Commit now and then.")
    made.add_argument("--reset-policy", default="earliest", help="earliest, latest or none.")
    made.add_argument("--assignment-strategy", default=RANGE, help="Of the protocol classic.")
    made.add_argument("--consumer.config", dest="consumer_config", help="DEPRECATED: use --command-config.")
    made.add_argument("--command-config", help="A file of settings of the consumer.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_or_help(options(), arguments, work, endless=True)


def work(made: Commands, given: argparse.Namespace) -> None:
    from pystream.client.sync.consumer import Consumer

    path = settings_file(made, given, "consumer.config")
    events = Events()
    with Consumer(settings_of(given, path)) as consumer:
        _Reader(consumer, given, events).read_all()
    events.tell("shutdown_complete")


def settings_of(given: argparse.Namespace, path: str | None) -> dict[str, Any]:
    """The consumer's settings."""
    from pystream.client.config import ConsumerConfig

    settings: dict[str, Any] = load(path)
    protocol = given.group_protocol.lower()
    settings["group.protocol"] = protocol
    if protocol == "consumer":
        if given.group_remote_assignor is not None:
            settings["group.remote.assignor"] = given.group_remote_assignor
    else:
        settings["partition.assignment.strategy"] = given.assignment_strategy
        if given.session_timeout is not None:
            settings["session.timeout.ms"] = given.session_timeout
    if given.group_instance_id is not None:
        settings["group.instance.id"] = given.group_instance_id
    settings |= {
        "group.id": given.group_id,
        "bootstrap.servers": given.bootstrap_server,
        "enable.auto.commit": given.enable_autocommit,
        "auto.offset.reset": given.reset_policy,
    }
    return for_client(ConsumerConfig, settings)


class _Reader:
    """Reads until there is enough or it is told to stop, and tells what it does."""

    def __init__(self, consumer: Consumer, given: argparse.Namespace, events: Events) -> None:
        self._consumer = consumer
        self._given = given
        self._events = events
        self._count = 0

    def read_all(self) -> None:
        given = self._given
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        self._events.tell("startup_complete")
        try:
            self._consumer.subscribe([given.topic], on_assigned=self._assigned, on_revoked=self._revoked)
            while given.max_messages < 0 or self._count < given.max_messages:
                most = self._consumer.config.max_poll_records
                if given.max_messages >= 0:
                    most = min(most, given.max_messages - self._count)
                messages = self._consumer.poll(POLL_SECONDS, most)
                if messages:
                    self._read(messages)
        except Wakeup:
            pass  # SIGTERM or Ctrl-C: what was read is committed
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._consumer.wakeup()

    def _assigned(self, partitions: list[TopicPartition]) -> None:
        self._events.tell("partitions_assigned", {"partitions": _places(partitions)})

    def _revoked(self, partitions: list[TopicPartition]) -> None:
        self._events.tell("partitions_revoked", {"partitions": _places(partitions)})

    def _read(self, messages: Sequence[Any]) -> None:
        """Messages of one partition, as they come of a poll."""
        self._count += len(messages)
        if self._given.verbose:
            for each in messages:
                self._events.tell(
                    "record_data",
                    {
                        "key": _text(each.key),
                        "value": _text(each.value),
                        "topic": each.topic,
                        "partition": each.partition,
                        "offset": each.offset,
                    },
                )
        first, last = messages[0], messages[-1]
        summary = {
            "topic": first.topic,
            "partition": first.partition,
            "count": len(messages),
            "minOffset": first.offset,
            "maxOffset": last.offset,
        }
        self._events.tell("records_consumed", {"count": len(messages), "partitions": [summary]})
        if not self._given.enable_autocommit:
            self._commit(TopicPartition(first.topic, first.partition), last.offset + 1)

    def _commit(self, place: TopicPartition, offset: int) -> None:
        told: dict[str, Any] = {"offsets": [{**_place(place), "offset": offset}]}
        try:
            self._consumer.commit({place: offset})
        except (Wakeup, FencedInstanceId):
            raise
        except PystreamError as error:
            self._events.tell("offsets_committed", {**told, "error": message(error), "success": False})
        else:
            self._events.tell("offsets_committed", {**told, "success": True})


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _place(partition: TopicPartition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.partition}


def _places(partitions: Iterable[TopicPartition]) -> list[dict[str, Any]]:
    return [_place(each) for each in partitions]


if __name__ == "__main__":
    main()
