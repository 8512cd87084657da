"""`kafka-features`, as Kafka's FeatureCommand: which features the cluster uses, and at which level."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from pystream.cli.kafka.failures import message
from pystream.cli.kafka.feature_levels import (
    LATEST,
    METADATA_VERSION,
    defaults,
    dependencies,
    level_of,
    mapping,
    shown,
    unknown,
)
from pystream.cli.kafka.options import Mistake
from pystream.cli.kafka.tool import Commands, admin_for, serve_commands
from pystream.client.admin.quorum import FeatureUpdate, UpgradeType
from pystream.common.errors import PystreamError

SHORT_MAX: Final = 32_767


def options() -> Commands:
    made = Commands(prog="kafka-features", description="This tool manages feature flags in Kafka.")
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--bootstrap-server", help="host:port of some brokers, separated by commas.")
    where.add_argument("--bootstrap-controller", help="The same of controllers.")
    made.add_argument("--command-config", help="Properties of the admin client.")
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("describe", help="Describes the current active feature flags.")
    for name, way in (("upgrade", "raise"), ("downgrade", "lower")):
        command = commands.add_parser(name, help=f"{name.title()} one or more feature flags.")
        command.add_argument("--metadata", help=f"DEPRECATED: the metadata.version to {way} to, as 3.3-IV3.")
        command.add_argument("--release-version", help="The release whose levels all features shall have.")
        command.add_argument("--feature", action="append", help="FEATURE=LEVEL; may be repeated.")
        command.add_argument("--dry-run", action="store_true", help="Only say whether it could be done.")
        if name == "downgrade":
            command.add_argument("--unsafe", action="store_true", help="Even if metadata may be lost.")
    disable = commands.add_parser("disable", help="Disable one or more feature flags: bring them to level 0.")
    disable.add_argument("--feature", action="append", help="A feature; may be repeated.")
    disable.add_argument("--unsafe", action="store_true", help="Even if metadata may be lost.")
    disable.add_argument("--dry-run", action="store_true", help="Only say whether it could be done.")
    levels = commands.add_parser("version-mapping", help="The levels that come with a release.")
    levels.add_argument("--release-version", default=LATEST, help=f"Default: {LATEST}.")
    needs = commands.add_parser("feature-dependencies", help="What a level of a feature needs.")
    needs.add_argument("--feature", action="append", required=True, help="FEATURE=LEVEL; may be repeated.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_commands(options(), arguments, work)


def work(given: argparse.Namespace) -> None:
    if given.command == "describe":
        _describe(given)
    elif given.command == "version-mapping":
        print("\n".join(mapping(given.release_version)))
    elif given.command == "feature-dependencies":
        for text in given.feature:
            _name_and_level(text)
        for line in dependencies(given.feature):
            print(line)
    elif given.command == "disable":
        _update(given, dict.fromkeys(_once(given.feature or []), 0), _downgrade(given))
    else:
        kind = UpgradeType.UPGRADE if given.command == "upgrade" else _downgrade(given)
        _update(given, _wanted(given, kind), kind)


def _describe(given: argparse.Namespace) -> None:
    with admin_for(given) as admin:
        told = admin.describe_features()
    epoch = "-" if told.finalized_epoch is None else told.finalized_epoch
    for name, levels in sorted(told.supported.items()):
        level = told.finalized[name].maximum if name in told.finalized else 0
        print(
            f"Feature: {name}\tSupportedMinVersion: {shown(name, levels.minimum)}\tSupportedMaxVersion: "
            f"{shown(name, levels.maximum)}\tFinalizedVersionLevel: {shown(name, level)}\tEpoch: {epoch}"
        )


def _downgrade(given: argparse.Namespace) -> UpgradeType:
    return UpgradeType.UNSAFE_DOWNGRADE if given.unsafe else UpgradeType.SAFE_DOWNGRADE


def _once(names: Sequence[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise Mistake(f"Feature {name} was specified more than once.")
    return list(names)


def _wanted(given: argparse.Namespace, kind: UpgradeType) -> dict[str, int]:
    if given.release_version is not None:
        if given.metadata is not None or given.feature is not None:
            raise Mistake("Can not specify `release-version` with other feature flags.")
        level = level_of(given.release_version)
        if level is None:
            raise Mistake(unknown(given.release_version))
        of_release = defaults(level)
        if kind is UpgradeType.UPGRADE:
            of_release = {name: each for name, each in of_release.items() if each}
        return {METADATA_VERSION: level, **of_release}
    found: dict[str, int] = {}
    if given.metadata is not None:
        print(" `metadata` flag is deprecated and may be removed in a future release.")
        level = level_of(given.metadata)
        if level is None:
            raise Mistake(unknown(given.metadata))
        found[METADATA_VERSION] = level
    for text in given.feature or []:
        name, level = _name_and_level(text)
        if name in found:
            raise Mistake(f"Feature {name} was specified more than once.")
        found[name] = level
    return found


def _name_and_level(text: str) -> tuple[str, int]:
    name, equals, number = (part.strip() for part in text.partition("="))
    if not equals:
        raise Mistake(f"Can't parse feature=level string {text}: equals sign not found.")
    if not number.removeprefix("-").isdecimal() or abs(int(number)) > SHORT_MAX:
        raise Mistake(f"Can't parse feature=level string {text}: unable to parse {number} as a short.")
    return name, int(number)


def _update(given: argparse.Namespace, levels: Mapping[str, int], kind: UpgradeType) -> None:
    if not levels:
        raise Mistake(f"You must specify at least one feature to {given.command}")
    updates = {name: FeatureUpdate(level, kind) for name, level in levels.items()}
    with admin_for(given) as admin:
        try:
            outcomes: Mapping[str, PystreamError | None] = admin.update_features(updates, validate_only=given.dry_run)
        except PystreamError as error:
            outcomes = dict.fromkeys(updates, error)
    failed = 0
    for name, outcome in sorted(outcomes.items()):
        to = "" if given.command == "disable" else f" to {levels[name]}"
        if outcome is not None:
            failed += 1
            print(f"{'Can' if given.dry_run else 'Could'} not {given.command} {name}{to}. {message(outcome)}")
        else:
            done = "disabled" if given.command == "disable" else f"{given.command}d{to}"
            print(f"{name} {'can be' if given.dry_run else 'was'} {done}.")
    if failed:
        raise Mistake(f"{failed} out of {len(updates)} operation(s) failed.")


if __name__ == "__main__":
    main()
