"""The levels of Kafka 4.2's features: their names, what comes with a release, what they need.

metadata.version has a level for each step of a release, 7 for 3.3-IV3; the others come at one of those steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pystream.cli.kafka.options import Mistake

METADATA_VERSION: Final = "metadata.version"
FIRST_LEVEL: Final = 7
STEPS: Final = (
    *("3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2"),
    *("3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2"),
    *("4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0"),
)
LATEST: Final = "4.2-IV1"  # for production
# feature -> (level, the step from which on it is the default), the lowest level first
DEFAULTS: Final = {
    "kraft.version": ((1, "3.9-IV0"),),
    "transaction.version": ((1, "4.0-IV2"), (2, "4.0-IV2")),
    "group.version": ((1, "4.0-IV0"),),
    "eligible.leader.replicas.version": ((1, "4.1-IV0"),),
    "share.version": ((1, "4.2-IV0"),),
    "streams.version": ((1, "4.2-IV1"),),
}
NEEDS: Final = {("eligible.leader.replicas.version", 1): "4.0-IV1"}


def level_of(release: str) -> int | None:
    """Of a step, or of a release with its last step."""
    for number in range(len(STEPS) - 1, -1, -1):
        if release in (STEPS[number], STEPS[number].partition("-")[0]):
            return FIRST_LEVEL + number
    return None


def step_of(level: int) -> str | None:
    """The step of a level of metadata.version."""
    return STEPS[level - FIRST_LEVEL] if FIRST_LEVEL <= level < FIRST_LEVEL + len(STEPS) else None


def shown(feature: str, level: int) -> str:
    """A level as the tools show it."""
    return str(level) if feature != METADATA_VERSION else step_of(level) or f"UNKNOWN {level}"


def defaults(metadata_level: int) -> dict[str, int]:
    """What the features are at by default when metadata.version is at this level."""
    return {
        feature: max((level for level, since in levels if (level_of(since) or 0) <= metadata_level), default=0)
        for feature, levels in DEFAULTS.items()
    }


def mapping(release: str) -> Iterator[str]:
    """The lines of version-mapping. Raises Mistake."""
    level = level_of(release)
    if level is None:
        raise Mistake(unknown(release))
    yield f"{METADATA_VERSION}={level} ({release})"
    for feature, each in defaults(level).items():
        yield f"{feature}={each}"


def unknown(release: str) -> str:
    """What is said of a release that there is not."""
    return f"Unknown metadata.version '{release}'. Supported metadata.version are: {', '.join(STEPS)}"


def dependencies(features: Sequence[str]) -> Iterator[str]:
    """The lines of feature-dependencies. Raises Mistake."""
    for text in features:
        feature, equals, number = text.partition("=")
        if not equals:
            raise Mistake(
                f"Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')"
            )
        if not number.isdecimal():
            raise Mistake(f"Invalid version format: {number} for feature {feature}")
        level = int(number)
        if feature == METADATA_VERSION:
            if step_of(level) is None:
                raise Mistake(f"Unknown metadata.version {level}")
            yield f"{feature}={level} ({step_of(level)}) has no dependencies."
            continue
        if feature not in DEFAULTS:
            raise Mistake(f"Unknown feature: {feature}")
        if level > DEFAULTS[feature][-1][0]:
            raise Mistake(f"Feature level {level} is not supported for feature {feature}")
        needed = NEEDS.get((feature, level))
        if needed is None:
            yield f"{feature}={level} has no dependencies."
        else:
            yield f"{feature}={level} requires:"
            yield f"    {METADATA_VERSION}={level_of(needed)} ({needed})"
