"""`kafka-storage`, as Kafka's StorageTool: log directories are given a cluster's id, and shown.

A broker here formats its directories by itself at its first start; format says beforehand which cluster it will be.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pystream.cli.kafka.feature_levels import LATEST, defaults, dependencies, level_of, mapping, unknown
from pystream.cli.kafka.options import Mistake
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import Commands, serve_commands
from pystream.common.model import random_uuid, uuid_text

META_PROPERTIES: Final = "meta.properties"
OURS: Final = "pystream."  # keys that Kafka does not know


def options() -> Commands:
    made = Commands(prog="kafka-storage", description="The Kafka storage tool.")
    commands = made.add_subparsers(
        dest="command",
        required=True,
        metavar="{info,format,version-mapping,feature-dependencies,random-uuid}",
    )
    info = commands.add_parser("info", help="Get information about the Kafka log directories on this node.")
    form = commands.add_parser("format", help="Format the Kafka log directories on this node.")
    for command in (info, form):
        command.add_argument("--config", "-c", required=True, help="The Kafka configuration file to use.")
    form.add_argument("--cluster-id", "-t", required=True, help="The cluster ID to use.")
    form.add_argument("--add-scram", "-S", action="append", help="Not here: use kafka-configs on the running broker.")
    form.add_argument("--ignore-formatted", "-g", action="store_true", help="Skip what is formatted already.")
    form.add_argument("--release-version", "-r", help=f"Features begin at {LATEST}; kafka-features changes that.")
    form.add_argument("--feature", "-f", action="append", help="FEATURE=LEVEL, as for --release-version.")
    controllers = form.add_mutually_exclusive_group()
    controllers.add_argument("--standalone", "-s", action="store_true", help="As it is anyway: no other controllers.")
    controllers.add_argument("--no-initial-controllers", "-N", action="store_true", help="Taken, and without effect.")
    controllers.add_argument("--initial-controllers", "-I", help="Not here: there is no quorum to be named.")
    levels = commands.add_parser("version-mapping", help="The levels of features that come with a release.")
    levels.add_argument("--release-version", "-r", default=LATEST, help=f"Default: {LATEST}.")
    needs = commands.add_parser("feature-dependencies", help="What a level of a feature needs.")
    needs.add_argument("--feature", "-f", action="append", required=True, help="FEATURE=LEVEL; may be repeated.")
    commands.add_parser("random-uuid", help="Print a random UUID.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_commands(options(), arguments, work)


def work(given: argparse.Namespace) -> None:
    if given.command == "random-uuid":
        print(uuid_text(random_uuid()))
    elif given.command == "version-mapping":
        print("\n".join(mapping(given.release_version)))
    elif given.command == "feature-dependencies":
        for line in dependencies(given.feature):
            print(line)
    elif given.command == "info":
        _info(load(given.config))
    else:
        _format(given, load(given.config))


def _directories(properties: Mapping[str, str]) -> list[Path]:
    text = properties.get("log.dirs") or properties.get("log.dir") or ""
    found = [Path(part.strip()) for part in text.split(",") if part.strip()]
    if not found:
        raise Mistake('Missing required configuration "log.dirs"')
    return sorted(dict.fromkeys(found))


def _info(properties: Mapping[str, str]) -> None:
    directories = _directories(properties)
    there = [path for path in directories if path.is_dir()]
    problems = [f"{path} does not exist" for path in directories if not path.exists()]
    problems += [f"{path} is not a directory" for path in directories if path.exists() and not path.is_dir()]
    metas = {path: load(str(path / META_PROPERTIES)) for path in there if (path / META_PROPERTIES).exists()}
    problems += [f"{path} is not formatted." for path in there if path not in metas]
    if there:
        print(f"Found log director{'y' if len(there) == 1 else 'ies'}:")
        print("".join(f"  {path}\n" for path in there))
    for meta in list(metas.values())[:1]:
        shown = ", ".join(f"{key}={meta[key]}" for key in sorted(meta) if not key.startswith(OURS))
        print(f"Found metadata: {{{shown}}}\n")
    if problems:
        print(f"Found problem{'' if len(problems) == 1 else 's'}:")
        print("".join(f"  {problem}\n" for problem in problems) + "\n")
        raise SystemExit(1)


def _format(given: argparse.Namespace, properties: Mapping[str, str]) -> None:
    from pystream.storage.directories import LogDirectory

    _check(given)
    node_id = (properties.get("node.id") or properties.get("broker.id") or "").strip()
    if not node_id.isdecimal():
        raise Mistake('Missing required configuration "node.id" which has no default value.')
    directories = _directories(properties)
    formatted = {path: load(str(path / META_PROPERTIES)) for path in directories if (path / META_PROPERTIES).exists()}
    for path, meta in formatted.items():
        if not given.ignore_formatted:
            raise Mistake(
                f"Log directory {path} is already formatted. Use --ignore-formatted to ignore this directory and "
                "format the others."
            )
        if meta.get("cluster.id") != given.cluster_id:
            raise Mistake(
                f"Invalid cluster.id in: {path / META_PROPERTIES}. Expected {given.cluster_id}, but read "
                f"{meta.get('cluster.id')}"
            )
    if len(formatted) == len(directories):
        print("All of the log directories are already formatted.")
        return
    for number, path in enumerate(directories):
        if path in formatted:
            continue
        kind = "data" if number else "metadata"
        print(f"Formatting {kind} directory {path} with metadata.version {LATEST}.")
        directory = LogDirectory.open(path)
        try:
            directory.set_cluster_id(given.cluster_id, int(node_id))
        finally:
            directory.close(clean=True)


def _check(given: argparse.Namespace) -> None:
    """Raises Mistake for what there is not here."""
    if given.add_scram:
        raise Mistake("--add-scram: start the broker, then kafka-configs --alter --add-config 'SCRAM-SHA-256=[…]'")
    if given.initial_controllers:
        raise Mistake("--initial-controllers: controllers here are no quorum that could be named")
    if given.release_version is not None and level_of(given.release_version) is None:
        raise Mistake(unknown(given.release_version))
    latest = level_of(LATEST) or 0
    wanted = {"metadata.version": level_of(given.release_version or LATEST)}
    for text in given.feature or []:
        name, _, level = text.partition("=")
        wanted[name] = int(level) if level.isdecimal() else None
    begins = {"metadata.version": latest, **defaults(latest)}
    for name, level in wanted.items():
        if begins.get(name) != level:
            raise Mistake(
                f"{name} begins at {begins.get(name, 'no level')} here: start the broker, then kafka-features downgrade"
            )


if __name__ == "__main__":
    main()
