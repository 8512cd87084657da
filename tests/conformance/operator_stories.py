"""More stories as those of `tool_stories`: reassignments, performance tests, share groups, directories of a server."""

from __future__ import annotations

from tests.conformance.tool_runs import Run
from tests.conformance.tool_stories import QUORUM_ID, B, every, on_topic

REASSIGN, WRITES, READS = "kafka-reassign-partitions", "kafka-producer-perf-test", "kafka-consumer-perf-test"
LATENCY, TAKES = "kafka-e2e-latency", "kafka-share-consumer-perf-test"
RESET = "kafka-streams-application-reset"
SHARE_GROUPS, STORAGE, TOKENS = "kafka-share-groups", "kafka-storage", "kafka-delegation-tokens"


def moving(action: str, name: str, *words: str) -> tuple[str, ...]:
    return (action, "--reassignment-json-file", f"FILES/{name}.json", *words)


def generating(name: str, brokers: str) -> tuple[str, ...]:
    return ("--generate", "--topics-to-move-json-file", f"FILES/{name}.json", "--broker-list", brokers)


REASSIGNED = [
    *every(
        REASSIGN,
        ("--list",),
        moving("--execute", "move"),
        moving("--verify", "move"),
        moving("--execute", "move", "--throttle", "5000", "--replica-alter-log-dirs-throttle", "6000"),
        moving("--verify", "move", "--preserve-throttles"),
        moving("--cancel", "move"),
        moving("--execute", "move-nowhere", "--timeout", "500"),
        moving("--verify", "move-nowhere"),
        *(
            moving("--execute", f"move-{name}")
            for name in ("unknown", "empty", "none", "away", "same", "short", "twice", "absent")
        ),
        generating("topics", "1"),
        generating("topics-unknown", "1"),
        generating("topics", "1,1"),
        generating("topics", "x"),
        generating("topics", "7"),
        ("--generate",),
        ("--execute",),
        ("--list", "--verify"),
        ("--list", "--throttle", "1"),
        moving("--execute", "move", "--throttle", "x"),
        ("--execute", "--reassignment-json-file", "/nowhere"),
        ("--bogus",),
        (),
    ),
    Run(REASSIGN, ("--list",)),
    Run(REASSIGN, ()),
]
LOADED = [
    *(
        on_topic(WRITES, "--num-records", "2000", "--throughput", "-1", *words, topic="loaded-MINE")
        for words in (
            ("--record-size", "100"),
            ("--record-size", "100", "--warmup-records", "500"),
            ("--payload-monotonic", "--producer-props", "acks=1"),
            ("--payload-file", "FILES/payloads.txt"),
            ("--payload-file", "/nowhere"),
            ("--record-size", "10", "--transactional-id", "loads-MINE", "--transaction-duration-ms", "10"),
            (),
            ("--record-size", "0"),
            ("--record-size", "9", "--producer-props", "a"),
            ("--record-size", "9", "--command-property", "acks=1", "--producer-props", "acks=1"),
            ("--record-size", "9", "--warmup-records", "5000"),
            ("--record-size", "9", "--reporting-interval", "0"),
        )
    ),
    *every(
        READS,
        ("--topic", "loaded-MINE", "--num-records", "2000"),
        ("--topic", "loaded-MINE", "--num-records", "99999999", "--timeout", "500", "--hide-header"),
        ("--include", "loade.-MINE", "--num-records", "9000000", "--timeout", "500"),
        ("--topic", "a"),
        ("--topic", "a", "--include", "b", "--num-records", "1"),
        ("--topic", "a", "--num-records", "1", "--reporting-interval", "0"),
        ("--topic", "a", "--num-records", "1", "--reporting-interval", "x"),
        ("--topic", "a", "--num-records", "1", "--messages", "2"),
        ("--topic", "a", "--num-records", "x"),
        (),
    ),
    Run(READS, ("--topic", "a", "--num-records", "1")),
    *every(
        TAKES,
        ("--topic", "loaded-MINE", "--num-records", "10", "--timeout", "1000"),
        (
            *("--topic", "loaded-MINE", "--num-records", "10", "--timeout", "1000"),
            *("--show-consumer-stats", "--threads", "2", "--hide-header"),
        ),
        ("--topic", "a"),
        (),
    ),
    *(
        Run(LATENCY, words)
        for words in (
            ("BROKER", "single-MINE", "5", "all", "20"),
            ("BROKER", "single-MINE", "5", "0", "20"),
            ("BROKER", "single-MINE"),
            ("BROKER", "single-MINE", "x", "1", "20"),
            ("BROKER", "single-MINE", "0", "1", "20"),
            ("BROKER", "single-MINE", "5", "all", "20", "/nowhere"),
            (
                *(*B, "--topic", "single-MINE", "--num-records", "3", "--producer-acks", "1", "--record-size", "10"),
                *("--record-key-size", "4", "--num-headers", "2", "--record-header-key-size", "2"),
                *("--record-header-size", "3"),
            ),
            B,
        )
    ),
]
GROUP = ("--group", "reset-MINE")
SHARE_GROUPS_KEPT = [
    *every(
        SHARE_GROUPS,
        ("--list", "--state", "Stable"),
        ("--reset-offsets", *GROUP, "--to-earliest", "--topic", "five-MINE", "--execute"),
        ("--list", "--state"),
        ("--describe", *GROUP),
        ("--describe", *GROUP, "--verbose"),
        ("--describe", *GROUP, "--members"),
        ("--describe", *GROUP, "--state"),
        ("--describe", *GROUP, "--state", "--verbose"),
        ("--describe", "--group", "nosuch"),
        ("--reset-offsets", *GROUP, "--to-latest", "--all-topics", "--dry-run"),
        ("--reset-offsets", *GROUP, "--to-datetime", "2020-01-01T00:00:00.000", "--topic", "five-MINE", "--dry-run"),
        ("--reset-offsets", *GROUP, "--to-datetime", "soon", "--all-topics", "--dry-run"),
        ("--reset-offsets", *GROUP, "--to-latest", "--topic", "nosuch", "--execute"),
        ("--reset-offsets", *GROUP, "--to-latest", "--topic", "five-MINE:9", "--execute"),
        ("--delete-offsets", *GROUP, "--topic", "five-MINE", "--topic", "nosuch"),
        ("--delete-offsets", "--group", "nosuch", "--topic", "five-MINE"),
        ("--describe", *GROUP),
        ("--delete", *GROUP),
        ("--delete", "--group", "nosuch"),
        (),
        ("--describe",),
        ("--delete",),
        ("--reset-offsets",),
        ("--delete-offsets",),
        ("--list", "--describe"),
        ("--describe", "--group", "a", "--all-groups"),
        ("--describe", "--group", "a", "--members", "--state"),
        ("--describe", "--group", "a", "--state", "x"),
        ("--list", "--group", "x"),
        ("--reset-offsets", "--group", "a", "--to-earliest", "--to-latest", "--all-topics", "--dry-run"),
        ("--reset-offsets", "--group", "a", "--to-earliest", "--dry-run"),
        ("--reset-offsets", "--group", "a", "--to-earliest", "--all-topics", "--dry-run", "--execute"),
        ("--reset-offsets", "--all-groups", "--to-earliest", "--all-topics", "--execute"),
        ("--delete", "--group", "a", "--topic", "b"),
        ("--list", "--verbose"),
        ("--list", "--bogus"),
    ),
    Run(SHARE_GROUPS, ("--list",)),
    Run(SHARE_GROUPS, ()),
]
FORMAT = ("format", "-c", "FILES/server.properties", "-t")
FORMATTED = [
    *(
        Run(STORAGE, words)
        for words in (
            ("info", "-c", "FILES/server.properties"),
            (*FORMAT, QUORUM_ID),
            ("info", "-c", "FILES/server.properties"),
            (*FORMAT, QUORUM_ID),
            (*FORMAT, QUORUM_ID, "--ignore-formatted"),
            (*FORMAT, f"{QUORUM_ID[:-1]}w", "--ignore-formatted"),
            ("format", "-c", "FILES/server.properties"),
            ("format", "-t", QUORUM_ID, "-c", "/nowhere"),
            ("info",),
            ("version-mapping",),
            ("version-mapping", "-r", "3.9"),
            ("version-mapping", "-r", "9"),
            ("feature-dependencies", "-f", "share.version=1"),
            ("feature-dependencies", "-f", "x"),
            ("feature-dependencies",),
            ("random-uuid",),
            ("bogus",),
            (),
        )
    ),
    *every(TOKENS, ("--describe",), (), ("--create", "--command-config", "FILES/nothing.properties"), ("--bogus",)),
    Run(TOKENS, ("--describe", "--command-config", "FILES/nothing.properties")),
]


