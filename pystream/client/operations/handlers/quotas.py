"""Handlers of operations on quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.users import Match, QuotaEntity
from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer
from pystream.client.operations.quotas import ChangedQuota, Quota
from pystream.common.errors import InvalidRequest

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

PARTS: Final = ("user", "client-id", "ip")


async def describe(admin: AdminClient, *, entity: dict[str, str], any: Sequence[str], strict: bool) -> Answer:
    """By entity."""
    _check(entity)
    _check(any)
    components: dict[str, str | Match | None] = {kind: name or None for kind, name in entity.items()}
    components |= dict.fromkeys(any, Match.ANY)
    found = await admin.describe_client_quotas(components, strict=strict)
    rows = [Quota(written(each), dict(sorted(values.items())), dict(each.parts)) for each, values in found.items()]
    return Answer(sorted(rows, key=lambda row: row.entity))


async def alter(
    admin: AdminClient, *, entity: dict[str, str], set: dict[str, str], unset: Sequence[str], dry_run: bool
) -> Answer:
    """All changes of one entity succeed or fail together."""
    _check(entity)
    if not entity:
        raise InvalidRequest("name the entity whose quotas are meant")
    changes: dict[str, float | None] = {name: _number(name, value) for name, value in set.items()}
    changes |= dict.fromkeys(unset)
    if not changes:
        raise InvalidRequest("nothing to change: name a quota to set or to unset")
    meant = QuotaEntity.of({kind: name or None for kind, name in entity.items()})
    results = await admin.alter_client_quotas({meant: changes}, validate_only=dry_run)
    done = ", ".join(f"unset {name}" if value is None else f"set {name}={value:g}" for name, value in changes.items())
    return answer(
        {written(each): found for each, found in results.items()},
        lambda name, _: ChangedQuota(name, f"would be: {done}" if dry_run else done),
    )


def written(entity: QuotaEntity) -> str:
    """As users write it; <default> for a part without a name."""
    return ",".join(f"{kind}={'<default>' if name is None else name}" for kind, name in entity.parts)


def _check(parts: Mapping[str, str] | Sequence[str]) -> None:
    for kind in parts:
        if kind not in PARTS:
            raise InvalidRequest(f"{kind!r} is no part of an entity: expected one of {', '.join(PARTS)}")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{name}={text}: expected a number") from None
