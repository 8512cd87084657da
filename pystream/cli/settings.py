"""Where the settings of a server command come from, weakest first:

    --config FILE                   Kafka's server.properties
    PYSTREAM_<KEY_WITH_UNDERSCORES> environment, e.g. PYSTREAM_LOG_RETENTION_MS=60000 for log.retention.ms
    --set KEY=VALUE                 may be repeated; the last one of a key wins
    --data-dir, --listener          short forms of log.dirs and listeners

The only module that reads the environment: components get their settings handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pystream.common.config import parse_properties
from pystream.common.errors import PystreamError

BROKER_DIRECTORY = "broker"  # in the data directory of `pystream up`
ENVIRONMENT_PREFIX = "PYSTREAM_"
# Switches of the build and of the tests that share the prefix.
NOT_SETTINGS = frozenset(
    f"{ENVIRONMENT_PREFIX}{name}"
    for name in (
        *("SANITIZE", "ANNOTATE", "TRACE", "PYTHON", "BOOTSTRAP_SERVERS"),
        *("TEST_FULL", "TEST_BOOTSTRAP", "LIBRDKAFKA_SRC", "KAFKA_PYTHON_SRC", "CONFORMANCE"),
    )
)


def from_file(path: Path) -> dict[str, str]:
    """Settings of a properties file. Raises click.UsageError for one that cannot be read or parsed."""
    try:
        return dict(parse_properties(path.read_text(encoding="utf-8-sig")))  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError, PystreamError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise click.UsageError(f"cannot read {path}: {reason}") from None


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """PYSTREAM_NUM_PARTITIONS=3 -> {"num.partitions": "3"}."""
    return {
        name[len(ENVIRONMENT_PREFIX) :].lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in NOT_SETTINGS
    }


def from_assignments(assignments: Sequence[str], *, option: str = "--set") -> dict[str, str]:
    """["num.partitions=3"] -> {"num.partitions": "3"}. Raises click.UsageError for one without "=" or without a key."""
    settings = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"{option} wants KEY=VALUE, got {assignment!r}")
        settings[key.strip()] = value.strip()
    return settings


def gather(
    *,
    config_file: Path | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
    data_dir: Path | None = None,
    listeners: Sequence[str] = (),
) -> dict[str, str]:
    """All of them in one mapping, the strongest source winning."""
    settings = from_file(config_file) if config_file is not None else {}
    settings.update(from_environment(environment))
    settings.update(from_assignments(assignments))
    if data_dir is not None:
        settings["log.dirs"] = str(data_dir)
    if listeners:
        settings["listeners"] = ",".join(listeners)
    return settings


def is_log_dir(path: Path) -> bool:
    """Whether a broker keeps, or kept, its logs there: one of ours or one of Kafka's."""
    from pystream.storage.checkpoints import META_PROPERTIES

    return (path / META_PROPERTIES).exists()
