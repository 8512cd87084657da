"""How checks say what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pystream.client.operations.cluster import Finding
from pystream.client.operations.diagnosis.facts import Facts

Check = Callable[[Facts], Iterable[Finding]]


def error(check: str, subject: str, what: str, why: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(check, "error", subject, what, why, remedy, True)


def warning(check: str, subject: str, what: str, why: str, remedy: str) -> Finding:
    """Something will not work one day."""
    return Finding(check, "warning", subject, what, why, remedy, True)


def info(check: str, subject: str, what: str, why: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding(check, "info", subject, what, why, remedy, False)


def ok(check: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, "ok", "cluster", what, "", "", False)


def unseen(facts: Facts) -> Iterator[Finding]:
    """What could not be looked at."""
    for name, problem in facts.unseen.items():
        yield info(
            "access",
            name,
            f"could not be looked at: {' '.join(str(problem).split())}",
            "what is wrong there stays unknown",
            "give the caller DESCRIBE and DESCRIBE_CONFIGS on the cluster, its topics and groups, or wait for longer",
        )
