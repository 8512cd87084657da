"""Which cluster a command talks to, and as which client: the options that all such commands share.

-b, --bootstrap-server HOST:PORT   else as -X says, $PYSTREAM_BOOTSTRAP_SERVERS, --command-config, 127.0.0.1:9092
--command-config FILE              properties of the client, as Kafka's tools take them
-X KEY=VALUE                       one of them
--timeout SECONDS                  for the whole command; of one that runs on, for its beginning; -X is stronger
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pystream.cli.settings import from_assignments, from_file

if TYPE_CHECKING:
    from pystream.client.config import ClientConfig

BOOTSTRAP_VARIABLE: Final = "PYSTREAM_BOOTSTRAP_SERVERS"
DEFAULT_BOOTSTRAP: Final = "127.0.0.1:9092"
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
LONGEST_TIMEOUT_SECONDS: Final = 2_000_000.0  # in ms it is still Kafka's INT
LONGEST_REQUEST_MS: Final = 30_000
CONNECTION: Final = ("bootstrap_server", "command_config", "client_settings", "timeout")


def connection_options() -> list[click.Parameter]:
    """The options; a command's function gets their values under the names of CONNECTION."""
    return [
        click.Option(["-b", "--bootstrap-server"], metavar="HOST:PORT", help=f"Default: {DEFAULT_BOOTSTRAP}."),
        click.Option(
            ["--command-config"],
            type=click.Path(path_type=Path, dir_okay=False),
            help="Properties of the client, as Kafka's tools take them.",
        ),
        click.Option(["-X", "client_settings"], multiple=True, metavar="KEY=VALUE", help="One of them; repeatable."),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0.001, max=LONGEST_TIMEOUT_SECONDS),
            default=DEFAULT_TIMEOUT_SECONDS,
            show_default=True,
            help="Seconds to wait for the cluster.",
        ),
    ]


def client_settings(common: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a client, the strongest source winning; `common` has the values of the options."""
    settings = {"bootstrap.servers": DEFAULT_BOOTSTRAP, "client.id": "pystream-cli"}
    if common["command_config"] is not None:
        settings.update(from_file(common["command_config"]))
    if os.environ.get(BOOTSTRAP_VARIABLE):
        settings["bootstrap.servers"] = os.environ[BOOTSTRAP_VARIABLE]
    timeout_ms = timeout_ms_of(common)
    settings["default.api.timeout.ms"] = str(timeout_ms)
    settings["request.timeout.ms"] = str(min(timeout_ms, LONGEST_REQUEST_MS))
    settings.update(from_assignments(common["client_settings"], option="-X"))
    if common["bootstrap_server"] is not None:
        settings["bootstrap.servers"] = common["bootstrap_server"]
    return settings


def timeout_ms_of(common: Mapping[str, Any]) -> int:
    """What --timeout says. Raises click.UsageError for what is no number."""
    seconds = float(common["timeout"])
    if seconds != seconds:
        raise click.UsageError("--timeout wants a number of seconds, got nan")
    return max(round(seconds * 1000), 1)


def accepted(settings: Mapping[str, str], kind: type[ClientConfig]) -> dict[str, str]:
    """Those that a client of this kind takes: what only other kinds know is left out, what nobody knows is not."""
    from pystream.client.config import AdminConfig, ConsumerConfig, ProducerConfig
    from pystream.common.config import definition_of

    known = {name for each in (AdminConfig, ConsumerConfig, ProducerConfig) for name in definition_of(each).keys}
    own = definition_of(kind).keys
    return {name: value for name, value in settings.items() if name in own or name not in known}
