"""`kafka-share-consumer-perf-test`, as Kafka's ShareConsumerPerformance: how fast a share group takes records."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pystream.cli.kafka.load.figures import MIB, READING_OPTIONS, date, java_number, now_ms, per_second
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, pairs, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import serve

CLIENT_ID: Final = "perf-share-consumer-client"
POLL_SECONDS: Final = 0.1
TOOL: Final = Tool(
    "kafka-share-consumer-perf-test",
    "This tool is used to verify the share consumer performance.",
    (
        value("bootstrap-server", "REQUIRED. The server(s) to connect to.", "server to connect to"),
        value("topic", "REQUIRED: The topic to consume from.", "topic"),
        value("group", "The group id to consume on.", "gid", str, "perf-share-consumer"),
        value("threads", "How many share consumers.", "count", int, 1),
        flag("show-consumer-stats", "A line for each share consumer."),
        *READING_OPTIONS,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    given.require("topic")
    if given.has("messages") == given.has("num-records"):
        raise WrongUsage("Exactly one of the following arguments is required: [messages], [num-records]")
    given.require("bootstrap-server")
    if given.has("messages"):
        print("Warning: --messages is deprecated. Use --num-records instead.")
    if given.value("reporting-interval") <= 0:
        raise Mistake("Reporting interval must be greater than 0.")
    if not given.has("hide-header"):
        print("start.time, end.time, data.consumed.in.MB, MB.sec, nMsg.sec, data.consumed.in.nMsg, fetch.time.ms")
    run = _Run(given)
    threads = given.value("threads")
    with ThreadPoolExecutor(threads) as pool:
        takers = [pool.submit(run.take, number) for number in range(1, threads + 1)]
        lines = [taker.result() for taker in takers]
    if given.has("show-consumer-stats"):
        print("\n".join(lines))
    run.print_end()
    if given.has("print-metrics"):
        run.print_counts()


class _Run:
    """Takes records in threads, and keeps count of all."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._wanted: int = given.value("num-records") if given.has("num-records") else given.value("messages")
        self._timeout_ms: int = given.value("timeout")
        self._lock = threading.Lock()  # guards what follows
        self._records = self._bytes = 0
        self._last = time.monotonic()
        self._start_ms = self._end_ms = self._window_ms = now_ms()
        self._window = (0, 0)

    def _settings(self, number: int) -> dict[str, Any]:
        from pystream.client.config import ShareConsumerConfig

        given = self._given
        settings: dict[str, Any] = load(given.value("command-config")) | pairs(given.values("command-property"))
        client_id = settings.get("client.id", CLIENT_ID)
        settings |= {
            "bootstrap.servers": given.value("bootstrap-server"),
            "group.id": given.value("group"),
            "client.id": client_id if given.value("threads") == 1 else f"{client_id}-{number}",
            "receive.buffer.bytes": given.value("socket-buffer-size"),
            "fetch.max.bytes": given.value("fetch-size"),
            "check.crcs": "false",
        }
        return for_client(ShareConsumerConfig, settings)

    def take(self, number: int) -> str:
        """One consumer's work; the line about it."""
        from pystream.client.sync.share import ShareConsumer

        settings = self._settings(number)
        start_ms = now_ms()
        records = size_bytes = 0
        with ShareConsumer(settings) as consumer:
            consumer.subscribe([self._given.value("topic")])
            while self._goes_on():
                batch = consumer.poll_batch(POLL_SECONDS)
                if batch is None:
                    continue
                taken = sum(size for column in (batch.key_sizes, batch.value_sizes) for size in column if size > 0)
                records += len(batch)
                size_bytes += taken
                self._count(len(batch), taken)
        return (
            f"Share consumer {number} having client id {settings['client.id']} consumption metrics- "
            f"{self._line(start_ms, now_ms(), records, size_bytes)}"
        )

    def _goes_on(self) -> bool:
        with self._lock:
            late = (time.monotonic() - self._last) * 1_000 > self._timeout_ms
            return self._records < self._wanted and not late

    def _count(self, records: int, size_bytes: int) -> None:
        with self._lock:
            self._last = time.monotonic()
            self._records += records
            self._bytes += size_bytes
            at_ms = now_ms()
            if at_ms - self._window_ms >= self._given.value("reporting-interval"):
                if self._given.has("show-detailed-stats"):
                    since = self._window
                    window = (self._records - since[0], self._bytes - since[1])
                    print(self._line(self._window_ms, at_ms, *window))
                self._window_ms, self._window = at_ms, (self._records, self._bytes)

    def _line(self, start_ms: int, end_ms: int, records: int, size_bytes: int) -> str:
        pattern = self._given.value("date-format")
        elapsed_ms = end_ms - start_ms
        mebibytes = size_bytes / MIB
        return (
            f"{date(pattern, start_ms)}, {date(pattern, end_ms)}, {mebibytes:.4f}, "
            f"{java_number(per_second(mebibytes, elapsed_ms), 4)}, {java_number(per_second(records, elapsed_ms), 4)}, "
            f"{records}, {elapsed_ms}"
        )

    def print_end(self) -> None:
        """What came of it all."""
        self._end_ms = now_ms()
        if self._records < self._wanted:
            print(
                f"WARNING: Exiting before consuming the expected number of records: timeout ({self._timeout_ms} ms) "
                "exceeded. You can use the --timeout option to increase the timeout."
            )
        print(self._line(self._start_ms, self._end_ms, self._records, self._bytes))

    def print_counts(self) -> None:
        """What was counted, as the metrics of Kafka's client are named."""
        counts = {"bytes-consumed-total": self._bytes, "records-consumed-total": self._records}
        names = {f"consumer-share-fetch-manager-metrics:{name}": count for name, count in counts.items()}
        width = max(map(len, names))
        print(f"\n{'Metric Name':<{width}}   Value")
        for name, count in names.items():
            print(f"{name:<{width}} : {float(count):.3f}")


if __name__ == "__main__":
    main()
