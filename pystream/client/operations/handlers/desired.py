"""Handlers of `diff` and `apply`: a cluster as a file says it should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pystream.client.admin.acls import AclBinding
from pystream.client.admin.configs import ConfigResource
from pystream.client.operations.cluster import PlannedChange
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.desired.manifest import parse
from pystream.client.operations.desired.plan import Plan, filter_of, make
from pystream.client.operations.handlers.configs import written
from pystream.client.operations.handlers.quotas import written as entity_written
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

Outcomes = Mapping[str, PystreamError]  # what failed, by the name of a row


async def diff(admin: AdminClient, *, file: Sequence[str], prune: bool) -> Answer:
    """Raises InvalidRequest for a manifest that means nothing."""
    plan = await make(admin, parse(file), prune=prune)
    return Answer(rows_of(plan, pending=True), plan.impossible)


async def apply(admin: AdminClient, *, file: Sequence[str], prune: bool, dry_run: bool) -> Answer:
    """All is checked first, by the brokers too; where anything is refused then, nothing is done.

    Deletions come last. What fails while it is being done is told, and the rest is done all the same: apply it again.
    """
    plan = await make(admin, parse(file), prune=prune)
    refused = [*plan.impossible, *await _refused(admin, plan)]
    if refused:
        return Answer([], refused)
    if dry_run:
        return Answer(rows_of(plan, pending=True))
    failed = {name: error for outcomes in await _done(admin, plan) for name, error in outcomes.items()}
    rows = [row for row in rows_of(plan, pending=False) if row.name not in failed]
    return Answer(rows, [Failure(name, error) for name, error in failed.items()])


async def _refused(admin: AdminClient, plan: Plan) -> list[Failure]:
    """What the brokers say would not work."""
    failed: dict[str, PystreamError] = {}
    if plan.new_topics:
        failed |= _topics_named((await admin.create_topics(plan.new_topics.values(), validate_only=True)).failed)
    if plan.partitions:
        counts = {name: to for name, (_, to) in plan.partitions.items()}
        failed |= _topics_named((await admin.create_partitions(counts, validate_only=True)).failed)
    if plan.settings:
        alterations = await admin.incremental_alter_configs(plan.alterations(), validate_only=True)
        failed |= {written(resource): error for resource, error in alterations.failed.items()}
    if plan.quotas:
        quotas = await admin.alter_client_quotas(plan.quota_changes(), validate_only=True)
        failed |= {entity_written(entity): error for entity, error in quotas.failed.items()}
    return [Failure(name, error) for name, error in failed.items()]


async def _done(admin: AdminClient, plan: Plan) -> list[Outcomes]:
    """Do it, and give what failed by the names of rows."""
    found: list[Outcomes] = []
    if plan.new_topics:
        found.append(_topics_named((await admin.create_topics(plan.new_topics.values())).failed))
    if plan.partitions:
        counts = {name: to for name, (_, to) in plan.partitions.items()}
        found.append(_topics_named((await admin.create_partitions(counts)).failed))
    if plan.settings:
        altered = await admin.incremental_alter_configs(plan.alterations())
        found.append({written(resource): error for resource, error in altered.failed.items()})
    if plan.new_acls:
        found.append({_acl(acl): error for acl, error in (await admin.create_acls(plan.new_acls)).failed.items()})
    if plan.quotas:
        quotas = await admin.alter_client_quotas(plan.quota_changes())
        found.append({entity_written(entity): error for entity, error in quotas.failed.items()})
    if plan.old_acls:
        filters = {filter_of(acl): acl for acl in plan.old_acls}
        deleted = await admin.delete_acls(filters)
        found.append({_acl(filters[each]): error for each, error in deleted.failed.items()})
    if plan.old_topics:
        found.append(_topics_named((await admin.delete_topics(plan.old_topics)).failed))
    return found


def rows_of(plan: Plan, *, pending: bool) -> list[PlannedChange]:
    """A row for each change, in the order of doing them."""
    rows = [
        PlannedChange(
            _topic(name),
            "create",
            ", ".join(_of_a_new_topic(topic.num_partitions, topic.replication_factor, topic.configs)),
            pending,
        )
        for name, topic in plan.new_topics.items()
    ]
    rows += [
        PlannedChange(_topic(name), "alter", f"partitions: {before} -> {after}", pending)
        for name, (before, after) in plan.partitions.items()
    ]
    rows += [_setting(resource, name, *change, pending) for (resource, name), change in plan.settings.items()]
    rows += [PlannedChange(_acl(acl), "create", "", pending) for acl in plan.new_acls]
    for entity, changes in plan.quotas.items():
        for name, (before, after) in changes.items():
            said = f"{name}: {_number(before)} -> {_number(after)}"
            rows.append(PlannedChange(entity_written(entity), _action(before, after), said, pending))
    rows += [PlannedChange(_acl(acl), "delete", "", pending) for acl in plan.old_acls]
    rows += [PlannedChange(_topic(name), "delete", "with all its records", pending) for name in plan.old_topics]
    return rows


def _of_a_new_topic(partitions: int, replicas: int, configs: Mapping[str, object]) -> Iterable[str]:
    yield f"partitions: {partitions if partitions > 0 else 'default'}"
    yield f"replicas: {replicas if replicas > 0 else 'default'}"
    yield from (f"{name}: {value}" for name, value in configs.items())


def _setting(
    resource: ConfigResource, name: str, before: str | None, after: str | None, pending: bool
) -> PlannedChange:
    said = f"{name}: {'default' if before is None else before} -> {'default' if after is None else after}"
    return PlannedChange(written(resource), "alter", said, pending)


def _action(before: object, after: object) -> str:
    return "delete" if after is None else "create" if before is None else "alter"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}" if value != int(value) else f"{value:.0f}"


def _topic(name: str) -> str:
    return f"topics {name}"


def _topics_named(failed: Mapping[str, PystreamError]) -> dict[str, PystreamError]:
    return {_topic(name): error for name, error in failed.items()}


def _acl(acl: AclBinding) -> str:
    """On one line: what alice may do."""
    words = (acl.permission.name, acl.principal, acl.operation.name, acl.resource_type.name, acl.pattern_type.name)
    permission, principal, operation, resource, pattern = words
    name = f"{acl.resource_name} ({pattern.lower()})" if pattern != "LITERAL" else acl.resource_name
    host = "" if acl.host == "*" else f" from {acl.host}"
    said = operation.lower().replace("_", "-")
    return f"acls {permission.lower()} {principal} {said} {resource.lower().replace('_', '-')} {name}{host}"
