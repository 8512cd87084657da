"""`kafka-log-dirs`, as Kafka's LogDirsCommand: what lies in the log directories of brokers, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pystream.cli.kafka.failures import java_class
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.log_dirs import LogDir

TOOL: Final = Tool(
    "kafka-log-dirs",
    "This tool helps to query log directory usage on the specified brokers.",
    (
        value("bootstrap-server", "REQUIRED: the server(s) to use for bootstrapping", "HOST:PORT"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("describe", "Describe the specified log directories on the specified brokers."),
        value("topic-list", "Topics, separated by commas; else all.", "Topic list", str, ""),
        value("broker-list", "Numbers of brokers, separated by commas; else all.", "Broker list", str, ""),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    given.require("bootstrap-server", "describe")
    topics = frozenset(_parts(given.value("topic-list")))
    with admin_of(given, client_id="log-dirs-tool") as admin:
        there = sorted(node.node_id for node in admin.describe_cluster().nodes)
        wanted = sorted({_number(part) for part in _parts(given.value("broker-list"))})
        absent = [broker for broker in wanted if broker not in there]
        if absent:
            raise Mistake(
                f"ERROR: The given brokers do not exist from --broker-list: {_joined(absent)}. Current existent "
                f"brokers: {_joined(there)}"
            )
        print("Querying brokers for log directories information")
        found = admin.describe_log_dirs(wanted or there).checked()
    print(f"Received log directory information from brokers {_joined(wanted or there)}")
    brokers = [{"broker": broker, "logDirs": _dirs(dirs, topics)} for broker, dirs in found.items()]
    print(json.dumps({"brokers": brokers, "version": 1}, separators=(",", ":")))


def _parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise WrongUsage(f'For input string: "{text}"') from None


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _dirs(dirs: Mapping[str, LogDir], topics: frozenset[str]) -> list[dict[str, Any]]:
    return [
        {
            "partitions": [
                {
                    "partition": str(place),
                    "size": info.size_bytes,
                    "offsetLag": info.offset_lag,
                    "isFuture": info.is_future,
                }
                for place, info in each.replicas.items()
                if not topics or place.topic in topics
            ],
            "error": None if each.error is None else java_class(each.error),
            "logDir": path,
        }
        for path, each in dirs.items()
    ]


if __name__ == "__main__":
    main()
