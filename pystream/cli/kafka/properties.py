"""Settings of clients as Kafka's tools take them: from files of properties, from KEY=VALUE, from options of their own.

What only Java's client knows is left out without a word, as Kafka's clients do with settings that they do not know. But
what secures a connection is not: the client says that it cannot do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pystream.cli.kafka.failures import WrongSetting
from pystream.cli.kafka.options import WrongUsage
from pystream.client.config import SECURITY_PREFIXES, ClientConfig
from pystream.common.config import definition_of, parse_properties
from pystream.common.errors import InvalidConfig, PystreamError

ASSIGNORS: Final = {
    "RangeAssignor": "range",
    "RoundRobinAssignor": "roundrobin",
    "StickyAssignor": "sticky",
    "CooperativeStickyAssignor": "cooperative-sticky",
}


def load(path: str | None) -> dict[str, str]:
    """The properties of a file; none without one. Raises WrongUsage for what cannot be read."""
    if path is None:
        return {}
    try:
        return dict(parse_properties(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise WrongUsage(path) from None
    except (OSError, UnicodeDecodeError, PystreamError) as error:
        raise WrongUsage(f"{path}: {error}") from None


def for_client(kind: type[ClientConfig], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that this client knows; Java's names of assignors as ours. Raises WrongSetting."""
    known = definition_of(kind).keys
    kept = {name: each for name, each in settings.items() if name in known or name.startswith(SECURITY_PREFIXES)}
    strategy = kept.get("partition.assignment.strategy")
    if isinstance(strategy, str):
        names = [name.strip().rpartition(".")[2] for name in strategy.split(",")]
        kept["partition.assignment.strategy"] = ",".join(ASSIGNORS.get(name, name) for name in names)
    try:
        kind.load(kept)
    except InvalidConfig as error:
        raise WrongSetting(str(error)) from None
    return kept
