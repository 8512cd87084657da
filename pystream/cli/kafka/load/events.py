"""What the verifiable clients say: one event a line, as JSON with its time and name first."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from pystream.cli.kafka.load.figures import now_ms


class Events:
    """Writes them, whole lines, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        """One event."""
        event = {"timestamp": now_ms(), "name": name, **(fields or {})}
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        with self._lock:
            print(line, flush=True)
