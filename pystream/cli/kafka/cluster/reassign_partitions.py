"""`kafka-reassign-partitions`, as Kafka's ReassignPartitionsCommand: partitions to other brokers or directories."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from pystream.cli.kafka.cluster import reassignments
from pystream.cli.kafka.cluster.reassignments import Assignment, Wanted
from pystream.cli.kafka.failures import java_text, message
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import admin_client, serve
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.admin.log_dirs import Replica, ReplicaLogDirs
from pystream.client.admin.partitions import Reassignment
from pystream.common.errors import PystreamError, ReplicaNotAvailable, UnknownTopicOrPartition
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

LEADER_RATE: Final = "leader.replication.throttled.rate"
FOLLOWER_RATE: Final = "follower.replication.throttled.rate"
DIRECTORY_RATE: Final = "replica.alter.log.dirs.io.max.bytes.per.second"
LEADER_REPLICAS: Final = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS: Final = "follower.replication.throttled.replicas"
ACTIONS: Final = ("generate", "execute", "verify", "cancel", "list")
RETRY_SECONDS: Final = 0.1
TOOL: Final = Tool(
    "kafka-reassign-partitions",
    "This tool helps to move topic partitions between replicas.",
    (
        flag("verify", "Say how far the reassignment of --reassignment-json-file is; end throttles when it is done."),
        flag("generate", "Propose a reassignment, and do nothing."),
        flag("execute", "Begin the reassignment of --reassignment-json-file."),
        flag("cancel", "Cancel an active reassignment."),
        flag("list", "List all active partition reassignments."),
        value("bootstrap-server", "The servers to use for bootstrapping.", "Server(s)", bare=True),
        value("bootstrap-controller", "The controller to use, with --cancel and --list.", "controller", bare=True),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "file"),
        value(
            "reassignment-json-file",
            '{"partitions": [{"topic": "foo", "partition": 1, "replicas": [1,2,3], "log_dirs": ["dir1","any","any"]}], '
            '"version":1}, where log_dirs may be left out.',
            "manual assignment json file path",
        ),
        value(
            "topics-to-move-json-file",
            'With --generate: {"topics": [{"topic": "foo"},{"topic": "foo1"}], "version":1}',
            "topics to reassign json file path",
        ),
        value("broker-list", "With --generate: the brokers to move to, as 0,1,2.", "brokerlist"),
        flag("disable-rack-aware", "Disable rack aware replica assignment"),
        value("throttle", "Bytes a second between brokers.", "throttle", int, -1),
        value("replica-alter-log-dirs-throttle", "Bytes a second between directories.", "throttle", int, -1),
        value("timeout", "How long to wait in ms for moves between directories to begin.", "timeout", int, 10_000),
        flag("additional", "Beside other reassignments that are active."),
        flag("preserve-throttles", "Do not modify broker or topic throttles."),
        flag("disallow-replication-factor-change", "Refuse to change how many replicas a partition has."),
    ),
)
REQUIRED: Final = {
    "verify": ("reassignment-json-file",),
    "generate": ("topics-to-move-json-file", "broker-list"),
    "execute": ("reassignment-json-file",),
    "cancel": ("reassignment-json-file",),
    "list": (),
}
COMMON: Final = ("bootstrap-server", "command-config")
PERMITTED: Final = {
    "verify": (*COMMON, "preserve-throttles"),
    "generate": (*COMMON, "disable-rack-aware"),
    "execute": (
        *(*COMMON, "additional", "throttle", "replica-alter-log-dirs-throttle", "timeout"),
        "disallow-replication-factor-change",
    ),
    "cancel": (*COMMON, "bootstrap-controller", "preserve-throttles", "timeout"),
    "list": (*COMMON, "bootstrap-controller"),
}
EXISTING: Final = (
    "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a "
    "new partition assignment in addition to the existing one. The --additional flag can also be used to change the "
    "throttle by resubmitting the current reassignment."
)
VERIFY_PERIODICALLY: Final = (
    "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="Error: ", to_output=True)


def work(given: Given) -> None:
    action = check(given)
    servers = given.value("bootstrap-server") or given.value("bootstrap-controller")
    with admin_client(servers, load(given.value("command-config")), client_id="reassign-partitions-tool") as admin:
        if action == "verify":
            _verify(admin, given)
        elif action == "generate":
            _generate(admin, given)
        elif action == "execute":
            _execute(admin, given)
        elif action == "cancel":
            _cancel(admin, given)
        else:
            _list(admin)


def check(given: Given) -> str:
    """The action. Raises WrongUsage for options that do not go with it."""
    actions = [action for action in ACTIONS if given.has(action)]
    if len(actions) != 1:
        raise WrongUsage(f"Command must include exactly one action: {', '.join(f'--{action}' for action in ACTIONS)}")
    if given.has("bootstrap-server") and given.has("bootstrap-controller"):
        raise WrongUsage("Please don't specify both --bootstrap-server and --bootstrap-controller")
    if not given.has("bootstrap-server") and not given.has("bootstrap-controller"):
        raise WrongUsage("Please specify either --bootstrap-server or --bootstrap-controller")
    (action,) = actions
    given.require(*REQUIRED[action])
    for option in TOOL.options:
        if given.has(option.name) and option.name not in (action, *REQUIRED[action], *PERMITTED[action]):
            raise WrongUsage(f'Option "{option}" can\'t be used with action "[{action}]"')
    try:
        for number in ("throttle", "replica-alter-log-dirs-throttle", "timeout"):
            given.value(number)
    except WrongUsage as error:
        raise Mistake(str(error)) from None
    return action


def _text(given: Given, option: str) -> str:
    path = given.value(option)
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"Unable to read file {path}") from None


def _end(said: str) -> NoReturn:
    """Without "Error: " before it."""
    print(said)
    raise SystemExit(1)


def _joined(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


# --- list and verify --------------------------------------------------------------------------------------------------


def _list(admin: AdminClient) -> None:
    active = admin.list_partition_reassignments()
    if not active:
        print("No partition reassignments found.")
        return
    print("Current partition reassignments:")
    for place, move in sorted(active.items()):
        adding = f" adding: {_joined(move.adding_replicas)}." if move.adding_replicas else ""
        removing = f" removing: {_joined(move.removing_replicas)}." if move.removing_replicas else ""
        print(f"{place}: replicas: {_joined(move.replicas)}.{adding}{removing}")


def _verify(admin: AdminClient, given: Given) -> None:
    wanted = reassignments.parse(_text(given, "reassignment-json-file"))
    active = admin.list_partition_reassignments()
    current = _current(admin, [place for place in wanted.places if place not in active], missing_is_empty=True)
    print("Status of partition reassignment:")
    for place, replicas in sorted(wanted.places.items()):
        if place in active:
            print(f"Reassignment of partition {place} is still in progress.")
        elif current[place] == replicas:
            print(f"Reassignment of partition {place} is completed.")
        else:
            print(
                f"There is no active reassignment of partition {place}, but replica set is {_joined(current[place])} "
                f"rather than {_joined(replicas)}."
            )
    moving = _verify_directories(admin, wanted)
    if not active and not moving and not given.has("preserve-throttles"):
        _clear_throttles(admin, wanted)


def _verify_directories(admin: AdminClient, wanted: Wanted) -> bool:
    """Print how far moves between directories are; whether one is under way."""
    told = admin.describe_replica_log_dirs(wanted.directories).checked() if wanted.directories else {}
    lines, moving = [], False
    for replica, path in sorted(wanted.directories.items(), key=lambda item: (item[0].broker_id, item[0])):
        found = told[replica]
        moving = moving or found.future_path is not None
        lines.append(_directory_line(replica, path, found))
    print("\n".join(lines))
    return moving


def _directory_line(replica: Replica, path: str, found: ReplicaLogDirs) -> str:
    place = f"{replica.topic}-{replica.partition}"
    if found.current_path is None:
        return (
            f"Partition {place} is not found in any live log dir on broker {replica.broker_id}. There is likely an "
            "offline log directory on the broker."
        )
    if found.future_path == path:
        return f"Reassignment of replica {place}-{replica.broker_id} is still in progress."
    if found.future_path is not None:
        return (
            f"Partition {place} on broker {replica.broker_id} is being moved to log dir {found.future_path} instead of "
            f"{path}."
        )
    if found.current_path == path:
        return f"Reassignment of replica {place}-{replica.broker_id} completed successfully."
    return (
        f"Partition {place} on broker {replica.broker_id} is not being moved from log dir {found.current_path} to "
        f"{path}."
    )


def _current(admin: AdminClient, places: Sequence[TopicPartition], *, missing_is_empty: bool = False) -> Assignment:
    """Who has the partitions now. Raises UnknownTopicOrPartition, or gives nobody."""
    found: Assignment = {}
    described = admin.describe_topics({place.topic for place in places})
    for name, topic in described.items():
        if isinstance(topic, UnknownTopicOrPartition) and missing_is_empty:
            continue
        if isinstance(topic, PystreamError):
            raise (
                UnknownTopicOrPartition(f"Topic {name} not found.")
                if isinstance(topic, UnknownTopicOrPartition)
                else topic
            )
        found |= {TopicPartition(name, each.partition): list(each.replicas) for each in topic.partitions}
    missing = [place for place in places if place not in found]
    if missing and not missing_is_empty:
        raise UnknownTopicOrPartition(f"Unable to find partition: {', '.join(map(str, missing))}")
    return {place: found.get(place, []) for place in places}


def _directories(admin: AdminClient, assignment: Assignment) -> dict[Replica, str]:
    """Where the replicas lie."""
    replicas = [Replica(*place, broker) for place, brokers in assignment.items() for broker in brokers]
    told = admin.describe_replica_log_dirs(replicas).succeeded if replicas else {}
    return {replica: found.current_path for replica, found in told.items() if found.current_path is not None}


# --- generate ---------------------------------------------------------------------------------------------------------


def _generate(admin: AdminClient, given: Given) -> None:
    brokers = _brokers(given.value("broker-list"))
    topics = reassignments.topics_of(_text(given, "topics-to-move-json-file"))
    described = admin.describe_topics(topics)
    current: Assignment = {}
    proposed: Assignment = {}
    racks = _racks(admin, brokers, given)
    for name, topic in described.items():
        if isinstance(topic, UnknownTopicOrPartition):
            raise UnknownTopicOrPartition(f"Topic {name} not found.")
        partitions = described.result(name).partitions
        current |= {TopicPartition(name, each.partition): list(each.replicas) for each in partitions}
        places = reassignments.spread(len(partitions), len(partitions[0].replicas), racks)
        proposed |= {TopicPartition(name, number): replicas for number, replicas in enumerate(places)}
    print(f"Current partition replica assignment\n{reassignments.text_of(current, _directories(admin, current))}\n")
    print(f"Proposed partition reassignment configuration\n{reassignments.text_of(proposed)}")


def _brokers(text: str) -> list[int]:
    try:
        brokers = [int(part) for part in text.split(",")]
    except ValueError:
        raise Mistake(f'For input string: "{next(p for p in text.split(",") if not p.isdecimal())}"') from None
    twice = [broker for broker in dict.fromkeys(brokers) if brokers.count(broker) > 1]
    if twice:
        raise Mistake(f"Broker list contains duplicate entries: [{', '.join(map(str, twice))}]")
    return brokers


def _racks(admin: AdminClient, brokers: Sequence[int], given: Given) -> dict[int, str | None]:
    nodes = [node for node in admin.describe_cluster().nodes if node.node_id in brokers]
    if given.has("disable-rack-aware"):
        return {node.node_id: None for node in nodes}
    if len({node.rack is None for node in nodes}) > 1:
        raise Mistake(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica "
            "assignment without rack information."
        )
    return {node.node_id: node.rack for node in nodes}


# --- execute ----------------------------------------------------------------------------------------------------------


def _execute(admin: AdminClient, given: Given) -> None:
    wanted = reassignments.parse(_text(given, "reassignment-json-file"))
    reassignments.check(wanted)
    active = admin.list_partition_reassignments()
    if active and not given.has("additional"):
        _end(EXISTING)
    there = {node.node_id for node in admin.describe_cluster().nodes}
    for broker in sorted({broker for replicas in wanted.places.values() for broker in replicas}):
        if broker not in there:
            raise Mistake(f"Unknown broker id {broker}")
    current = _current(admin, list(wanted.places))
    print(
        f"Current partition replica assignment\n\n{reassignments.text_of(current, _directories(admin, current))}\n\n"
        "Save this to use as the --reassignment-json-file option during rollback"
    )
    _throttle(admin, given, wanted, active, current)
    results = admin.alter_partition_reassignments(
        wanted.places,
        allow_replication_factor_change=not given.has("disallow-replication-factor-change"),
    )
    if results.failed:
        lines = "\n".join(f"{place}: {message(error)}" for place, error in sorted(results.failed.items()))
        _end(f"Error reassigning partition(s):\n{lines}")
    plural = "" if len(wanted.places) == 1 else "s"
    print(f"Successfully started partition reassignment{plural} for {_joined(sorted(wanted.places))}")
    if wanted.directories:
        _move(admin, wanted.directories, given.value("timeout"))


def _throttle(
    admin: AdminClient,
    given: Given,
    wanted: Wanted,
    active: Mapping[TopicPartition, Reassignment],
    current: Assignment,
) -> None:
    between, within = given.value("throttle"), given.value("replica-alter-log-dirs-throttle")
    if between < 0 and within < 0:
        return
    print(VERIFY_PERIODICALLY)
    if between >= 0:
        moves = {
            place: (set(move.replicas) - set(move.adding_replicas), set(move.adding_replicas))
            for place, move in active.items()
        }
        for place, replicas in wanted.places.items():
            sources = moves[place][0] if place in moves else set(current[place])
            moves[place] = (sources, set(replicas) - sources)
        topics = {
            ConfigResource(ConfigResourceType.TOPIC, topic): {LEADER_REPLICAS: senders, FOLLOWER_REPLICAS: receivers}
            for topic, (senders, receivers) in reassignments.throttled(moves).items()
        }
        admin.incremental_alter_configs(topics).checked()
        brokers = sorted({broker for pair in moves.values() for side in pair for broker in side})
        rate = {LEADER_RATE: str(between), FOLLOWER_RATE: str(between)}
        admin.incremental_alter_configs({_broker(broker): rate for broker in brokers}).checked()
        print(f"The inter-broker throttle limit was set to {between} B/s")
    if within >= 0:
        brokers = sorted({replica.broker_id for replica in wanted.directories})
        rates = {_broker(broker): {DIRECTORY_RATE: str(within)} for broker in brokers}
        admin.incremental_alter_configs(rates).checked()
        print(f"The replica-alter-dir throttle limit was set to {within} B/s")


def _broker(number: int) -> ConfigResource:
    return ConfigResource(ConfigResourceType.BROKER, str(number))


def _move(admin: AdminClient, directories: Mapping[Replica, str], timeout_ms: int) -> None:
    """Begin the moves; a replica that its broker does not have yet is tried again."""
    ends_at = time.monotonic() + timeout_ms / 1_000
    pending = dict(directories)
    while True:
        results = admin.alter_replica_log_dirs(pending)
        for replica, error in results.failed.items():
            if not isinstance(error, ReplicaNotAvailable):
                name = f"{replica.topic}-{replica.partition}-{replica.broker_id}"
                print(java_text(error), file=sys.stderr)
                raise Mistake(f"Failed to alter dir for {name}")
        for replica in sorted(results.succeeded, key=lambda each: (each.broker_id, each)):
            print(
                f"Successfully started moving log directory to {pending.pop(replica)} for replica "
                f"{replica.topic}-{replica.partition} with broker {replica.broker_id} "
            )
        if not pending:
            return
        if time.monotonic() >= ends_at:
            names = _joined(f"{each.topic}-{each.partition}-{each.broker_id}" for each in sorted(pending))
            plural = "" if len(pending) == 1 else "s"
            _end(f"Timed out before log directory move{plural} could be started for: {names}")
        time.sleep(RETRY_SECONDS)


# --- cancel -----------------------------------------------------------------------------------------------------------


def _cancel(admin: AdminClient, given: Given) -> None:
    wanted = reassignments.parse(_text(given, "reassignment-json-file"))
    active = [
        place
        for place, move in admin.list_partition_reassignments(wanted.places).items()
        if move.adding_replicas or move.removing_replicas
    ]
    if active:
        failed = admin.alter_partition_reassignments(dict.fromkeys(active)).failed
        if failed:
            lines = "\n".join(f"{place}: {message(error)}" for place, error in sorted(failed.items()))
            _end(f"Error cancelling partition reassignment{'' if len(failed) == 1 else 's'} for:\n{lines}")
        plural = "" if len(active) == 1 else "s"
        print(f"Successfully cancelled partition reassignment{plural} for: {_joined(sorted(active))}")
    else:
        print("None of the specified partition reassignments are active.")
    told = admin.describe_replica_log_dirs(wanted.directories).checked() if wanted.directories else {}
    back = {
        replica: found.current_path
        for replica, found in told.items()
        if found.future_path is not None and found.current_path is not None
    }
    if back:
        _move(admin, back, given.value("timeout"))
    else:
        print("None of the specified partition moves are active.", end="")
    if not given.has("preserve-throttles"):
        _clear_throttles(admin, wanted)


def _clear_throttles(admin: AdminClient, wanted: Wanted) -> None:
    brokers = {node.node_id for node in admin.describe_cluster().nodes}
    brokers |= {broker for replicas in wanted.places.values() for broker in replicas}
    print(f"Clearing broker-level throttles on broker{'' if len(brokers) == 1 else 's'} {_joined(sorted(brokers))}")
    nothing = dict.fromkeys((LEADER_RATE, FOLLOWER_RATE, DIRECTORY_RATE))
    admin.incremental_alter_configs({_broker(broker): nothing for broker in sorted(brokers)}).checked()
    topics = sorted({place.topic for place in wanted.places})
    print(f"Clearing topic-level throttles on topic{'' if len(topics) == 1 else 's'} {_joined(topics)}")
    lists = dict.fromkeys((LEADER_REPLICAS, FOLLOWER_REPLICAS))
    changes = {ConfigResource(ConfigResourceType.TOPIC, topic): lists for topic in topics}
    admin.incremental_alter_configs(changes).checked()


if __name__ == "__main__":
    main()
