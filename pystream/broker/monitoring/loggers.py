"""Levels of this process's loggers, under Kafka's names of them (resource type BROKER_LOGGER).

TRACE, DEBUG -> debug    INFO -> info    WARN -> warning    ERROR, FATAL -> error and above
"""

from __future__ import annotations

import logging as standard

from pystream.common.errors import InvalidConfig, InvalidRequest

ROOT = "root"
PACKAGE = "pystream"
LEVELS = {
    "TRACE": standard.DEBUG,
    "DEBUG": standard.DEBUG,
    "INFO": standard.INFO,
    "WARN": standard.WARNING,
    "ERROR": standard.ERROR,
    "FATAL": standard.CRITICAL,
}
_NAMES = {
    standard.DEBUG: "DEBUG",
    standard.INFO: "INFO",
    standard.WARNING: "WARN",
    standard.ERROR: "ERROR",
    standard.CRITICAL: "FATAL",
}


def levels() -> dict[str, str]:
    """The level in force of the root and of every logger of ours."""
    names = [name for name in standard.root.manager.loggerDict if name.split(".")[0] == PACKAGE]
    found = {name: standard.getLogger(name).getEffectiveLevel() for name in sorted(names)}
    return {name: _NAMES.get(level, str(level)) for name, level in {ROOT: standard.root.level, **found}.items()}


def check(name: str, level: str | None) -> None:
    """Raises InvalidConfig unless there is such a logger and, where one is given, such a level."""
    if name not in levels():
        raise InvalidConfig(f"Logger {name} does not exist!")
    if level is not None and level.upper() not in LEVELS:
        raise InvalidConfig(
            f"Cannot set the log level of {name} to {level} as it is not a supported log level. "
            f"Valid log levels are {', '.join(sorted(LEVELS))}"
        )


def set_level(name: str, level: str) -> None:
    """Change one logger until the process ends. Checked before."""
    _logger(name).setLevel(LEVELS[level.upper()])


def check_removable(name: str) -> None:
    """Raises InvalidRequest for the root, which has no parent to follow."""
    if name == ROOT:
        raise InvalidRequest("Removing the log level of the root logger is not allowed")


def unset_level(name: str) -> None:
    """Let a logger follow its parent again. Checked before."""
    _logger(name).setLevel(standard.NOTSET)


def _logger(name: str) -> standard.Logger:
    return standard.getLogger(None if name == ROOT else name)