def resetting(*words: str) -> Run:
    return Run(RESET, (*B, "--application-id", "app-MINE", *words))


INPUT, DRY = ("--input-topics", "five-MINE"), "--dry-run"
APPLICATION = [
    on_topic("kafka-topics", "--create", "--partitions", "1", topic="app-MINE-x-changelog"),
    resetting(DRY),
    resetting(*INPUT, DRY),
    resetting("--to-latest", *INPUT, DRY),
    resetting("--to-offset", "3", *INPUT, DRY),
    resetting("--to-offset", "300000", *INPUT, DRY),
    resetting("--to-offset", "-1", *INPUT, DRY),
    resetting("--shift-by", "-2", *INPUT, DRY),
    resetting("--to-datetime", "2020-01-01T00:00:00.000", *INPUT, DRY),
    resetting("--to-datetime", "2099-01-01T00:00:00.000", *INPUT, DRY),
    resetting("--to-datetime", "soon", *INPUT, DRY),
    resetting("--by-duration", "PT1H", *INPUT, DRY),
    resetting("--from-file", "FILES/plan.csv", *INPUT, DRY),
    resetting("--from-file", "FILES/no.json", *INPUT, DRY),
    resetting("--from-file", "/nowhere", *INPUT, DRY),
    resetting("--input-topics", "written-MINE,nosuch", "--intermediate-topics", "five-MINE,nope", DRY),
    resetting("--internal-topics", "app-MINE-x-changelog", DRY),
    resetting("--internal-topics", "five-MINE", DRY),
    resetting("--to-latest", "--to-earliest", *INPUT, DRY),
    resetting("--to-offset", "x", *INPUT, DRY),
    resetting("--bogus"),
    resetting("--config-file", "FILES/nothing.properties", DRY),
    resetting(*INPUT, "--to-latest", "--internal-topics", "app-MINE-x-changelog"),
    resetting(DRY),
    resetting(),
    Run(RESET, B),
    Run(RESET, ()),
]

