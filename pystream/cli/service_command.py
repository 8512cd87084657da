"""`pystream SERVICE`: a service beside the broker in the foreground, until SIGTERM or SIGINT.

A service is a module with `check(settings)` and `run(settings, ready_fd=…, lifeline_fd=…)`; it is found by name and
imported when it is started. Every one of them takes the same options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from pystream.cli.failure import sentence
from pystream.cli.manual import ManualCommand
from pystream.cli.settings import from_assignments, from_environment, from_file
from pystream.common.errors import PystreamError

BOOTSTRAP_VARIABLE: Final = "PYSTREAM_BOOTSTRAP_SERVERS"


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is, and what its help says."""

    name: str
    module: str
    doc: str
    listen: str  # where it listens unless told otherwise
    example: str


ADMIN: Final = Service(
    "admin",
    "pystream.services.admin.process",
    "Run the gRPC admin server in the foreground, until SIGTERM or SIGINT.",
    "127.0.0.1:9095",
    "pystream admin --bootstrap 127.0.0.1:9092 --listen 127.0.0.1:9095",
)


def service_settings(
    config_file: Path | None,
    environment: Mapping[str, str],
    assignments: tuple[str, ...],
    bootstrap: str | None,
    listen: str | None,
) -> dict[str, str]:
    """All of them in one mapping, the strongest source winning."""
    settings = from_file(config_file) if config_file is not None else {}
    settings.update(from_environment(environment))
    if environment.get(BOOTSTRAP_VARIABLE):
        settings["bootstrap.servers"] = environment[BOOTSTRAP_VARIABLE]
    settings.update(from_assignments(assignments))
    if bootstrap:
        settings["bootstrap.servers"] = bootstrap
    if listen:
        settings["listen"] = listen
    return settings


def command_of(service: Service) -> click.Command:
    """Its command."""

    def callback(
        config_file: Path | None,
        bootstrap: str | None,
        listen: str | None,
        assignments: tuple[str, ...],
        ready_fd: int | None,
        lifeline_fd: int | None,
    ) -> None:
        settings = service_settings(config_file, os.environ, assignments, bootstrap, listen)
        start(service, settings, ready_fd, lifeline_fd)

    options = [
        click.Option(
            ["--config", "config_file"], type=click.Path(path_type=Path, dir_okay=False), help="Properties of it."
        ),
        click.Option(["--bootstrap"], metavar="HOST:PORT", help="The cluster. Default: 127.0.0.1:9092."),
        click.Option(["--listen"], metavar="HOST:PORT", help=f"Listen here. Default: {service.listen}."),
        click.Option(
            ["--set", "assignments"], multiple=True, metavar="KEY=VALUE", help="Set one key; may be repeated."
        ),
        click.Option(["--ready-fd"], type=int, hidden=True),
        click.Option(["--lifeline-fd"], type=int, hidden=True),
    ]
    return ManualCommand(
        service.name,
        params=list(options),
        callback=callback,
        help=service.doc,
        examples=(service.example,),
        exit_codes="0 stopped; 1 it could not run; 2 wrong usage or settings, or something is not installed.",
    )


def start(service: Service, settings: Mapping[str, str], ready_fd: int | None, lifeline_fd: int | None) -> None:
    """Run it, and turn its errors into an exit code: 2 settings or what is not installed, 1 anything else."""
    process: Any = import_module(service.module)
    try:
        process.check(settings)
    except PystreamError as error:
        raise click.UsageError(str(error)) from None
    try:
        process.run(settings, ready_fd=ready_fd, lifeline_fd=lifeline_fd)
    except (PystreamError, OSError) as error:
        print(f"pystream {service.name}: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None


admin = command_of(ADMIN)
