"""`kafka-client-metrics`, as Kafka's ClientMetricsCommand: which metrics clients push (KIP-714)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.options import Given, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_of, serve
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.common.model import uuid_text

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

TOOL: Final = Tool(
    "kafka-client-metrics",
    "This tool helps to manipulate and describe client metrics configurations.",
    (
        value("bootstrap-server", "REQUIRED: The Kafka server to connect to.", "server to connect to"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        flag("alter", "Alter the configuration for the client metrics resource."),
        flag("delete", "Delete the configuration for the client metrics resource."),
        flag("describe", "List configurations for the client metrics resource."),
        flag("list", "List the client metrics resources."),
        value("name", "Name of client metrics configuration resource.", "name"),
        flag("generate-name", "Generate a UUID to use as the name."),
        value("interval", "The metrics push interval in milliseconds.", "push interval", str),
        value(
            "match",
            "Which clients: client_id, client_instance_id, client_software_name, client_software_version, "
            "client_source_address, client_source_port.",
            "k1=v1,k2=v2",
        ),
        value("metrics", "Prefixes of names of metrics.", "m1,m2"),
    ),
)
CHANGES: Final = ("generate-name", "interval", "match", "metrics")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    words = "Error while executing client metrics command : "
    serve(TOOL, arguments, work, failed=words, to_output=True, classes=False)


def work(given: Given) -> None:
    check(given)
    with admin_of(given) as admin:
        if given.has("alter"):
            _alter(admin, given)
        elif given.has("delete"):
            _delete(admin, given.value("name"))
        elif given.has("describe"):
            _describe(admin, given)
        else:
            print("\n".join(admin.list_client_metrics_resources()))


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if sum(map(given.has, ("alter", "delete", "describe", "list"))) != 1:
        raise WrongUsage("Command must include exactly one action: --alter, --delete, --describe or --list.")
    if not given.has("bootstrap-server"):
        raise WrongUsage("--bootstrap-server must be specified.")
    given.exclude("delete", *CHANGES)
    given.exclude("describe", *CHANGES)
    given.exclude("list", "name", *CHANGES)
    if given.has("alter") and given.has("name") == given.has("generate-name"):
        raise WrongUsage("One of --name or --generate-name must be specified with --alter.")
    if not (given.value("interval") or "0").isdecimal():
        raise WrongUsage("Invalid interval value. Enter an integer, or leave empty to reset.")
    if given.has("delete") and not given.has("name"):
        raise WrongUsage("A client metrics resource name must be specified with --delete.")


def _alter(admin: AdminClient, given: Given) -> None:
    name = uuid_text(os.urandom(16)) if given.has("generate-name") else given.value("name")
    options = {"interval": "interval.ms", "metrics": "metrics", "match": "match"}
    changes = {setting: given.value(option) or None for option, setting in options.items() if given.has(option)}
    admin.incremental_alter_configs({_resource(name): changes}).checked()
    print(f"Altered client metrics config for {name}.")


def _resource(name: str) -> ConfigResource:
    return ConfigResource(ConfigResourceType.CLIENT_METRICS, name)


def _delete(admin: AdminClient, name: str) -> None:
    settings = admin.describe_configs([_resource(name)]).result(_resource(name))
    admin.incremental_alter_configs({_resource(name): dict.fromkeys(settings)}).checked()
    print(f"Deleted client metrics config for {name}.")


def _describe(admin: AdminClient, given: Given) -> None:
    there = admin.list_client_metrics_resources()
    if given.has("name") and given.value("name") not in there:
        print(f"The client metric resource {given.value('name')} doesn't exist and doesn't have dynamic config.")
        return
    names = [given.value("name")] if given.has("name") else there
    for name in names:
        print(f"Client metrics configs for {name} are:")
        for entry in admin.describe_configs([_resource(name)]).result(_resource(name)).values():
            print(f"  {entry.name}={entry.value}")


if __name__ == "__main__":
    main()
