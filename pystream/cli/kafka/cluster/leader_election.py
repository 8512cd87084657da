"""`kafka-leader-election`, as Kafka's LeaderElectionCommand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pystream.cli.kafka import documents
from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.options import Given, Mistake, Tool, flag, former, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.partitions import ElectionType
from pystream.common.errors import ClusterAuthorizationFailed, DeadlineExceeded, PystreamError
from pystream.common.model import TopicPartition

TIMEOUT_MS: Final = 30_000
SCOPES: Final = ("topic", "all-topic-partitions", "path-to-json-file")
TOOL: Final = Tool(
    "kafka-leader-election",
    "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are "
    "preferred replicas and unclean replicas.",
    (
        value("bootstrap-server", "REQUIRED. host:port of brokers, separated by commas.", "host:port"),
        value("command-config", "Config properties file to pass to the admin client.", "Config file"),
        former("admin.config", "command-config", "config file"),
        value(
            "path-to-json-file",
            'The partitions: {"partitions": [{"topic": "foo", "partition": 1}, {"topic": "foobar", "partition": 2}]}',
            "Path to JSON file",
        ),
        value("topic", "The topic; with --partition.", "topic name"),
        value("partition", "The partition of the topic.", "partition id", int),
        flag("all-topic-partitions", "All partitions that are eligible."),
        value("election-type", "REQUIRED. preferred or unclean.", "PREFERRED,UNCLEAN", lambda text: _type(text)),
    ),
    renamed="Option --{} has been deprecated and will be removed in a future version. Use --{} instead.",
)


def _type(text: str) -> ElectionType:
    if text.upper() not in ElectionType.__members__:
        raise ValueError(text)
    return ElectionType[text.upper()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    check(given)
    kind: ElectionType = given.value("election-type")
    partitions: list[TopicPartition] | None = None
    if given.has("path-to-json-file"):
        partitions = partitions_of(documents.read(given.value("path-to-json-file")))
    elif given.has("topic"):
        partitions = [TopicPartition(given.value("topic"), given.value("partition"))]
    timeouts = {"default_api_timeout_ms": TIMEOUT_MS, "request_timeout_ms": TIMEOUT_MS // 2}
    try:
        with admin_of(given, **timeouts) as admin:
            results = admin.elect_leaders(kind, partitions)
    except (DeadlineExceeded, ClusterAuthorizationFailed) as error:
        late = isinstance(error, DeadlineExceeded)
        said = "Timeout waiting for election results" if late else "Not authorized to perform leader election"
        print(said)
        raise Mistake(said) from None
    _print(kind, results.succeeded, results.failed)


def check(given: Given) -> None:
    """Raises Mistake for options that do not go together."""
    missing = [name for name in ("bootstrap-server", "election-type") if not given.has(name)]
    if missing:
        raise Mistake(f"Missing required option(s): {', '.join(missing)}")
    if sum(map(given.has, SCOPES)) != 1:
        raise Mistake(f"One and only one of the following options is required: {', '.join(SCOPES)}")
    if given.has("topic") and not given.has("partition"):
        raise Mistake("Missing required option(s): partition")
    if given.has("partition") and not given.has("topic"):
        raise Mistake("Option partition is only allowed if topic is used")


def partitions_of(document: object) -> list[TopicPartition]:
    """What a file names. Raises Mistake."""
    if document is None:
        raise Mistake("Replica election data is empty")
    if not isinstance(document, dict) or "partitions" not in document:
        raise Mistake('Replica election data is missing "partitions" field')
    found = [
        TopicPartition(documents.field(row, "topic", str), documents.field(row, "partition", int))
        for row in documents.rows(document, "partitions")
    ]
    twice = documents.repeated(map(str, found))
    if twice:
        raise Mistake(f"Replica election data contains duplicate partitions: [{', '.join(twice)}]")
    return found


def _print(kind: ElectionType, told: dict[TopicPartition, bool], failed: dict[TopicPartition, PystreamError]) -> None:
    def joined(places: Iterable[TopicPartition]) -> str:
        return ", ".join(map(str, places))

    elected = [place for place, needed in told.items() if needed]
    if elected:
        print(f"Successfully completed leader election ({kind.name}) for partitions {joined(elected)}")
    if len(elected) < len(told):
        print(f"Valid replica already elected for partitions {joined(place for place in told if not told[place])}")
    for place, error in failed.items():
        print(f"Error completing leader election ({kind.name}) for partition: {place}: {java_text(error)}")
    if failed:
        raise Mistake(f"{len(failed)} replica(s) could not be elected")


if __name__ == "__main__":
    main()
