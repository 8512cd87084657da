"""What clients send that is no request of Kafka's: the data plane closes such connections and counts them, no more.

Who looks for the reason why a client cannot connect reads the log, so it says there that there were some, and what it
mostly is: TLS or HTTP on a PLAINTEXT listener, or a request above socket.request.max.bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pystream.common.logging import get_logger

logger = get_logger(__name__)

LOOK_INTERVAL_MS = 5_000
USUAL_REASONS = "TLS or HTTP on a PLAINTEXT listener, a port scan, a request above socket.request.max.bytes"


class RefusedFrames:
    """Tells of connections that were closed since the last look."""

    def __init__(self, counters: Callable[[], Mapping[str, int]]) -> None:
        self._counters = counters
        self._told = 0

    def look(self) -> None:
        """One warning, however many there were; none when there were none."""
        refused = self._counters()["frames_refused"]
        if refused > self._told:
            logger.warning(
                "connections closed: what came was no request", count=refused - self._told, usual_reasons=USUAL_REASONS
            )
            self._told = refused
