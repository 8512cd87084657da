"""`python -m pystream.demos.payments`: streams the payments, shows both rates, says whether all came through.

Exit codes: 0 every payment came back, 1 it did not work, 2 wrong usage.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pystream.demos.payments import generator
from pystream.demos.payments import stream as payments

PARTITIONS = 4


@dataclass(slots=True)
class Outcome:
    """What a thread of the demo leaves behind: its result, or the error that ended it."""

    traffic: payments.Traffic | None = None
    received: payments.Received | None = None
    errors: list[payments.DemoFailed] = field(default_factory=list)


@contextmanager
def shown_progress(console: Console, events: int) -> Iterator[tuple[payments.Progress, payments.Progress]]:
    """Two bars with rates on a terminal; a plain line every tenth of the way elsewhere."""
    if not console.is_terminal:
        yield plain_progress(console, "produced", events), plain_progress(console, "consumed", events)
        return
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield bar_progress(bars, "produced", events), bar_progress(bars, "consumed", events)


def bar_progress(bars: Progress, name: str, events: int) -> payments.Progress:
    task = bars.add_task(name, total=events, rate="")

    def advance(records: int, _size_bytes: int) -> None:
        bars.advance(task, records)
        speed = bars.tasks[task].speed
        bars.update(task, rate=f"{speed:,.0f} records/s" if speed else "")

    return advance


def plain_progress(console: Console, name: str, events: int) -> payments.Progress:
    done = 0

    def advance(records: int, _size_bytes: int) -> None:
        nonlocal done
        tenth = done * 10 // events
        done += records
        if done * 10 // events > tenth:
            console.print(f"{name} {done:,} of {events:,}", highlight=False)

    return advance


def stream_both_ways(bootstrap: str, topic: str, events: list[generator.Payment], console: Console) -> Outcome:
    """Consumer first, so that nothing is missed; then both at once. Raises DemoFailed of either end."""
    outcome = Outcome()
    payments.ensure_topic(bootstrap, topic, partitions=PARTITIONS)
    sink = payments.PaymentSink(bootstrap, topic)
    source = payments.PaymentSource(bootstrap, topic)

    def consume(progress: payments.Progress) -> None:
        try:
            outcome.received, outcome.traffic = sink.receive(len(events), progress)
        except payments.DemoFailed as error:
            outcome.errors.append(error)

    with shown_progress(console, len(events)) as (produced, consumed):
        consumer = threading.Thread(target=consume, args=(consumed,), name="payments consumer")
        consumer.start()
        try:
            sent = source.send(events, produced)
            consumer.join()
        except (payments.DemoFailed, KeyboardInterrupt):
            sink.give_up()
            raise
        finally:
            consumer.join()
            source.close()
    if outcome.errors:
        raise outcome.errors[0]
    console.print(f"produced  {sent}", highlight=False)
    console.print(f"consumed  {outcome.traffic}", highlight=False)
    return outcome


@click.command(
    help="Stream a day of card payments through a topic and count what comes back.",
    epilog="\b\nExamples:\n  pystream demo payments -b 127.0.0.1:9092\n\n"
    "\b\nExit codes:\n  0 all came back; 1 it did not; 2 wrong usage; 130 Ctrl-C.",
)
@click.option(
    *("-b", "--bootstrap-server", "--bootstrap", "bootstrap"),
    default="127.0.0.1:9092",
    show_default=True,
    metavar="HOST:PORT",
    help="The cluster.",
)
@click.option("--topic", default="payments", show_default=True, help="Made where it is not there.")
def main(bootstrap: str, topic: str) -> None:
    """Make the payments, stream them, and hold what came back to their known count and digest."""
    console = Console()
    events = list(generator.generate())
    console.print(f"streaming {len(events):,} payments through topic {topic} at {bootstrap}", highlight=False)
    try:
        outcome = stream_both_ways(bootstrap, topic, events, console)
        assert outcome.received is not None, "no error, so the consumer finished"
        outcome.received.check(events=generator.EVENTS, digest=generator.DIGEST)
    except payments.DemoFailed as error:
        raise click.ClickException(str(error)) from None
    console.print(
        f"verified  {generator.EVENTS:,} payments, each once, in order on every card, sha256 {generator.DIGEST[:16]}…",
        highlight=False,
        soft_wrap=True,
    )
