"""`kafka-broker-api-versions`, as Kafka's BrokerApiVersionsCommand: what each broker takes, and what we would use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.options import Given, Tool, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import bootstrap, serve
from pystream.common.errors import PystreamError
from pystream.protocol.api_keys import ADVERTISED, name_of

if TYPE_CHECKING:
    from pystream.client.cluster.metadata import Node

TOOL: Final = Tool(
    "kafka-broker-api-versions",
    "This tool helps to retrieve broker version information.",
    (
        value("command-config", "A property file containing configs to be passed to Admin Client.", "file"),
        value("bootstrap-server", "REQUIRED: The server to connect to.", "server(s) to use for bootstrapping"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    from pystream.client.config import AdminConfig

    settings = load(given.value("command-config")) | {"bootstrap.servers": bootstrap(given)}
    for line in asyncio.run(_told(for_client(AdminConfig, settings))):
        print(line)


async def _told(settings: Mapping[str, Any]) -> list[str]:
    """What to print for each broker of the cluster."""
    from pystream.client.admin.client import AdminClient

    async with AdminClient(settings) as admin:
        found = []
        for node in sorted((await admin.describe_cluster()).nodes):
            try:
                versions = (await admin.cluster.connection_to(node.node_id)).versions
                found.append(f"{_name(node)} -> {text_of(versions)}")
            except PystreamError as error:
                found.append(f"{_name(node)} -> ERROR: {message(error)}")
        return found


def _name(node: Node) -> str:
    return f"{node.host}:{node.port} (id: {node.node_id} rack: {node.rack or 'null'} isFenced: false)"


def text_of(versions: Mapping[int, tuple[int, int]]) -> str:
    """All of them, each with the version that we would use."""
    lines = [_line(key, versions.get(key)) for key in sorted({*versions, *ADVERTISED})]
    return "(\n\t" + ",\n\t".join(lines) + "\n)"


def _line(key: int, offered: tuple[int, int] | None) -> str:
    known = ADVERTISED.get(key)
    head = f"{name_of(key) if known else 'UNKNOWN'}({key}): "
    if offered is None:
        return f"{head}UNSUPPORTED"
    lowest, highest = offered
    text = head + (str(lowest) if lowest == highest else f"{lowest} to {highest}")
    if known is None:
        return text
    if known[1] < lowest:
        return f"{text} [unusable: node too new]"
    if highest < known[0]:
        return f"{text} [unusable: node too old]"
    return f"{text} [usable: {min(known[1], highest)}]"


if __name__ == "__main__":
    main()
