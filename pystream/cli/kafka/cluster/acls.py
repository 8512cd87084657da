"""`kafka-acls`, as Kafka's AclCommand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.tool import admin_client, serve
from pystream.client.admin.acls import (
    EVERY_HOST,
    AclBinding,
    AclFilter,
    AclOperation,
    AclPermission,
    PatternType,
    ResourceType,
)

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

CLUSTER_NAME: Final = "kafka-cluster"
OPERATIONS: Final = {
    each.name.replace("_", ""): each for each in AclOperation if each not in (AclOperation.UNKNOWN, AclOperation.ANY)
}
COMMON: Final = (AclOperation.DESCRIBE, AclOperation.ALL)
SUPPORTED: Final = {
    ResourceType.TOPIC: (
        AclOperation.READ,
        AclOperation.WRITE,
        AclOperation.CREATE,
        AclOperation.DELETE,
        AclOperation.ALTER,
        AclOperation.DESCRIBE_CONFIGS,
        AclOperation.ALTER_CONFIGS,
        *COMMON,
    ),
    ResourceType.GROUP: (
        AclOperation.READ,
        AclOperation.DELETE,
        AclOperation.DESCRIBE_CONFIGS,
        AclOperation.ALTER_CONFIGS,
        *COMMON,
    ),
    ResourceType.CLUSTER: (
        AclOperation.CREATE,
        AclOperation.CLUSTER_ACTION,
        AclOperation.DESCRIBE_CONFIGS,
        AclOperation.ALTER_CONFIGS,
        AclOperation.IDEMPOTENT_WRITE,
        AclOperation.ALTER,
        *COMMON,
    ),
    ResourceType.TRANSACTIONAL_ID: (AclOperation.WRITE, AclOperation.TWO_PHASE_COMMIT, *COMMON),
    ResourceType.DELEGATION_TOKEN: COMMON,
    ResourceType.USER: (AclOperation.CREATE_TOKENS, AclOperation.DESCRIBE_TOKENS, AclOperation.ALL),
}
TOOL: Final = Tool(
    "kafka-acls",
    "This tool helps to manage acls on kafka.",
    (
        value("bootstrap-server", "host:port of some brokers, separated by commas.", "server to connect to"),
        value("bootstrap-controller", "The same of controllers.", "controller to connect to"),
        value("command-config", "A property file containing configs to be passed to Admin Client.", "file", bare=True),
        value("topic", "Topic to which ACLs should be added or removed; * is all topics.", "topic"),
        flag("cluster", "Add/Remove cluster ACLs."),
        value("group", "Consumer group to which the ACLs should be added or removed; * is all groups.", "group"),
        value("transactional-id", "The transactionalId to which ACLs should be added or removed.", "transactional-id"),
        flag("idempotent", "Idempotence of the producer, with --producer."),
        value("delegation-token", "Delegation token to which ACLs should be added or removed.", "delegation-token"),
        value("resource-pattern-type", "ANY, MATCH, LITERAL or PREFIXED.", "pattern", str, "LITERAL"),
        flag("add", "Indicates you are trying to add ACLs."),
        flag("remove", "Indicates you are trying to remove ACLs."),
        flag("list", "List ACLs for the specified resource, or all."),
        value("operation", "Operation that is being allowed or denied.", "String", str, "All"),
        value("allow-principal", "Who is allowed, principalType:name.", "allow-principal"),
        value("deny-principal", "Who is denied; that is stronger.", "deny-principal"),
        value("principal", "List ACLs of the specified principal.", "principal", bare=True),
        value("allow-host", "From where they are allowed; else from everywhere.", "allow-host"),
        value("deny-host", "From where they are denied; else from everywhere.", "deny-host"),
        flag("producer", "WRITE, DESCRIBE and CREATE on topics."),
        flag("consumer", "READ and DESCRIBE on topics, READ on groups."),
        flag("force", "Assume Yes to all queries and do not prompt."),
        value("user-principal", "A user as a resource, for CreateTokens and DescribeTokens.", "user-principal"),
    ),
)


class Resource(NamedTuple):
    """What ACLs are about."""

    type: ResourceType
    name: str
    pattern: PatternType

    def text(self, kind: str) -> str:
        return f"{kind}(resourceType={self.type.name}, name={self.name}, patternType={self.pattern.name})"


class Entry(NamedTuple):
    """Who may, or may not, do what from where."""

    principal: str
    host: str
    operation: AclOperation
    permission: AclPermission

    def __str__(self) -> str:
        return (
            f"(principal={self.principal}, host={self.host}, operation={self.operation.name}, "
            f"permissionType={self.permission.name})"
        )


THE_CLUSTER: Final = Resource(ResourceType.CLUSTER, CLUSTER_NAME, PatternType.LITERAL)
Entries = dict[Resource, list[Entry]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="Error while executing ACL command: ", to_output=True)


def work(given: Given) -> None:
    from pystream.cli.kafka.properties import load

    check(given)
    servers = given.value("bootstrap-server") or given.value("bootstrap-controller")
    settings = load(given.value("command-config"))
    with admin_client(servers, settings) as admin:
        if given.has("add"):
            _add(admin, given)
        elif given.has("remove"):
            _remove(admin, given)
        else:
            _list(admin, given)


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if given.has("bootstrap-server") and given.has("bootstrap-controller"):
        raise WrongUsage("Only one of --bootstrap-server or --bootstrap-controller must be specified")
    if not given.has("bootstrap-server") and not given.has("bootstrap-controller"):
        raise WrongUsage("One of --bootstrap-server or --bootstrap-controller must be specified")
    if sum(map(given.has, ("add", "remove", "list"))) != 1:
        raise WrongUsage("Command must include exactly one action: --list, --add, --remove. ")
    given.exclude("list", "producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal")
    for role in ("producer", "consumer"):
        given.exclude(role, "operation", "deny-principal", "deny-host")
    if given.has("principal") and not given.has("list"):
        raise WrongUsage("The --principal option is only available if --list is set")
    if given.has("producer") and not given.has("topic"):
        raise WrongUsage("With --producer you must specify a --topic")
    if given.has("idempotent") and not given.has("producer"):
        raise WrongUsage("The --idempotent option is only available if --producer is set")
    others = not given.has("producer") and (given.has("cluster") or given.has("transactional-id"))
    if given.has("consumer") and (not given.has("topic") or not given.has("group") or others):
        raise WrongUsage(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option "
            "should be specified."
        )


def _add(admin: AdminClient, given: Given) -> None:
    pattern = _pattern(given)
    if pattern in (PatternType.ANY, PatternType.MATCH):
        raise WrongUsage(f"A '--resource-pattern-type' value of '{pattern.name}' is not valid when adding acls.")
    entries = _entries(given)
    if not all(entries.values()):
        raise WrongUsage("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
    for resource, each in entries.items():
        shown = resource.text("ResourcePattern")
        there = set(admin.describe_acls(_filter(resource, None)))
        new = [entry for entry in each if _binding(resource, entry) not in there]
        for entry in each:
            if entry not in new:
                print(f"Acl (pattern={shown}, entry={entry}) already exists.")
        if new:
            print(f"Adding ACLs for resource `{shown}`: \n {_lines(new)}\n")
            admin.create_acls([_binding(resource, entry) for entry in new]).checked()


def _remove(admin: AdminClient, given: Given) -> None:
    for resource, each in _entries(given).items():
        shown = resource.text("ResourcePattern")
        question = (
            f"Are you sure you want to remove ACLs: \n {_lines(each)}\n from resource filter `{shown}`? (y/n)"
            if each
            else f"Are you sure you want to delete all ACLs for resource filter `{shown}`? (y/n)"
        )
        if not given.has("force"):
            print(question, flush=True)
            if sys.stdin.readline().strip().lower() != "y":
                continue
        admin.delete_acls([_filter(resource, entry) for entry in each] or [_filter(resource, None)]).checked()


def _list(admin: AdminClient, given: Given) -> None:
    wanted: Iterable[AclFilter] = [_filter(resource, None) for resource in _resources(given)] or [AclFilter()]
    found: dict[Resource, list[Entry]] = {}
    for acl in dict.fromkeys(acl for each in wanted for acl in admin.describe_acls(each)):
        resource = Resource(acl.resource_type, acl.resource_name, acl.pattern_type)
        found.setdefault(resource, []).append(Entry(acl.principal, acl.host, acl.operation, acl.permission))
    principals = _principals(given, "principal")
    if not principals:
        _print(found)
    for principal in principals:
        print(f"ACLs for principal `{principal}`")
        of_principal = {
            resource: [entry for entry in each if entry.principal == principal] for resource, each in found.items()
        }
        _print({resource: each for resource, each in of_principal.items() if each})


def _print(found: Entries) -> None:
    for resource, each in found.items():
        print(f"Current ACLs for resource `{resource.text('ResourcePattern')}`:\n{_lines(each)}\n")


def _lines(entries: Iterable[Entry]) -> str:
    return "\n".join(f"\t{entry}" for entry in entries)


# --- what the options mean --------------------------------------------------------------------------------------------


def _pattern(given: Given) -> PatternType:
    text = given.value("resource-pattern-type").upper()
    if text == "UNKNOWN" or text not in PatternType.__members__:
        text = given.value("resource-pattern-type")
        raise Mistake(f"Cannot parse argument '{text}' of option resource-pattern-type")
    return PatternType[text]


def _resources(given: Given) -> list[Resource]:
    pattern = _pattern(given)
    found = [Resource(ResourceType.TOPIC, name.strip(), pattern) for name in given.values("topic")]
    if pattern is PatternType.LITERAL and (given.has("cluster") or given.has("idempotent")):
        found.append(THE_CLUSTER)
    for option, kind in (
        ("group", ResourceType.GROUP),
        ("transactional-id", ResourceType.TRANSACTIONAL_ID),
        ("delegation-token", ResourceType.DELEGATION_TOKEN),
        ("user-principal", ResourceType.USER),
    ):
        found += [Resource(kind, name.strip(), pattern) for name in given.values(option)]
    return list(dict.fromkeys(found))


def _entries(given: Given) -> Entries:
    resources = _resources(given)
    if not resources:
        raise WrongUsage(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or "
            "--delegation-token <Delegation Token ID>"
        )
    found: Entries = {}
    if not given.has("producer") and not given.has("consumer"):
        operations = [_operation(text) for text in given.values("operation")]
        found = {resource: _of(given, operations) for resource in resources}
    if given.has("producer"):
        write = (AclOperation.WRITE, AclOperation.DESCRIBE)
        roles = {ResourceType.TOPIC: (*write, AclOperation.CREATE), ResourceType.TRANSACTIONAL_ID: write}
        found |= {each: _of(given, roles[each.type]) for each in resources if each.type in roles}
        if given.has("idempotent"):
            found[THE_CLUSTER] = _of(given, (AclOperation.IDEMPOTENT_WRITE,))
    if given.has("consumer"):
        read = (AclOperation.READ,)
        roles = {ResourceType.TOPIC: (*read, AclOperation.DESCRIBE), ResourceType.GROUP: read}
        for each in resources:
            if each.type in roles:
                found[each] = list(dict.fromkeys([*_of(given, roles[each.type]), *found.get(each, ())]))
    _check_operations(found)
    return found


def _check_operations(found: Entries) -> None:
    for resource, each in found.items():
        supported = SUPPORTED[resource.type]
        if any(entry.operation not in supported for entry in each):
            names = ", ".join(operation.name for operation in supported)
            raise WrongUsage(f"ResourceType {resource.type.name} only supports operations [{names}]")


def _of(given: Given, operations: Iterable[AclOperation]) -> list[Entry]:
    return [
        Entry(principal, host, operation, permission)
        for permission, who, where in (
            (AclPermission.ALLOW, "allow-principal", "allow-host"),
            (AclPermission.DENY, "deny-principal", "deny-host"),
        )
        for principal in _principals(given, who)
        for operation in dict.fromkeys(operations)
        for host in ([host.strip() for host in given.values(where)] or [EVERY_HOST])
    ]


def _principals(given: Given, option: str) -> list[str]:
    names = [text.strip() for text in given.values(option)]
    for name in names:
        if not all(name.partition(":")):
            raise Mistake(f"expected a string in format principalType:principalName but got {name}")
    return list(dict.fromkeys(names))


def _operation(text: str) -> AclOperation:
    return OPERATIONS.get(text.strip().replace("_", "").upper(), AclOperation.UNKNOWN)


def _binding(resource: Resource, entry: Entry) -> AclBinding:
    return AclBinding(
        resource_type=resource.type,
        resource_name=resource.name,
        pattern_type=resource.pattern,
        principal=entry.principal,
        host=entry.host,
        operation=entry.operation,
        permission=entry.permission,
    )


def _filter(resource: Resource, entry: Entry | None) -> AclFilter:
    meant = AclFilter(resource_type=resource.type, resource_name=resource.name, pattern_type=resource.pattern)
    if entry is None:
        return meant
    return AclFilter(
        resource_type=resource.type,
        resource_name=resource.name,
        pattern_type=resource.pattern,
        principal=entry.principal,
        host=entry.host,
        operation=entry.operation,
        permission=entry.permission,
    )


if __name__ == "__main__":
    main()
