"""The log's word on connections that sent what is no request."""

from __future__ import annotations

import pytest

from pystream.broker.monitoring.refused_frames import RefusedFrames


def test_each_refused_frame_is_told_of_once(caplog: pytest.LogCaptureFixture):
    counters = {"frames_refused": 0}
    refused = RefusedFrames(lambda: counters)

    told = []
    for count in (0, 3, 3, 4):
        counters["frames_refused"] = count
        caplog.clear()
        refused.look()
        told.append([record.event_fields["count"] for record in caplog.records])

    assert told == [[], [3], [], [1]]
