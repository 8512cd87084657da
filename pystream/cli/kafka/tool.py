"""What Kafka's tools have in common: their flags, their way of failing, and one way to an operation.

    kafka-topics --bootstrap-server localhost:9092 --list          installed as console scripts, or
    pystream kafka-topics --bootstrap-server localhost:9092 --list

They exit with 0 or 1, and write most errors to standard output, where Kafka's have them. What fails is always a 1; of
Kafka's tools kafka-consumer-groups says 0 then.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from pystream.cli.operation_command import answered, defaults_of
from pystream.cli.settings import from_file
from pystream.client.operations.declaration import Answer
from pystream.client.operations.registry import find
from pystream.common.errors import PystreamError

DEFAULT_TIMEOUT_MS: Final = 60_000


class Parser(argparse.ArgumentParser):
    """Exits with 1 for wrong usage, as Kafka's tools do."""

    def error(self, message: str) -> NoReturn:
        print(f"{message[:1].upper()}{message[1:]}", file=sys.stderr)
        self.print_help(sys.stderr)
        raise SystemExit(1)


def parser(name: str, description: str) -> Parser:
    """With what every tool takes."""
    made = Parser(prog=name, description=description)
    made.add_argument("--bootstrap-server", required=True, metavar="HOST:PORT", help="Brokers to connect to.")
    made.add_argument("--command-config", type=Path, metavar="FILE", help="Properties of the admin client.")
    return made


def actions(made: Parser, **docs: str) -> None:
    """One flag for each action; exactly one must be given."""
    group = made.add_mutually_exclusive_group(required=True)
    for name, doc in docs.items():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, dest="action", action="store_const", const=name, help=doc)


class Cluster:
    """The cluster that the flags mean."""

    def __init__(self, options: argparse.Namespace) -> None:
        given = from_file(options.command_config) if options.command_config else {}
        timeout_ms = getattr(options, "timeout", None) or DEFAULT_TIMEOUT_MS
        timeouts = {"default.api.timeout.ms": str(timeout_ms), "request.timeout.ms": str(min(timeout_ms, 30_000))}
        self._settings = {**timeouts, **given, "bootstrap.servers": options.bootstrap_server}

    def do(self, noun: str, verb: str, **arguments: Any) -> Answer:
        """What the operation gives; what is not named has its default. Raises what fails as a whole."""
        operation = find(noun, verb)
        dry_run = {"dry_run": False} if operation.mutating else {}
        return answered(operation, {**defaults_of(operation), **dry_run, **arguments}, self._settings)

    def rows(self, noun: str, verb: str, **arguments: Any) -> list[Any]:
        """Its rows. Raises the first failure of an item, too."""
        answer = self.do(noun, verb, **arguments)
        for failure in answer.failures:
            raise failure.error
        return answer.rows


def run(made: Parser, arguments: Sequence[str] | None, work: Callable[[argparse.Namespace], None], failed: str) -> None:
    """Parse, do, and leave by SystemExit: 0, or 1 with `failed` and the error on standard output."""
    options = made.parse_args(arguments)
    try:
        work(options)
    except PystreamError as error:
        print(f"{failed}{error}")
        raise SystemExit(1) from None
    except click.UsageError as error:
        made.error(error.format_message())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0)


def included(pattern: str | None, names: Sequence[str]) -> list[str]:
    """The names that an include list matches: regular expressions, separated by commas."""
    if not pattern:
        return list(names)
    expression = re.compile(pattern.strip().replace(",", "|").replace(" ", "").strip("\"'"))
    return [name for name in names if expression.fullmatch(name)]
