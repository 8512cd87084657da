"""`pystream broker`: one broker in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pystream.cli.failure import sentence
from pystream.cli.manual import ManualCommand
from pystream.cli.settings import BROKER_DIRECTORY, gather, is_log_dir
from pystream.common.errors import PystreamError


def check_log_dirs(log_dirs: Sequence[str]) -> None:
    """Raises click.UsageError for the data directory of `pystream up`: a new broker would begin beside its own."""
    for each in map(Path, log_dirs):
        inside = each / BROKER_DIRECTORY
        if is_log_dir(inside) and not is_log_dir(each):
            raise click.UsageError(f"{each} is a data directory of `pystream up`; its broker's logs lie in {inside}")


@click.command(
    cls=ManualCommand,
    help="Run one broker in the foreground, until SIGTERM or SIGINT.",
    examples=("pystream broker --data-dir ./data --listener PLAINTEXT://127.0.0.1:9092 --set num.partitions=3",),
    exit_codes="0 stopped; 1 it could not run; 2 wrong usage, or settings that contradict one another.",
)
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Kafka's server.properties."
)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the logs lie (log.dirs).")
@click.option(
    "--listener", "listeners", multiple=True, metavar="NAME://HOST:PORT", help="Listen here; may be repeated."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key; may be repeated.")
@click.option("--ready-fd", type=int, hidden=True, help="Write one line of JSON to this descriptor once ready.")
@click.option("--lifeline-fd", type=int, hidden=True, help="Stop when this descriptor reads end-of-file.")
def broker(
    config_file: Path | None,
    data_dir: Path | None,
    listeners: tuple[str, ...],
    assignments: tuple[str, ...],
    ready_fd: int | None,
    lifeline_fd: int | None,
) -> None:
    """Gather the settings, run the broker, and turn its errors into an exit code: 2 settings, 1 anything else."""
    settings = gather(
        config_file=config_file,
        environment=os.environ,
        assignments=assignments,
        data_dir=data_dir,
        listeners=listeners,
    )
    from pystream.broker.config import BrokerConfig

    try:
        config = BrokerConfig.from_settings(settings)
    except PystreamError as error:
        raise click.UsageError(str(error)) from None
    check_log_dirs(config.log_dirs or ())
    from pystream.broker.process import run

    try:
        run(config, ready_fd=ready_fd, lifeline_fd=lifeline_fd)
    except (PystreamError, OSError) as error:
        print(f"pystream broker: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None
