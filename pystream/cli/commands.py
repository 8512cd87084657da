"""The commands by name, in static tables: what `--help` shows before anything is imported."""

from __future__ import annotations

TYPE_CHECKING = False  # for type checkers it is true; `typing` itself would be a fifth of the time of `--help`
if TYPE_CHECKING:
    import click

PROGRAM = "pystream"
ENTRY_POINT_GROUP = "pystream.commands"
COMPLETE_VARIABLE = "_PYSTREAM_COMPLETE"  # the shell asks for completions

# name -> (module:attribute of the click command, or noun and verb of an operation; one line of help). Commands of other
# packages come by entry point.
COMMANDS: dict[str, tuple[str, str]] = {
    "broker": ("pystream.cli.broker_command:broker", "Run one broker in the foreground."),
    "up": ("pystream.cli.up_command:up", "Start the platform on this machine and watch over it."),
    "admin": ("pystream.cli.service_command:admin", "Run the gRPC admin server in the foreground."),
    "produce": ("pystream.cli.records.produce_command:produce", "Write records to a topic, from lines, files, tables."),
    "consume": ("pystream.cli.records.consume_command:consume", "Write the records of topics to standard output."),
    "top": ("pystream.cli.live.top_command:top", "Watch topics, groups and brokers live."),
    "bench": ("pystream.cli.live.bench_command:bench", "Measure a cluster: write, read, send round."),
    "doctor": ("cluster doctor", "Find what is wrong with a cluster, or will be, and say what to do."),
    "diff": ("cluster diff", "Show what differs between a cluster and a manifest."),
    "apply": ("cluster apply", "Bring topics, settings, ACLs and quotas to what a manifest says."),
    "logs": ("pystream.cli.logs.log_command:logs", "Dump, verify and repair logs, or take over those of Apache Kafka."),
    "demo": ("pystream.demos.command:demo", "Run a demo application on a cluster that is up."),
    "completion": ("pystream.cli.completion.command:completion", "Print completion for bash, zsh or fish."),
}

# Nouns of declared operations (pystream.client.operations): what `--help` says of each.
NOUNS: dict[str, str] = {
    "topics": "List, create, describe, alter and delete topics.",
    "partitions": "Leaders and replicas, elections, moves to other brokers.",
    "configs": "Settings of topics, brokers, groups and client metrics.",
    "groups": "Groups of consumers: members, lag, offsets.",
    "share-groups": "Share groups, Kafka's queues: members, offsets.",
    "streams-groups": "Groups of Kafka Streams applications.",
    "cluster": "Brokers, features, quorum and log directories.",
    "quotas": "What users and clients may use.",
    "transactions": "Transactions under way.",
    "acls": "Who may do what.",
}

# Kafka's tools by their names: module:function that takes the arguments. They are console scripts, too.
TOOLS: dict[str, str] = {
    "kafka-topics": "pystream.cli.kafka.topics:main",
    "kafka-configs": "pystream.cli.kafka.configs:main",
    "kafka-consumer-groups": "pystream.cli.kafka.consumer_groups:main",
    "kafka-console-producer": "pystream.cli.kafka.records.console_producer:main",
    "kafka-console-consumer": "pystream.cli.kafka.records.console_consumer:main",
    "kafka-acls": "pystream.cli.kafka.cluster.acls:main",
    "kafka-groups": "pystream.cli.kafka.groups.listing:main",
    "kafka-share-groups": "pystream.cli.kafka.groups.share_groups:main",
    "kafka-get-offsets": "pystream.cli.kafka.records.get_offsets:main",
    "kafka-delete-records": "pystream.cli.kafka.records.delete_records:main",
    "kafka-log-dirs": "pystream.cli.kafka.cluster.log_dirs:main",
    "kafka-cluster": "pystream.cli.kafka.cluster.cluster:main",
    "kafka-metadata-quorum": "pystream.cli.kafka.cluster.metadata_quorum:main",
    "kafka-console-share-consumer": "pystream.cli.kafka.records.console_share_consumer:main",
    "kafka-transactions": "pystream.cli.kafka.cluster.transactions:main",
    "kafka-features": "pystream.cli.kafka.cluster.features:main",
    "kafka-broker-api-versions": "pystream.cli.kafka.cluster.broker_api_versions:main",
    "kafka-leader-election": "pystream.cli.kafka.cluster.leader_election:main",
    "kafka-client-metrics": "pystream.cli.kafka.cluster.client_metrics:main",
    "kafka-reassign-partitions": "pystream.cli.kafka.cluster.reassign_partitions:main",
    "kafka-replica-verification": "pystream.cli.kafka.cluster.replica_verification:main",
    "kafka-producer-perf-test": "pystream.cli.kafka.load.producer_perf_test:main",
    "kafka-consumer-perf-test": "pystream.cli.kafka.load.consumer_perf_test:main",
    "kafka-share-consumer-perf-test": "pystream.cli.kafka.load.share_consumer_perf_test:main",
    "kafka-e2e-latency": "pystream.cli.kafka.load.e2e_latency:main",
    "kafka-verifiable-producer": "pystream.cli.kafka.load.verifiable_producer:main",
    "kafka-verifiable-consumer": "pystream.cli.kafka.load.verifiable_consumer:main",
    "kafka-dump-log": "pystream.cli.kafka.server.dump_log:main",
    "kafka-storage": "pystream.cli.kafka.server.storage:main",
    "kafka-streams-groups": "pystream.cli.kafka.groups.streams_groups:main",
    "kafka-streams-application-reset": "pystream.cli.kafka.groups.application_reset:main",
    "kafka-delegation-tokens": "pystream.cli.kafka.server.delegation_tokens:main",
    "kafka-server-start": "pystream.cli.kafka.server.lifecycle:start",
    "kafka-server-stop": "pystream.cli.kafka.server.lifecycle:stop",
}


# Names that commands had once, and keep.
ALIASES: dict[str, str] = {"log": "logs"}


def find_command(name: str) -> click.Command | None:
    """The command of this name: from the table, else from an installed package's entry point."""
    name = ALIASES.get(name, name)
    if name in NOUNS:
        from pystream.cli.operation_command import noun_command

        return noun_command(name)
    from importlib import import_module

    if name in COMMANDS:
        module, colon, attribute = COMMANDS[name][0].partition(":")
        if not colon:
            from pystream.cli.operation_command import operation_command

            return operation_command(name, *module.split())
        command: click.Command = getattr(import_module(module), attribute)
        return command
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        command = entry_point.load()
        return command
    from pystream.cli.operation_command import noun_command

    return noun_command(name)
