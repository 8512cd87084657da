"""What Kafka's tools and ours are given, in turn, on one broker: stories whose runs follow upon one another.

BROKER stands for host:port of the broker, FILES for a folder with the files below, MINE for what only one side touches.
"""

from __future__ import annotations

from tests.conformance.tool_runs import Run

B = ("--bootstrap-server", "BROKER")
PRODUCER, CONSUMER = "kafka-console-producer", "kafka-console-consumer"
OFFSETS, DELETE, LOG_DIRS, GROUPS = "kafka-get-offsets", "kafka-delete-records", "kafka-log-dirs", "kafka-groups"
FEATURES, TRANSACTIONS, ELECTION = "kafka-features", "kafka-transactions", "kafka-leader-election"
METRICS, VERSIONS, SHARE_CONSUMER = "kafka-client-metrics", "kafka-broker-api-versions", "kafka-console-share-consumer"
CLUSTER, QUORUM, ACLS = "kafka-cluster", "kafka-metadata-quorum", "kafka-acls"
QUORUM_ID = "AAAAAAAAAAAAAAAAAAAAAg"
SERIALIZATION = "org.apache.kafka.common.serialization"
FORMATTERS = "org.apache.kafka.tools.consumer"


def _moves(*partitions: str) -> str:
    return f'{{"version":1,"partitions":[{",".join(partitions)}]}}'


FILES = {
    "delete.json": '{"partitions":[{"topic":"five-MINE","partition":0,"offset":2}],"version":1}',
    "delete-far.json": '{"partitions":[{"topic":"five-MINE","partition":0,"offset":99}],"version":1}',
    "delete-twice.json": '{"partitions":[' + ",".join(['{"topic":"a","partition":0,"offset":2}'] * 2) + "]}",
    "delete-text.json": '{"partitions":[{"topic":"a","partition":0,"offset":"x"}]}',
    "delete-short.json": '{"partitions":[{"topic":"a","offset":1}]}',
    "version-2.json": '{"version":2}',
    "empty.json": "{}",
    "list.json": "[1]",
    "no.json": "nope",
    "elect.json": '{"partitions":[{"topic":"five-MINE","partition":0}]}',
    "elect-twice.json": '{"partitions":[{"topic":"a","partition":0},{"topic":"a","partition":0}]}',
    "nothing.properties": "",
    "move.json": _moves('{"topic":"five-MINE","partition":0,"replicas":[1]}'),
    "move-unknown.json": _moves('{"topic":"nosuch","partition":0,"replicas":[1]}'),
    "move-empty.json": _moves('{"topic":"a","partition":0,"replicas":[]}'),
    "move-none.json": _moves(),
    "move-away.json": _moves('{"topic":"five-MINE","partition":0,"replicas":[1,2]}'),
    "move-same.json": _moves('{"topic":"a","partition":0,"replicas":[1,1]}'),
    "move-short.json": _moves('{"topic":"a","partition":0,"replicas":[1],"log_dirs":[]}'),
    "move-twice.json": _moves(*['{"topic":"a","partition":0,"replicas":[1]}'] * 2),
    "move-absent.json": _moves('{"topic":"five-MINE","partition":7,"replicas":[1]}'),
    "move-nowhere.json": _moves('{"topic":"five-MINE","partition":0,"replicas":[1],"log_dirs":["/nowhere"]}'),
    "topics.json": '{"version":1,"topics":[{"topic":"five-MINE"}]}',
    "topics-unknown.json": '{"version":1,"topics":[{"topic":"nosuch"}]}',
    "payloads.txt": "a\nbb\nccc\n",
    "plan.csv": "five-MINE,0,2\n",
    "server.properties": (
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n"
        "listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n"
        "controller.listener.names=CONTROLLER\nlog.dirs=FILES/kraft\n"
    ),
}


def on_topic(tool: str, *words: str, stdin: str = "", topic: str = "five-MINE") -> Run:
    return Run(tool, (*B, "--topic", topic, *words), stdin)


def consume(*words: str, topic: str = "five-MINE") -> Run:
    return on_topic(CONSUMER, "--from-beginning", "--timeout-ms", "10000", *words, topic=topic)


