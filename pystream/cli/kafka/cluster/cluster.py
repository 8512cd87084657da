"""`kafka-cluster`, as Kafka's ClusterTool: the cluster's id, its brokers, and brokers that will not come back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pystream.cli.kafka.tool import Commands, admin_for, serve_commands
from pystream.common.errors import UnsupportedVersion


def options() -> Commands:
    made = Commands(prog="kafka-cluster", description="The Kafka cluster tool.")
    commands = made.add_subparsers(dest="command", required=True, metavar="{cluster-id,unregister,list-endpoints}")
    for name, doc in (
        ("cluster-id", "Get information about the ID of a cluster."),
        ("unregister", "Unregister a broker."),
        ("list-endpoints", "List endpoints"),
    ):
        command = commands.add_parser(name, help=doc, description=doc)
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--bootstrap-server", "-b", help="host:port of some brokers, separated by commas.")
        where.add_argument("--bootstrap-controller", "-C", help="The same of controllers.")
        files = command.add_mutually_exclusive_group()
        files.add_argument("--command-config", help="Properties of the admin client.")
        files.add_argument("--config", "-c", help="DEPRECATED: use --command-config.")
        if name == "unregister":
            command.add_argument("--id", "-i", type=int, required=True, help="The ID of the broker to unregister.")
        if name == "list-endpoints":
            command.add_argument("--include-fenced-brokers", action="store_true", help="Fenced ones, too.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_commands(options(), arguments, work)


def work(given: argparse.Namespace) -> None:
    if given.config is not None:
        print(
            "Option --config has been deprecated and will be removed in a future version. Use --command-config instead."
        )
        given.command_config = given.config
    if given.command == "cluster-id":
        with admin_for(given) as admin:
            print(f"Cluster ID: {admin.describe_cluster().cluster_id}")
    elif given.command == "unregister":
        with admin_for(given) as admin:
            try:
                admin.unregister_broker(given.id)
                print(f"Broker {given.id} is no longer registered.")
            except UnsupportedVersion:
                print("The target cluster does not support the broker unregistration API.")
    else:
        _list_endpoints(given)


def _list_endpoints(given: argparse.Namespace) -> None:
    with admin_for(given) as admin:
        told = admin.describe_cluster(include_fenced_brokers=given.include_fenced_brokers)
    nodes = sorted(told.nodes)
    host = max((len(node.host) for node in nodes), default=100)
    rack = max((len(node.rack) for node in nodes if node.rack), default=10)
    rows = [("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE")] + [
        (
            str(node.node_id),
            node.host,
            str(node.port),
            node.rack or "null",
            "fenced" if node.node_id in told.fenced else "unfenced",
            "broker",
        )
        for node in nodes
    ]
    for row in rows:
        print(" ".join(f"{cell:<{width}}" for cell, width in zip(row, (10, host, 10, rack, 10, 15), strict=True)))


if __name__ == "__main__":
    main()
