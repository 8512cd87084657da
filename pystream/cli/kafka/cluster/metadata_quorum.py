"""`kafka-metadata-quorum`, as Kafka's MetadataQuorumCommand: who leads the controllers, and how far the others are."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pystream.cli.kafka.options import Mistake
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import Commands, admin_for, serve_commands, table
from pystream.client.admin.quorum import QuorumInfo, QuorumReplica
from pystream.common.errors import MalformedInput, UnknownServerError
from pystream.common.model import ZERO_UUID, Endpoint, uuid_bytes, uuid_text

HEADS: Final = (
    *("NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"),
)
META_PROPERTIES: Final = "meta.properties"


def options() -> Commands:
    made = Commands(prog="kafka-metadata-quorum", description="This tool describes kraft metadata quorum status.")
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--bootstrap-server", help="host:port of some brokers, separated by commas.")
    where.add_argument("--bootstrap-controller", help="The same of controllers.")
    made.add_argument("--command-config", help="Properties of the admin client; of a controller, to add it.")
    commands = made.add_subparsers(dest="command", required=True, metavar="{describe,add-controller,remove-controller}")
    describe = commands.add_parser("describe", help="Describe the metadata quorum info")
    describe.add_argument("--status", action="store_true", help="A short summary.")
    describe.add_argument("--replication", action="store_true", help="How far each controller is.")
    describe.add_argument("--human-readable", action="store_true", help="Ages instead of times.")
    add = commands.add_parser("add-controller", help="Add a controller to the KRaft controller cluster")
    add.add_argument("--dry-run", action="store_true", help="Print what would be done, but do not do it.")
    remove = commands.add_parser("remove-controller", help="Remove a controller from the KRaft controller cluster")
    remove.add_argument("--controller-id", "-i", type=int, required=True, help="The id of the controller.")
    remove.add_argument("--controller-directory-id", "-d", required=True, help="Its directory ID.")
    remove.add_argument("--dry-run", action="store_true", help="Print what would be done, but do not do it.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_commands(options(), arguments, work)


def work(given: argparse.Namespace) -> None:
    if given.command_config and not Path(given.command_config).exists():
        raise Mistake(f"Properties file {given.command_config} does not exists!")
    if given.command == "describe":
        _describe(given)
    elif given.command == "add-controller":
        _add(given)
    else:
        _remove(given)


# --- describe ---------------------------------------------------------------------------------------------------------


def _describe(given: argparse.Namespace) -> None:
    if given.status and given.replication:
        raise Mistake("Only one of --status or --replication should be specified with describe sub-command")
    if not given.status and not given.replication:
        raise Mistake("One of --status or --replication must be specified with describe sub-command")
    if given.status and given.human_readable:
        raise Mistake("The option --human-readable is only supported along with --replication")
    with admin_for(given) as admin:
        cluster_id = admin.describe_cluster().cluster_id if given.status else ""
        quorum = admin.describe_metadata_quorum()
    leader = next((voter for voter in quorum.voters if voter.replica_id == quorum.leader_id), None)
    if leader is None:
        raise UnknownServerError(f"the leader {quorum.leader_id} is none of the voters")
    if given.status:
        _print_status(cluster_id, quorum, leader)
        return
    followers = [voter for voter in quorum.voters if voter is not leader]
    rows = [
        _row(each, leader, status, ages=given.human_readable)
        for status, group in (("Leader", [leader]), ("Follower", followers), ("Observer", quorum.observers))
        for each in group
    ]
    print(table(HEADS, rows))


def _row(each: QuorumReplica, leader: QuorumReplica, status: str, *, ages: bool) -> tuple[str, ...]:
    return (
        str(each.replica_id),
        uuid_text(each.directory_id),
        str(each.log_end_offset),
        str(leader.log_end_offset - each.log_end_offset),
        _time(each.last_fetch_timestamp, "last fetch", ages=ages),
        _time(each.last_caught_up_timestamp, "last caught up", ages=ages),
        status,
    )


def _time(timestamp_ms: int, what: str, *, ages: bool) -> str:
    if not ages or timestamp_ms == -1:
        return str(timestamp_ms)
    now_ms = time.time_ns() // 1_000_000
    if not 0 < timestamp_ms <= now_ms:
        raise Mistake(
            "Error while computing relative time, possible drift in system clock.\n"
            f"Current timestamp is {now_ms}, {what} timestamp is {timestamp_ms}"
        )
    return f"{now_ms - timestamp_ms} ms ago"


def _print_status(cluster_id: str, quorum: QuorumInfo, leader: QuorumReplica) -> None:
    last = min(quorum.voters, key=lambda voter: voter.log_end_offset)
    if last is leader:
        behind_ms = 0
    elif leader.last_caught_up_timestamp >= 0 and last.last_caught_up_timestamp >= 0:
        behind_ms = leader.last_caught_up_timestamp - last.last_caught_up_timestamp
    else:
        behind_ms = -1
    for name, shown in (
        ("ClusterId:", cluster_id),
        ("LeaderId:", quorum.leader_id),
        ("LeaderEpoch:", quorum.leader_epoch),
        ("HighWatermark:", quorum.high_watermark),
        ("MaxFollowerLag:", leader.log_end_offset - last.log_end_offset),
        ("MaxFollowerLagTimeMs:", behind_ms),
        ("CurrentVoters:", _nodes(quorum.voters, quorum.endpoints)),
        ("CurrentObservers:", _nodes(quorum.observers, quorum.endpoints)),
    ):
        print(f"{name:<24}{shown}" if len(name) < 24 else f"{name}   {shown}")


def _nodes(replicas: Iterable[QuorumReplica], endpoints: Mapping[int, Sequence[Endpoint]]) -> str:
    return f"[{', '.join(_node(each, endpoints.get(each.replica_id, ())) for each in replicas)}]"


def _node(replica: QuorumReplica, endpoints: Sequence[Endpoint]) -> str:
    parts = [f'"id": {replica.replica_id}']
    if replica.directory_id != ZERO_UUID:
        parts.append(f'"directoryId": "{uuid_text(replica.directory_id)}"')
    if endpoints:
        written = ", ".join(f'"{each.listener}://{_host(each.host)}:{each.port}"' for each in endpoints)
        parts.append(f'"endpoints": [{written}]')
    return f"{{{', '.join(parts)}}}"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# --- controllers come and go ------------------------------------------------------------------------------------------


def _add(given: argparse.Namespace) -> None:
    if given.command_config is None:
        raise Mistake(
            "You must supply the configuration file of the controller you are adding when using add-controller."
        )
    properties = load(given.command_config)
    node_id = _controller_id(properties)
    directory_id = _directory_id(properties)
    endpoints = _endpoints(properties)
    if not given.dry_run:
        with admin_for(given) as admin:
            admin.add_raft_voter(node_id, uuid_bytes(directory_id), endpoints)
    listed = ", ".join(f"{each.listener}://{_host(each.host)}:{each.port}" for each in endpoints)
    done = "DRY RUN of adding" if given.dry_run else "Added"
    print(f"{done} controller {node_id} with directory id {directory_id} and endpoints: {listed}")


def _controller_id(properties: Mapping[str, str]) -> int:
    question = "file. Is this a valid controller configuration file?"
    if "node.id" not in properties:
        raise Mistake(f"node.id not found in configuration {question}")
    text = properties["node.id"].strip()
    if not text.isdecimal():
        raise Mistake(f"node.id was negative in configuration {question}")
    if "controller" not in properties.get("process.roles", ""):
        raise Mistake(f"process.roles did not contain 'controller' in configuration {question}")
    return int(text)


def _directory_id(properties: Mapping[str, str]) -> str:
    place = properties.get("metadata.log.dir") or properties.get("log.dirs", "").split(",")[0].strip()
    if not place:
        raise Mistake(
            "Neither metadata.log.dir nor log.dirs were found. Is this a valid controller configuration file?"
        )
    if not (Path(place) / META_PROPERTIES).exists():
        raise Mistake(f"Unable to read meta.properties from {place}")
    meta = load(str(Path(place) / META_PROPERTIES))
    if "directory.id" not in meta:
        raise Mistake(f"No directory id found in {place}")
    return meta["directory.id"]


def _endpoints(properties: Mapping[str, str]) -> list[Endpoint]:
    listeners: dict[str, Endpoint] = {}
    for name in ("listeners", "advertised.listeners"):
        for part in filter(None, map(str.strip, properties.get(name, "").split(","))):
            listener, _, address = part.partition("://")
            host, _, port = address.rpartition(":")
            if not port.isdecimal():
                raise Mistake(f"Unable to parse {part} to a broker endpoint")
            found = Endpoint(listener.upper(), host.strip("[]") or "localhost", int(port))
            listeners[found.listener] = found
    if "controller.listener.names" not in properties:
        raise Mistake("controller.listener.names was not found. Is this a valid controller configuration file?")
    wanted = [name.strip().upper() for name in properties["controller.listener.names"].split(",")]
    for name in wanted:
        if name not in listeners:
            raise Mistake(f"Cannot find information about controller listener name: {name}")
    return [listeners[name] for name in dict.fromkeys(wanted)]


def _remove(given: argparse.Namespace) -> None:
    if given.controller_id < 0:
        raise Mistake(f"Invalid negative --controller-id: {given.controller_id}")
    try:
        directory_id = uuid_bytes(given.controller_directory_id)
    except MalformedInput as error:
        raise Mistake(f"Failed to parse --controller-directory-id: {error}") from None
    if not given.dry_run:
        with admin_for(given) as admin:
            admin.remove_raft_voter(given.controller_id, directory_id)
    done = "DRY RUN of removing " if given.dry_run else "Removed "
    print(f"{done} KRaft controller {given.controller_id} with directory id {given.controller_directory_id}")


if __name__ == "__main__":
    main()
