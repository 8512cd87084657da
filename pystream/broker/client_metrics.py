"""Which clients are asked for which of their metrics: the settings of a subscription. Source: KIP-714.

Kafka knows `client_source_port` as well; a port says nothing of a client, and is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from pystream.common.config import definition_of, key
from pystream.common.errors import InvalidConfig, InvalidRequest

ALL_METRICS: Final = "*"
LEAST_INTERVAL_MS: Final = 100
HIGHEST_INTERVAL_MS: Final = 3_600_000
MATCH_FIELDS: Final = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
)


class Pattern(Protocol):
    """A compiled regular expression, in RE2 syntax: it takes linear time, whatever a client calls itself."""

    def fullmatch(self, text: str) -> object | None: ...


def parsed_match(items: tuple[str, ...]) -> dict[str, Pattern]:
    """Patterns by what they look at. Raises ValueError for an item that is not `field=regular expression`."""
    if not items:
        return {}
    import re2

    options = re2.Options()
    options.log_errors = False
    patterns: dict[str, Pattern] = {}
    for item in items:
        name, equals, pattern = item.partition("=")
        if not equals or name.strip() not in MATCH_FIELDS:
            raise ValueError(f"Illegal client matching pattern: {item}")
        try:
            patterns[name.strip()] = re2.compile(pattern.strip(), options)
        except re2.error as error:
            raise ValueError(f"Illegal client matching pattern: {item}") from error
    return patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetricsConfig:
    """One subscription. Without metrics it asks for nothing; without a match it is about every client."""

    NOUN: ClassVar[str] = "client metrics"

    metrics: tuple[str, ...] = key(
        "metrics", default=(), dynamic=True, doc="Prefixes of the names of the metrics asked for; * for all."
    )
    interval_ms: int = key(
        "interval.ms",
        default=300_000,
        dynamic=True,
        doc="How often the clients are to push them.",
    )
    match: tuple[str, ...] = key(
        "match",
        default=(),
        dynamic=True,
        doc=f"Which clients: field=regular expression, of {', '.join(MATCH_FIELDS)}.",
    )


def check_subscription(values: Mapping[str, str]) -> None:
    """Raises InvalidRequest or InvalidConfig, as Kafka does, for settings that no subscription may have."""
    definition = definition_of(ClientMetricsConfig)
    for name in values:
        if name not in definition.keys:
            raise InvalidRequest(f"Unknown client metrics configuration: {name}")
    chosen = {name: definition.keys[name].parse(text) for name, text in values.items()}
    interval_ms = chosen.get("interval.ms", LEAST_INTERVAL_MS)
    if not LEAST_INTERVAL_MS <= interval_ms <= HIGHEST_INTERVAL_MS:
        raise InvalidRequest(
            f"Invalid value {interval_ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        )
    try:
        parsed_match(chosen.get("match", ()))
    except ValueError as error:
        raise InvalidConfig(str(error)) from error
