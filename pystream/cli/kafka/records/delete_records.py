"""`kafka-delete-records`, as Kafka's DeleteRecordsCommand: what lies below given offsets goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pystream.cli.kafka import documents
from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.options import Given, Mistake, Tool, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition

VERSION: Final = 1
TOOL: Final = Tool(
    "kafka-delete-records",
    "This tool helps to delete records of the given partitions down to the specified offset.",
    (
        value("bootstrap-server", "REQUIRED: The server to connect to.", "server(s) to use for bootstrapping"),
        value(
            "offset-json-file",
            'REQUIRED: The JSON file with offset per partition: {"partitions": [{"topic": "foo", "partition": 1, '
            '"offset": 1}], "version":1}',
            "Offset json file path",
        ),
        value("command-config", "A property file containing configs to be passed to Admin Client.", "file"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    given.require("bootstrap-server", "offset-json-file")
    with admin_of(given) as admin:
        offsets = offsets_of(documents.read(given.value("offset-json-file")))
        print("Executing records delete operation")
        told = admin.delete_records(offsets)
    print("Records delete operation completed:")
    for place, outcome in told.items():
        if isinstance(outcome, PystreamError):
            print(f"partition: {place}\terror: {java_text(outcome)}")
        else:
            print(f"partition: {place}\tlow_watermark: {outcome}")


def offsets_of(document: object) -> dict[TopicPartition, int]:
    """What a file says. Raises Mistake."""
    if document is None:
        raise Mistake("The input string is not a valid JSON")
    if not isinstance(document, dict):
        raise Mistake(f"Expected JSON object, received {json.dumps(document, separators=(',', ':'))}")
    version = document.get("version", VERSION)
    if version != VERSION:
        raise Mistake(f"Not supported version field value {version}")
    if "partitions" not in document:
        raise Mistake("Missing partitions field")
    found = [
        (
            TopicPartition(documents.field(row, "topic", str), documents.field(row, "partition", int)),
            documents.field(row, "offset", int, "Long"),
        )
        for row in documents.rows(document, "partitions")
    ]
    twice = documents.repeated(str(place) for place, _ in found)
    if twice:
        raise Mistake(f"Offset json file contains duplicate topic partitions: {','.join(twice)}")
    return dict(found)


if __name__ == "__main__":
    main()
