"""A Quix Streams application, as its users write them: running totals and windows by card, exactly once.

    python quix_totals.py HOST:PORT INPUT_TOPIC TOTALS_TOPIC WINDOWS_TOPIC STATE_FOLDER

Runs until it is stopped. Its state lies in the folder, and in changelog topics on the broker.
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application, State

WINDOW_MS = 60_000

bootstrap, input_topic, totals_topic, windows_topic, state_folder = sys.argv[1:6]
app = Application(
    broker_address=bootstrap,
    consumer_group=f"{input_topic}-totals",
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=0.2,
    state_dir=state_folder,
    consumer_extra_config={"session.timeout.ms": 3_000, "heartbeat.interval.ms": 500},
    producer_extra_config={"transaction.timeout.ms": 5_000},
)


def add(payment: dict[str, Any], state: State) -> dict[str, Any]:
    total = state.get("total", 0) + payment["amount"]
    state.set("total", total)
    return {"number": payment["number"], "total": total}


payments = app.dataframe(app.topic(input_topic, key_deserializer="str", value_deserializer="json"))
payments.apply(add, stateful=True).to_topic(app.topic(totals_topic, key_serializer="str", value_serializer="json"))
(
    payments.apply(lambda payment: payment["amount"])
    .tumbling_window(WINDOW_MS)
    .sum()
    .final()
    .to_topic(app.topic(windows_topic, key_serializer="str", value_serializer="json"))
)

if __name__ == "__main__":
    app.run()
