"""The process of a broker under test: its settings as JSON, where to say that it is ready, and the test's lifeline."""

from __future__ import annotations

import json
import sys

from pystream.broker.config import BrokerConfig
from pystream.broker.process import run
from pystream.common.errors import PystreamError


def main(settings: str, ready_fd: str, lifeline_fd: str) -> None:
    """Until SIGTERM or the end of the test's process. Exits with 1 and a message when it fails."""
    try:
        config = BrokerConfig.from_settings(json.loads(settings))
        run(config, ready_fd=int(ready_fd), lifeline_fd=int(lifeline_fd))
    except (PystreamError, OSError) as error:
        sys.exit(f"broker: {error}")
