"""`pystream up`: the platform on this machine, each component in a process of its own, watched over and restarted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pystream.cli.manual import ManualCommand
from pystream.cli.settings import BROKER_DIRECTORY, from_assignments, gather, is_log_dir
from pystream.cli.supervise import ChildFailed, Component, ProcessSupervisor
from pystream.common.tasks import stop_signals

KAFKA_PORT = 9092
ADMIN_PORT = 9095
METRICS_PORT = 9404
PUBLIC = "listeners.public.allow="  # a setting that all components have
METRICS_LISTENER = "metrics.listener="  # a setting of the broker
GIVEN = {  # settings of the broker that follow from options of this command
    "listeners": "--host and --port-offset",
    "log.dirs": "--data-dir",
    "log.dir": "--data-dir",
}
HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What every component may need to build its command."""

    data_dir: Path
    host: str
    port_offset: int
    assignments: tuple[str, ...]

    @property
    def broker_dir(self) -> Path:
        return self.data_dir / BROKER_DIRECTORY

    def address(self, port: int) -> str:
        """HOST:PORT, moved by the offset; an IPv6 address in brackets."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{port + self.port_offset}"


def broker_component(options: UpOptions) -> Component:
    settings = (f"{METRICS_LISTENER}http://{options.address(METRICS_PORT)}", *options.assignments)
    return Component(
        name="broker",
        command=(
            *("pystream.cli.main", "broker", "--data-dir", str(options.broker_dir)),
            *("--listener", f"PLAINTEXT://{options.address(KAFKA_PORT)}"),
            *(argument for setting in settings for argument in ("--set", setting)),
        ),
    )


def admin_component(options: UpOptions) -> Component:
    listener = f"http://{options.address(METRICS_PORT)}"
    for each in options.assignments:
        listener = each.removeprefix(METRICS_LISTENER) if each.startswith(METRICS_LISTENER) else listener
    sources = f"metrics.sources={listener and f'{listener}/metrics'}"
    return Component(
        name="admin",
        command=(
            *("pystream.cli.main", "admin", "--bootstrap", options.address(KAFKA_PORT)),
            *("--listen", options.address(ADMIN_PORT), "--set", sources),
            *(part for each in options.assignments if each.startswith(PUBLIC) for part in ("--set", each)),
        ),
    )


# In the order of starting. The services of later parts add a line each.
COMPONENTS: dict[str, Callable[[UpOptions], Component]] = {"broker": broker_component, "admin": admin_component}


def missing_extra(name: str) -> str | None:
    """What has to be installed for a component, None where all is there."""
    if name == "admin":
        from pystream.client.grpc.connection import MISSING, is_installed

        return None if is_installed() else MISSING
    return None


def default_data_dir() -> Path:
    """$XDG_DATA_HOME/pystream, else ~/.local/share/pystream."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pystream"


def chosen_components(only: str | None) -> list[str]:
    """Names to start, in starting order: without `only`, all whose extras are installed.

    Raises click.UsageError for an unknown or empty choice, and for one that is not installed.
    """
    if only is None:
        return [name for name in COMPONENTS if missing_extra(name) is None]
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in COMPONENTS]
    if unknown or not names:
        raise click.UsageError(f"--only takes some of {', '.join(COMPONENTS)}; got {only!r}")
    for name in names:
        if missing := missing_extra(name):
            raise click.UsageError(f"{name}: {missing}")
    return [name for name in COMPONENTS if name in names]


def check_broker_settings(options: UpOptions) -> None:
    """What the broker's process would refuse is a mistake in this command: raises click.UsageError, nothing started."""
    from pystream.broker.config import BrokerConfig
    from pystream.common.errors import PystreamError

    for name in from_assignments(options.assignments):
        if name in GIVEN:
            raise click.UsageError(f"{name} follows from {GIVEN[name]}; it cannot be set")
    settings = gather(
        config_file=None,
        environment=os.environ,
        assignments=options.assignments,
        data_dir=options.broker_dir,
        listeners=(f"PLAINTEXT://{options.address(KAFKA_PORT)}",),
    )
    try:
        BrokerConfig.from_settings(settings)
    except PystreamError as error:
        raise click.UsageError(str(error)) from None


def check_broker_dir(options: UpOptions) -> None:
    """Raises click.UsageError where a broker was run by itself: an empty one would be started beside its logs."""
    if is_log_dir(options.data_dir) and not is_log_dir(options.broker_dir):
        raise click.UsageError(
            f"{options.data_dir} holds the logs of a broker, which `pystream up` looks for in {options.broker_dir}; "
            f"move them there, or run `pystream broker --data-dir {options.data_dir}`"
        )


def print_endpoints(supervisor: ProcessSupervisor, data_dir: Path, left_out: Sequence[str]) -> None:
    """Where to look, as a table, and what is not there."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="pystream is up", title_justify="left")
    for heading in ("component", "what", "where"):
        table.add_column(heading, no_wrap=True)
    for child in supervisor.children:
        name = child.component.name
        for listener, address in child.ready.get("listeners", {}).items():
            table.add_row(name, f"Kafka protocol ({listener})", address)
        for what, address in child.ready.get("endpoints", {}).items():
            table.add_row(name, what, address)
        if metrics := child.ready.get("metrics"):
            table.add_row(name, "metrics", f"http://{metrics}/metrics")
            table.add_row(name, "health", f"http://{metrics}/health")
        table.add_row(name, "process", str(child.pid))
    console = Console()
    console.print(table)
    console.print(f"Data lies in {data_dir}.", soft_wrap=True, highlight=False)  # may be wider than a table
    for name in left_out:
        console.print(f"Without {name}: {missing_extra(name)}.", soft_wrap=True, highlight=False, markup=False)
    console.print("Ctrl-C stops it.")


async def watch_over(supervisor: ProcessSupervisor, data_dir: Path, left_out: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, supervisor.request_stop)
    if await supervisor.start():
        print_endpoints(supervisor, data_dir, left_out)
        await supervisor.run()


@click.command(
    cls=ManualCommand,
    help="Start the platform on this machine and watch over it, until SIGTERM or Ctrl-C.",
    examples=("pystream up --data-dir ./data", "pystream up --only broker --port-offset 1000"),
    exit_codes="0 stopped; 1 a component did not start, or died too often; 2 wrong usage.",
)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Default: ~/.local/share/pystream.")
@click.option("--only", metavar="A,B", help=f"Start only these of: {', '.join(COMPONENTS)}.")
@click.option(
    "--port-offset", type=click.IntRange(0, HIGHEST_PORT - METRICS_PORT), default=0, help="Added to every port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A broker setting; may be repeated.")
def up(data_dir: Path | None, only: str | None, port_offset: int, host: str, assignments: tuple[str, ...]) -> None:
    """Build the components, run them; exit code 1 when one does not start or dies too often."""
    data_dir = (data_dir or default_data_dir()).absolute()
    options = UpOptions(data_dir=data_dir, host=host, port_offset=port_offset, assignments=assignments)
    names = chosen_components(only)
    if "broker" in names:
        check_broker_settings(options)
        check_broker_dir(options)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"cannot make {data_dir}: {error.strerror}") from None

    async def run() -> None:
        supervisor = ProcessSupervisor([COMPONENTS[name](options) for name in names], report=click.echo)
        await watch_over(supervisor, data_dir, [name for name in COMPONENTS if only is None and name not in names])

    try:
        asyncio.run(run())
    except ChildFailed as error:
        raise click.ClickException(str(error)) from None