def every(tool: str, *wordings: tuple[str, ...]) -> list[Run]:
    return [Run(tool, (*B, *words)) for words in wordings]


# done with our tools on both sides before the stories
SETUP = [
    on_topic("kafka-topics", "--create", "--partitions", "1"),
    on_topic(PRODUCER, stdin="one\ntwo\nthree\nfour\nfive\n"),
    on_topic("kafka-topics", "--create", "--partitions", "1", topic="one-MINE"),
    on_topic(PRODUCER, stdin="alone\n", topic="one-MINE"),
    on_topic("kafka-topics", "--create", "--partitions", "1", topic="written-MINE"),
    on_topic("kafka-topics", "--create", "--partitions", "3", topic="loaded-MINE"),
    Run(
        "kafka-consumer-groups",
        (*B, "--reset-offsets", "--group", "group-MINE", "--topic", "five-MINE", "--to-earliest", "--execute"),
    ),
    Run("kafka-configs", (*B, "--alter", "--group", "share-MINE", "--add-config", "share.auto.offset.reset=earliest")),
]
PRODUCED = [
    on_topic(PRODUCER, stdin="one\ntwo\n\nthree", topic="written-MINE"),
    on_topic(
        PRODUCER,
        *("--reader-property", "parse.key=true", "--reader-property", "key.separator=:"),
        stdin="k:v\nk2:\n:v3\n",
        topic="written-MINE",
    ),
    on_topic(
        PRODUCER,
        *("--reader-property", "parse.headers=true", "--reader-property", "null.marker=NULL"),
        stdin="a:b,c:NULL\tval\nx:y\tNULL\n",
        topic="written-MINE",
    ),
    on_topic(
        PRODUCER,
        *("--producer-property", "acks=1", "--compression-codec", "lz4", "--sync"),
        stdin="sync\n",
        topic="written-MINE",
    ),
    on_topic(PRODUCER, "--property", "parse.key=true", stdin="no value\n", topic="written-MINE"),
    on_topic(PRODUCER, "--property", "parse.key=1", "--reader-property", "ignore.error=true", topic="written-MINE"),
    consume(
        *(
            "--max-messages",
            "10",
            "--formatter-property",
            "print.key=true",
            "--formatter-property",
            "print.offset=true",
        ),
        *("--formatter-property", "print.partition=true", "--formatter-property", "print.headers=true"),
        *("--formatter-property", "print.epoch=true", "--formatter-property", "print.delivery=true"),
        *("--formatter-property", "null.literal=NIL", "--formatter-property", "key.separator=|"),
        topic="written-MINE",
    ),
    Run(OFFSETS, (*B, "--topic", "written-MINE")),
]
WRONG_FOR_A_PRODUCER = [
    *every(
        PRODUCER,
        (),
        ("--topic",),
        ("--topic", "a", "--bogus"),
        ("--topic", "a", "--timeout", "abc"),
        ("--topic", "a", "--command-property", "acks=7"),
        ("--topic", "a", "--producer-property", "acks=1", "--command-property", "acks=1"),
        ("--topic", "a", "--producer.config", "FILES/empty.json", "--command-config", "FILES/empty.json"),
        ("--topic", "a", "--command-config", "/nowhere"),
        ("--topic", "a", "--topic", "b"),
        ("--topic", "a", "--reader-property", "headers.delimiter=,"),
        ("--topic", "a", "--compression-codec", "nosuch"),
        ("--topic", "a", "--batch-size", "-1"),
    ),
    Run(PRODUCER, ("--topic", "x")),
    Run(PRODUCER, ("--bootstrap-server", "nowhere", "--topic", "a")),
]
CONSUMED = [
    consume("--max-messages", "3"),
    consume("--max-messages", "5", "--property", "print.offset=true", "--property", "key.separator=|"),
    consume("--max-messages", "2", "--formatter-property", "print.timestamp=true"),
    consume("--max-messages", "2", "--formatter", f"{FORMATTERS}.NoOpMessageFormatter"),
    consume("--max-messages", "2", "--formatter", f"{FORMATTERS}.LoggingMessageFormatter"),
    consume("--max-messages", "2", "--formatter-property", f"value.deserializer={SERIALIZATION}.StringDeserializer"),
    consume("--max-messages", "2", "--formatter-property", f"value.deserializer={SERIALIZATION}.LongDeserializer"),
    consume(
        "--max-messages", "2", "--value-deserializer", f"{SERIALIZATION}.IntegerDeserializer", "--skip-message-on-error"
    ),
    on_topic(CONSUMER, "--partition", "0", "--offset", "2", "--max-messages", "2"),
    on_topic(CONSUMER, "--partition", "0", "--offset", "EARLIEST", "--max-messages", "1"),
    on_topic(CONSUMER, "--partition", "0", "--timeout-ms", "500"),
    Run(
        CONSUMER,
        (*B, "--include", "fiv.-MINE|nothing", "--from-beginning", "--max-messages", "2", "--timeout-ms", "10000"),
    ),
    consume("--group", "reads-MINE", "--max-messages", "2"),
    consume("--group", "reads-MINE", "--max-messages", "1", "--isolation-level", "read_committed"),
    Run("kafka-groups", (*B, "--list", "--group-type", "classic")),
]
WRONG_FOR_A_CONSUMER = [
    *every(
        CONSUMER,
        (),
        ("--topic", "a", "--include", "b"),
        ("--topic", "a", "--partition", "0", "--offset", "-2"),
        ("--topic", "a", "--partition", "0", "--offset", "soon"),
        ("--topic", "a", "--partition", "x"),
        ("--topic", "a", "--offset", "2"),
        ("--topic", "a", "--partition", "0", "--group", "g"),
        ("--topic", "a", "--partition", "0", "--offset", "1", "--from-beginning"),
        ("--include", "a", "--partition", "0"),
        ("--topic", "a", "--property", "print.key=true", "--formatter-property", "print.key=true"),
        ("--topic", "a", "--consumer-property", "a=b", "--command-property", "a=b"),
        ("--topic", "a", "--group", "x", "--consumer-property", "group.id=y"),
        ("--topic", "a", "--from-beginning", "--consumer-property", "auto.offset.reset=latest"),
        ("--topic", "a", "--bogus"),
    ),
    Run(CONSUMER, ("--topic", "a")),
]
OFFSETS_TOLD = [
    *every(
        OFFSETS,
        ("--topic", "five-MINE"),
        ("--topic", "five-MINE", "--time", "earliest"),
        ("--topic", "one-MINE", "--time", "max-timestamp"),
        ("--topic", "five-MINE", "--time", "-5"),
        ("--topic", "five-MINE", "--time", "99999999999999"),
        ("--topic", "five-MINE", "--time", "0"),
        ("--topic-partitions", "five-MINE:0-1,x:3"),
        ("--topic-partitions", "five-MINE:1-"),
        ("--topic-partitions", "a:b:c"),
        ("--topic", "nosuch"),
        ("--topic", "a", "--topic-partitions", "b"),
        ("--partitions", "x"),
        ("--time", "soon"),
        ("--bogus",),
    ),
    Run(OFFSETS, ()),
    Run(OFFSETS, ("--topic", "x")),
    Run(OFFSETS, ("--bootstrap-server", "a,b:1")),
]
DELETED = [
    *every(
        DELETE,
        *(
            ("--offset-json-file", f"FILES/{name}")
            for name in FILES
            if name.startswith(("delete", "v", "empty", "l", "no."))
        ),
    ),
    *every(DELETE, ("--offset-json-file", "/nowhere"), (), ("--bogus",)),
    Run(DELETE, ()),
    Run(OFFSETS, (*B, "--topic", "five-MINE", "--time", "-2")),
]
DESCRIBED_LOG_DIRS = every(
    LOG_DIRS,
    ("--describe",),
    ("--describe", "--topic-list", "five-MINE"),
    ("--describe", "--broker-list", "1"),
    ("--describe", "--broker-list", "9,1"),
    ("--describe", "--broker-list", "x"),
    (),
    ("--bogus",),
)
LISTED_GROUPS = [
    *every(
        GROUPS,
        ("--list",),
        ("--list", "--consumer"),
        ("--list", "--share"),
        ("--list", "--streams"),
        ("--list", "--group-type", "Classic"),
        ("--list", "--group-type", "consumer"),
        ("--list", "--protocol", "consumer"),
        ("--list", "--group-type", "classic", "--protocol", "x"),
        ("--list", "--group-type", "x"),
        ("--list", "--share", "--consumer"),
        ("--list", "--bogus"),
        (),
    ),
    Run(GROUPS, ("--list",)),
    Run(GROUPS, ()),
]
DESCRIBED_CLUSTER = [
    *(
        Run(CLUSTER, words)
        for words in (
            ("cluster-id", *B),
            ("cluster-id", "-b", "BROKER"),
            ("list-endpoints", *B),
            ("list-endpoints", *B, "--include-fenced-brokers"),
            ("unregister", *B, "--id", "7"),
            ("unregister", *B, "--id", "x"),
            ("unregister", *B),
            ("cluster-id", *B, "--config", "/nowhere"),
            ("cluster-id", *B, "--bootstrap-controller", "x:1"),
            ("cluster-id",),
            ("nothing",),
            (),
        )
    ),
    *every(
        QUORUM,
        ("describe", "--status"),
        ("describe", "--replication"),
        ("describe", "--replication", "--human-readable"),
        ("describe", "--status", "--human-readable"),
        ("describe", "--status", "--replication"),
        ("describe",),
        ("add-controller",),
        ("remove-controller", "-i", "-1", "-d", "x"),
        ("remove-controller", "-i", "1", "-d", QUORUM_ID, "--dry-run"),
        (),
    ),
    Run(QUORUM, (*B, "--command-config", "/nowhere", "describe", "--status")),
    Run(QUORUM, ("describe", "--status")),
]
ACLS_WITHOUT_AN_AUTHORIZER = [
    *every(
        ACLS,
        ("--list",),
        ("--add", "--topic", "x"),
        ("--add", "--topic", "x", "--allow-principal", "alice"),
        ("--add", "--topic", "x", "--allow-principal", "User:alice"),
        ("--add", "--allow-principal", "User:alice"),
        ("--add", "--producer", "--allow-principal", "User:alice"),
        ("--add", "--consumer", "--topic", "x", "--allow-principal", "User:a"),
        ("--add", "--consumer", "--topic", "t", "--group", "g", "--allow-principal", "User:a", "--deny-host", "h"),
        ("--add", "--topic", "x", "--allow-principal", "User:a", "--resource-pattern-type", "match"),
        ("--add", "--principal", "User:x"),
        ("--remove", "--topic", "x", "--force"),
        ("--list", "--producer"),
        ("--list", "--resource-pattern-type", "x"),
        (),
    ),
    Run(ACLS, ("--list",)),
]
SHARED = [
    *(
        on_topic(SHARE_CONSUMER, "--group", "share-MINE", "--timeout-ms", "20000", *words)
        for words in (
            ("--max-messages", "2", "--formatter-property", "print.offset=true"),
            ("--max-messages", "1", "--release"),
            ("--max-messages", "3", "--formatter-property", "print.delivery=true"),
        )
    ),
    *every(
        SHARE_CONSUMER,
        (),
        ("--topic", "a", "--reject", "--release"),
        ("--topic", "a", "--group", "x", "--consumer-property", "group.id=y"),
        ("--topic", "a", "--bogus"),
        ("--topic", "a", "--consumer-config", "x", "--command-config", "y"),
    ),
    Run(SHARE_CONSUMER, ("--topic", "a")),
]
LEVELS = [
    *every(
        FEATURES,
        ("describe",),
        ("version-mapping",),
        ("version-mapping", "--release-version", "3.9"),
        ("version-mapping", "--release-version", "9"),
        ("feature-dependencies", "--feature", "group.version=1", "--feature", "eligible.leader.replicas.version=1"),
        ("feature-dependencies", "--feature", "x"),
        ("upgrade",),
        ("upgrade", "--feature", "group.version"),
        ("upgrade", "--feature", "group.version=x"),
        ("upgrade", "--feature", "group.version=9"),
        ("upgrade", "--feature", "group.version=1", "--dry-run"),
        ("upgrade", "--feature", "nosuch=1"),
        ("upgrade", "--metadata", "4.2-IV1"),
        ("upgrade", "--metadata", "9"),
        ("upgrade", "--release-version", "4.2"),
        ("upgrade", "--release-version", "4.2", "--feature", "a=1"),
        ("upgrade", "--release-version", "9"),
        ("downgrade", "--feature", "group.version=0", "--dry-run"),
        ("downgrade", "--feature", "metadata.version=20"),
        ("disable", "--feature", "streams.version", "--dry-run"),
        ("disable", "--feature", "a", "--feature", "a"),
        ("disable",),
        ("nothing",),
        (),
    ),
    Run(FEATURES, ("describe",)),
    Run(VERSIONS, B),
    Run(VERSIONS, (*B, "--bogus")),
    Run(VERSIONS, ()),
]
TRANSACTIONS_SHOWN = every(
    TRANSACTIONS,
    ("list",),
    ("describe", "--transactional-id", "nosuch"),
    ("find-hanging",),
    ("find-hanging", "--broker-id", "1"),
    ("find-hanging", "--topic", "five-MINE"),
    ("find-hanging", "--partition", "1", "--broker-id", "1"),
    ("forceTerminateTransaction",),
    ("forceTerminateTransaction", "--transactionalId", "terminated-MINE"),
    ("abort", "--topic", "five-MINE", "--partition", "0"),
    ("abort", "--topic", "five-MINE", "--partition", "0", "--start-offset", "1"),
    ("abort", "--topic", "five-MINE", "--partition", "0", "--producer-id", "1"),
    ("describe",),
    ("nothing",),
    (),
)
ELECTED = every(
    ELECTION,
    *(
        ("--election-type", *words)
        for words in (
            ("preferred", "--all-topic-partitions"),
            ("PREFERRED", "--topic", "five-MINE", "--partition", "0"),
            ("unclean", "--topic", "five-MINE", "--partition", "0"),
            ("preferred", "--topic", "five-MINE", "--partition", "9"),
            ("preferred", "--topic", "nosuch", "--partition", "0"),
            ("x", "--topic", "a", "--partition", "0"),
            ("preferred", "--topic", "a"),
            ("preferred", "--all-topic-partitions", "--partition", "0"),
            ("preferred", "--all-topic-partitions", "--topic", "a"),
            ("preferred", "--path-to-json-file", "FILES/elect.json"),
            ("preferred", "--path-to-json-file", "FILES/elect-twice.json"),
            ("preferred", "--path-to-json-file", "FILES/empty.json"),
            ("preferred", "--path-to-json-file", "FILES/no.json"),
            ("preferred", "--all-topic-partitions", "--admin.config", "FILES/nothing.properties"),
            ("preferred",),
        )
    ),
    (),
)
METRICS_ASKED_FOR = [
    *every(
        METRICS,
        ("--list",),
        ("--alter", "--name", "MINE", "--interval", "1000", "--metrics", "a.,b.", "--match", "client_id=x"),
        ("--describe",),
        ("--describe", "--name", "MINE"),
        ("--alter", "--name", "MINE", "--interval", ""),
        ("--describe", "--name", "MINE"),
        ("--alter", "--name", "MINE", "--interval", "5"),
        ("--alter", "--name", "MINE", "--match", "bogus=1"),
        ("--delete", "--name", "MINE"),
        ("--describe", "--name", "nosuch"),
        ("--delete", "--name", "nosuch"),
        ("--alter", "--name", "x", "--interval", "soon"),
        ("--list", "--alter"),
        ("--list", "--name", "x"),
        ("--alter",),
        ("--delete",),
        (),
    ),
    Run(METRICS, ("--list",)),
    Run(METRICS, ()),
]


STORIES = {
    "lines become records": PRODUCED,
    "what a producer is not told": WRONG_FOR_A_PRODUCER,
    "records become lines": CONSUMED,
    "what a consumer is not told": WRONG_FOR_A_CONSUMER,
    "offsets": OFFSETS_TOLD,
    "records are deleted": DELETED,
    "log directories": DESCRIBED_LOG_DIRS,
    "groups": LISTED_GROUPS,
    "the cluster": DESCRIBED_CLUSTER,
    "acls": ACLS_WITHOUT_AN_AUTHORIZER,
    "a share group's records": SHARED,
    "features and versions": LEVELS,
    "transactions": TRANSACTIONS_SHOWN,
    "elections": ELECTED,
    "client metrics": METRICS_ASKED_FOR,
}
