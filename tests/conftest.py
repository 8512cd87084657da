"""What every test may rely on: the --full switch, Hypothesis profiles, and nothing else."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", settings.get_profile("default"), max_examples=2000)
settings.register_profile("sanitize", settings.get_profile("default"), max_examples=25)

FULL_TIMEOUT_S = 3_600  # of a test that names none: at their whole size many take minutes


# Brokers under test are stopped and started, never lose power, and many a /tmp lies in memory.
os.environ.setdefault("PYSTREAM_LOG_DIR_VOLATILE_ALLOW", "true")

# What a shell starts in the background ignores Ctrl-C, and so would all programs that tests send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow tests too (also PYSTREAM_TEST_FULL=1)")


def is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full")) or os.environ.get("PYSTREAM_TEST_FULL", "") not in ("", "0")


def pytest_configure(config: pytest.Config) -> None:
    """A profile named on the command line (--hypothesis-profile) wins over ours."""
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("full" if is_full(config) else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_full(config):
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S))
        return
    skip = pytest.mark.skip(reason="slow: tools/test --full")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """True when slow suites run at their whole size; tests take their repeat counts from it."""
    return is_full(pytestconfig)