STREAMS, ALL_INPUTS = "kafka-streams-groups", "--all-input-topics"
OF = ("--group", "streams-MINE")


def of_streams(action: str, *words: str) -> Run:
    return Run(STREAMS, (*B, f"--{action}", *OF, *words))


def beginning(*words: str) -> Run:
    return of_streams("reset-offsets", *words)


STREAMS_GROUP_LIVES = [
    *every(STREAMS, ("--list",), ("--list", "--state"), ("--list", "--state", "stable, Empty"), ()),
    *(
        of_streams("describe", *words)
        for view in ((), ("--offsets",), ("--members",), ("--state",))
        for words in (view, (*view, "--verbose"))
    ),
    *every(STREAMS, ("--describe", "--all-groups"), ("--describe", "--group", "nosuch")),
    beginning("--to-earliest", ALL_INPUTS, DRY),
    of_streams("delete"),
]
STREAMS_GROUP_LEFT = [
    *(of_streams("describe", *words) for words in ((), ("--members",), ("--state",), ("--state", "--verbose"))),
    *(
        beginning(*words, ALL_INPUTS, DRY)
        for words in (
            *(("--to-earliest",), ("--to-latest",), ("--to-current",), ("--to-offset", "4"), ("--to-offset", "700")),
            *(("--shift-by", "-1"), ("--by-duration", "PT1H"), ("--to-datetime", "2099-01-01T00:00:00.000")),
            *(("--to-datetime", "soon"), ("--to-earliest", "--to-latest")),
        )
    ),
    beginning("--to-latest", "--input-topic", "five-MINE:0", DRY, "--export"),
    beginning("--to-latest", "--input-topic", "loaded-MINE", DRY),
    beginning("--from-file", "/nowhere", DRY),
    beginning("--to-earliest", DRY),
    beginning("--to-earliest", ALL_INPUTS),
    beginning("--to-earliest", ALL_INPUTS, DRY, "--execute"),
    beginning("--to-earliest", ALL_INPUTS, "--execute"),
    beginning("--to-current", ALL_INPUTS, DRY),
    of_streams("delete-offsets"),
    of_streams("delete-offsets", "--input-topic", "five-MINE"),
    of_streams("delete-offsets", "--input-topic", "five-MINE"),
    of_streams("delete", "--input-topic", "five-MINE"),
    of_streams("list"),
    of_streams("describe", "--state", "--members"),
    of_streams("describe", "--list"),
    of_streams("delete", "--all-groups"),
    of_streams("delete"),
    *every(
        STREAMS,
        ("--delete", "--group", "nosuch"),
        ("--delete-offsets", "--group", "nosuch", "--input-topic", "five-MINE"),
        *((f"--{action}",) for action in ("describe", "delete", "reset-offsets", "delete-offsets", "bogus")),
    ),
    Run(STREAMS, ("--list",)),
    Run(STREAMS, ()),
]

OPERATOR_STORIES = {
    "reassignments": REASSIGNED,
    "loads": LOADED,
    "share groups": SHARE_GROUPS_KEPT,
    "storage and tokens": FORMATTED,
    "an application begins anew": APPLICATION,
}
