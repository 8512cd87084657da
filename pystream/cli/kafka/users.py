"""The part of `kafka-configs` about users, clients and addresses: their quotas, and users' SCRAM credentials."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite, isnan
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.options import Mistake
from pystream.client.admin.users import (
    DEFAULT_ITERATIONS,
    Match,
    QuotaEntity,
    ScramDeletion,
    ScramMechanism,
    ScramUpsertion,
)
from pystream.common.config import Password
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

PARTS: Final = {"users": "user", "clients": "client-id", "ips": "ip"}
SAID: Final = {"user": "user-principal", "client-id": "client-id", "ip": "ip"}
QUOTAS: Final = ("producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate")
ADDRESS_QUOTAS: Final = ("connection_creation_rate",)
MECHANISMS: Final = {
    "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256,
    "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512,
}
LEAST_ITERATIONS: Final = 4_096
CREDENTIAL: Final = re.compile(r"(?:iterations=(-?[0-9]*),)?password=(.*)")

Entities = Mapping[str, str | None]  # name by type; "" for the default, None for all of the type


def check_address(name: str) -> None:
    """Raises Mistake for what is neither an address nor the name of a host."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        raise Mistake(f"The entity name for ips must be a valid IP or resolvable host, but it is: {name}") from None


def describe(admin: AdminClient, entities: Entities) -> None:
    """Quotas of those that match, and where a user is meant the mechanisms with which it authenticates."""
    components = {PARTS[kind]: Match.ANY if name is None else name or None for kind, name in entities.items()}
    for entity, quotas in admin.describe_client_quotas(components, strict=True).items():
        parts = dict(entity.parts)
        who = ", ".join(
            f"the default {SAID[part]}" if parts[part] is None else f"{SAID[part]} '{parts[part]}'"
            for part in SAID
            if part in parts
        )
        print(f"Quota configs for {who} are {', '.join(f'{key}={java_double(rate)}' for key, rate in quotas.items())}")
    if set(entities) != {"users"} or "" in entities.values():
        return
    name = entities["users"]
    for user, told in admin.describe_user_scram_credentials(None if name is None else [name]).items():
        if isinstance(told, PystreamError):
            continue  # none, which is what the broker says of a user without any
        names = {mechanism: text for text, mechanism in MECHANISMS.items()}
        said = ", ".join(f"{names.get(each.mechanism, 'UNKNOWN')}=iterations={each.iterations}" for each in told)
        print(f"SCRAM credential configs for user-principal '{user}' are {said}")


def java_double(value: float) -> str:
    """As Java writes it: 0.001 to below 10000000.0 as Python, 1.0E8 and 1.5E-4 beyond."""
    if not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    first, *rest = map(str, digits)
    return f"{'-' if sign else ''}{first}.{''.join(rest) or '0'}E{exponent + len(rest)}"


def alter(admin: AdminClient, entities: Mapping[str, str], add: Mapping[str, str], delete: Sequence[str]) -> None:
    """Set and take back. Raises Mistake for what the entity cannot have."""
    _check_names(entities, add, delete)
    if any(name in MECHANISMS for name in (*add, *delete)):
        _alter_credentials(admin, entities["users"], add, delete)
        return
    components = {PARTS[kind]: name or None for kind, name in entities.items()}
    entity = QuotaEntity.of(components)
    there = admin.describe_client_quotas(components, strict=True).get(entity, {})
    missing = [name for name in delete if name not in there]
    if missing:
        raise Mistake(f"Invalid config(s): {','.join(missing)}")
    changes: dict[str, float | None] = {name: _number(name, text) for name, text in add.items()}
    changes |= dict.fromkeys(delete)
    admin.alter_client_quotas({entity: changes}).checked()


def _check_names(entities: Mapping[str, str], add: Iterable[str], delete: Iterable[str]) -> None:
    if "ips" in entities:
        unknown = [name for name in (*add, *delete) if name not in ADDRESS_QUOTAS]
        if unknown:
            said = f"Unexpected config names: {','.join(unknown)}"
            raise Mistake(f"Only connection quota configs can be added for 'ips' using --bootstrap-server. {said}")
        return
    known = QUOTAS if "clients" in entities else (*QUOTAS, *MECHANISMS)
    kind = "Only quota configs" if "clients" in entities else "Only quota and SCRAM credential configs"
    whose = "clients" if "clients" in entities else "users"
    for names, verb, written in ((add, "added", "Set({})"), (delete, "deleted", "ArrayBuffer({})")):
        unknown = [name for name in names if name not in known]
        if unknown:
            said = f"Unexpected config names: {written.format(', '.join(unknown))}"
            raise Mistake(f"{kind} can be {verb} for '{whose}' using --bootstrap-server. {said}")
    named = [*add, *delete]
    if any(name in MECHANISMS for name in named):
        if "" in entities.values():
            raise Mistake(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using "
                "--bootstrap-server."
            )
        if any(name in QUOTAS for name in named):
            raise Mistake(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using "
                "--bootstrap-server."
            )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Mistake(f"Cannot parse quota configuration value for {name}: {text}") from None


def _alter_credentials(admin: AdminClient, user: str, add: Mapping[str, str], delete: Sequence[str]) -> None:
    changes: list[ScramUpsertion | ScramDeletion] = [ScramDeletion(user, MECHANISMS[name]) for name in delete]
    for name, text in add.items():
        written = CREDENTIAL.fullmatch(text)
        if written is None:
            raise Mistake(f"Invalid credential property {name.replace('-', '_')}={text}")
        iterations = int(written[1]) if written[1] not in (None, "", "-1") else DEFAULT_ITERATIONS
        if iterations < LEAST_ITERATIONS:
            raise Mistake(f"Iterations {iterations} is less than the minimum {LEAST_ITERATIONS} required for {name}")
        changes.append(ScramUpsertion(user, MECHANISMS[name], Password(written[2]), iterations))
    admin.alter_user_scram_credentials(changes).checked()
