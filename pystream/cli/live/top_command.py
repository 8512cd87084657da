"""`pystream top`: topics, groups and brokers of a cluster, live. --once prints one look instead, without a screen."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from pystream.cli.connection import accepted, client_settings, connection_options
from pystream.cli.failure import report
from pystream.cli.manual import ManualCommand
from pystream.cli.output import Layout, plain, write
from pystream.common.errors import InvalidRequest, PystreamError

COMMAND: Final = "pystream top"
NEEDS_TEXTUAL: Final = "the screen needs Textual: pip install 'pystream[ui]'; --once prints without it"
NEEDS_TERMINAL: Final = "standard output is no terminal; --once prints one look"


@click.command(
    cls=ManualCommand,
    help="Watch topics, groups and brokers: rates, lag, health. Keys: t, g, b, p pauses, q ends.",
    notes=("Rates are what changed between two looks; with --once those are --interval apart.",),
    examples=("pystream top", "pystream top --interval 5", "pystream top --once --json"),
    elsewhere=("kafka-consumer-groups --describe --all-groups, again and again",),
)
@click.option(
    "-i", "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Print one look, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: as JSON.")
def top(interval: float, once: bool, as_json: bool, **common: Any) -> None:
    """Leaves by SystemExit."""
    try:
        if as_json and not once:
            raise InvalidRequest("--json needs --once")
        asyncio.run((_once if once else _watch)(client_settings(common), interval, as_json))
    except PystreamError as error:
        if as_json and once:
            print("null")
        raise SystemExit(report(COMMAND, error)) from None


top.params += connection_options()


async def _watch(settings: Mapping[str, str], interval_s: float, _: bool) -> None:
    from pystream.client.admin.client import AdminClient
    from pystream.client.config import AdminConfig

    try:
        from pystream.cli.live.dashboard import Dashboard
    except ImportError:
        raise InvalidRequest(NEEDS_TEXTUAL) from None
    if not sys.stdout.isatty():
        raise InvalidRequest(NEEDS_TERMINAL)
    async with AdminClient(accepted(settings, AdminConfig)) as admin:
        await admin.describe_cluster()  # what is not there is told before the screen comes
        await Dashboard(admin, interval_s).run_async()


async def _once(settings: Mapping[str, str], interval_s: float, as_json: bool) -> None:
    from pystream.cli.live.watch import BrokerLoad, GroupLoad, TopicLoad, Watcher
    from pystream.client.admin.client import AdminClient
    from pystream.client.config import AdminConfig

    async with AdminClient(accepted(settings, AdminConfig)) as admin:
        watcher = Watcher(admin)
        snapshot = await watcher.look()
        if snapshot.error is None:
            await asyncio.sleep(interval_s)
            snapshot = await watcher.look()
    if snapshot.error is not None:
        raise snapshot.error
    if as_json:
        found = plain(snapshot)
        del found["error"]
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for kind, rows in ((BrokerLoad, snapshot.brokers), (TopicLoad, snapshot.topics), (GroupLoad, snapshot.groups)):
        write(Layout(row=kind, columns=tuple(kind.__dataclass_fields__)), rows, "table", sys.stdout)
        print()
