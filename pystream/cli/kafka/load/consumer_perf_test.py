"""`kafka-consumer-perf-test`, as Kafka's ConsumerPerformance: how fast records can be read."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.load.figures import MIB, READING_OPTIONS, date, java_number, now_ms, per_second
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, pairs, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import serve

if TYPE_CHECKING:
    from pystream.client.sync.consumer import Consumer

CLIENT_ID: Final = "perf-consumer-client"
POLL_SECONDS: Final = 0.1
FIGURES: Final = "rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
TOOL: Final = Tool(
    "kafka-consumer-perf-test",
    "This tool is used to verify the consumer performance.",
    (
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        value("topic", "The topic to consume from.", "topic"),
        value("include", "Regular expression of the topics to consume.", "Java regex (String)"),
        value("group", "The group id to consume on; else a new one.", "gid"),
        flag("from-latest", "Begin at the end where there is no committed offset."),
        *READING_OPTIONS,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    from pystream.client.sync.consumer import Consumer

    check(given)
    if given.has("messages"):
        print("Warning: --messages is deprecated. Use --num-records instead.")
    if not given.has("hide-header"):
        first = "time, threadId" if given.has("show-detailed-stats") else "start.time, end.time"
        print(f"{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, {FIGURES}")
    settings = settings_of(given)
    with Consumer(settings) as consumer:
        run = _Run(consumer, given)
        run.read_all()
    if not given.has("show-detailed-stats"):
        print(run.line())
    if given.has("print-metrics"):
        run.print_counts(settings["client.id"])


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if given.has("topic") == given.has("include"):
        raise WrongUsage("Exactly one of the following arguments is required: [topic], [include]")
    if given.has("messages") == given.has("num-records"):
        raise WrongUsage("Exactly one of the following arguments is required: [messages], [num-records]")
    given.require("bootstrap-server")


def settings_of(given: Given) -> dict[str, Any]:
    """The consumer's settings."""
    from pystream.client.config import ConsumerConfig

    settings: dict[str, Any] = load(given.value("command-config")) | pairs(given.values("command-property"))
    settings |= {
        "bootstrap.servers": given.value("bootstrap-server"),
        "group.id": given.value("group") or f"perf-consumer-{random.randrange(100_000)}",
        "receive.buffer.bytes": given.value("socket-buffer-size"),
        "max.partition.fetch.bytes": given.value("fetch-size"),
        "auto.offset.reset": "latest" if given.has("from-latest") else "earliest",
        "check.crcs": "false",
    }
    settings.setdefault("client.id", CLIENT_ID)
    settings.setdefault("group.protocol", "classic")
    return for_client(ConsumerConfig, settings)


class _Run:
    """Reads columns of records, and keeps count."""

    def __init__(self, consumer: Consumer, given: Given) -> None:
        self._consumer = consumer
        self._given = given
        self._wanted: int = given.value("num-records") if given.has("num-records") else given.value("messages")
        self._timeout_ms: int = given.value("timeout")
        self._interval_ms: int = given.value("reporting-interval")
        if self._interval_ms <= 0:
            raise Mistake("Reporting interval must be greater than 0.")
        self._records = self._bytes = 0
        self._start_ms = self._end_ms = self._join_start_ms = now_ms()
        self._join_ms = self._window_join_ms = 0

    def read_all(self) -> None:
        callbacks: dict[str, Any] = {"on_assigned": self._assigned, "on_revoked": self._revoked}
        if self._given.has("topic"):
            self._consumer.subscribe([self._given.value("topic")], **callbacks)
        else:
            self._consumer.subscribe(pattern=self._given.value("include"), **callbacks)
        last = time.monotonic()
        window = (now_ms(), 0, 0)
        while self._records < self._wanted and (time.monotonic() - last) * 1_000 <= self._timeout_ms:
            batch = self._consumer.poll_batch(POLL_SECONDS)
            if batch is None:
                continue
            last = time.monotonic()
            self._records += len(batch)
            self._bytes += int(sum(size for size in batch.key_sizes if size > 0))
            self._bytes += int(sum(size for size in batch.value_sizes if size > 0))
            if now_ms() - window[0] >= self._interval_ms:
                if self._given.has("show-detailed-stats"):
                    print(self._progress(*window))
                self._window_join_ms = 0
                window = (now_ms(), self._records, self._bytes)
        if self._records < self._wanted:
            print(
                f"WARNING: Exiting before consuming the expected number of records: timeout ({self._timeout_ms} ms) "
                "exceeded. You can use the --timeout option to increase the timeout."
            )
        self._end_ms = now_ms()

    def _assigned(self, _: list[Any]) -> None:
        elapsed_ms = now_ms() - self._join_start_ms
        self._join_ms += elapsed_ms
        self._window_join_ms += elapsed_ms

    def _revoked(self, _: list[Any]) -> None:
        self._join_start_ms = now_ms()

    def _date(self, timestamp_ms: int) -> str:
        return date(self._given.value("date-format"), timestamp_ms)

    def _progress(self, since_ms: int, records: int, size_bytes: int) -> str:
        at_ms = now_ms()
        elapsed_ms = at_ms - since_ms
        fetch_ms = elapsed_ms - self._window_join_ms
        mebibytes, count = (self._bytes - size_bytes) / MIB, self._records - records
        rates = (per_second(mebibytes, fetch_ms), per_second(count, fetch_ms)) if fetch_ms > 0 else (0.0, 0.0)
        return (
            f"{self._date(at_ms)}, 0, {self._bytes / MIB:.4f}, {java_number(per_second(mebibytes, elapsed_ms), 4)}, "
            f"{self._records}, {java_number(per_second(count, elapsed_ms), 4)}, {self._window_join_ms}, {fetch_ms}, "
            f"{rates[0]:.4f}, {rates[1]:.4f}"
        )

    def line(self) -> str:
        """The figures of the whole run."""
        elapsed_ms = self._end_ms - self._start_ms
        fetch_ms = elapsed_ms - self._join_ms
        mebibytes = self._bytes / MIB
        return (
            f"{self._date(self._start_ms)}, {self._date(self._end_ms)}, {mebibytes:.4f}, "
            f"{java_number(per_second(mebibytes, elapsed_ms), 4)}, {self._records}, "
            f"{java_number(per_second(self._records, elapsed_ms), 4)}, {self._join_ms}, {fetch_ms}, "
            f"{java_number(per_second(mebibytes, fetch_ms), 4)}, {java_number(per_second(self._records, fetch_ms), 4)}"
        )

    def print_counts(self, client_id: str) -> None:
        """What was counted, as the metrics of Kafka's client are named."""
        counts = {"bytes-consumed-total": self._bytes, "records-consumed-total": self._records}
        names = {f"consumer-fetch-manager-metrics:{n}:{{client-id={client_id}}}": c for n, c in counts.items()}
        width = max(map(len, names))
        print(f"\n{'Metric Name':<{width}}   Value")
        for name, count in names.items():
            print(f"{name:<{width}} : {float(count):.3f}")


if __name__ == "__main__":
    main()
