"""The screen of `pystream top`, with Textual, which only this module imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Header, Static, TabbedContent, TabPane

from pystream.cli.failure import advice
from pystream.cli.live.watch import BrokerLoad, GroupLoad, Snapshot, TopicLoad, Watcher

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

LAGGING: Final = 10_000  # records behind, from which on a group is shown in yellow
FULL_PERCENT: Final = 85
TABLES: Final[dict[str, tuple[str, ...]]] = {
    "topics": ("topic", "partitions", "records", "records/s", "unhealthy"),
    "groups": ("group", "type", "state", "members", "lag", "records/s"),
    "brokers": ("broker", "address", "controller", "leads", "replicas", "disk %"),
}
Cells = list[Text]


class Dashboard(App[None]):
    """Topics by rate, groups by lag, brokers; looked at again every `interval_s`."""

    TITLE = "pystream top"
    ENABLE_COMMAND_PALETTE = False
    CSS = "#status { height: 1; padding: 0 1; } DataTable { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
        Binding("r", "look", "Look now"),
        Binding("t", "show('topics')", "Topics"),
        Binding("g", "show('groups')", "Groups"),
        Binding("b", "show('brokers')", "Brokers"),
    ]

    def __init__(self, admin: AdminClient, interval_s: float) -> None:
        super().__init__()
        self._watcher = Watcher(admin)
        self._interval_s = interval_s
        self._paused = False
        self.snapshot: Snapshot | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static("looking …", id="status")
        with TabbedContent(initial="tab-topics"):
            for name in TABLES:
                with TabPane(name.capitalize(), id=f"tab-{name}"):
                    yield DataTable(id=name, cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        for name, heads in TABLES.items():
            self.table(name).add_columns(*heads)
        self.set_interval(self._interval_s, self._tick)
        self._tick()

    def table(self, name: str) -> DataTable[Any]:
        """The table of a noun."""
        return self.query_one(f"#{name}", DataTable)

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._tell()

    def action_show(self, name: str) -> None:
        self.query_one(TabbedContent).active = f"tab-{name}"

    def action_look(self) -> None:
        self.run_worker(self._look(), exclusive=True, group="look")

    def _tick(self) -> None:
        if not self._paused and not any(each.group == "look" and not each.is_finished for each in self.workers):
            self.action_look()

    async def _look(self) -> None:
        snapshot = await self._watcher.look()
        if snapshot.error is None or self.snapshot is None:
            self.snapshot = snapshot
            self._fill("topics", [_topic(each) for each in snapshot.topics])
            self._fill("groups", [_group(each) for each in snapshot.groups])
            self._fill("brokers", [_broker(each) for each in snapshot.brokers])
        self._tell(snapshot)

    def _tell(self, snapshot: Snapshot | None = None) -> None:
        shown = snapshot or self.snapshot
        status = self.query_one("#status", Static)
        if shown is None:
            return
        if shown.error is not None:
            status.update(Text(advice(shown.error), style="bold red"))
            return
        rate = sum(each.records_per_second for each in shown.topics)
        lag = sum(each.lag for each in shown.groups)
        said = (
            f"cluster {shown.cluster_id}  brokers {len(shown.brokers)}  topics {len(shown.topics)}  "
            f"{rate:,.0f} records/s  lag {lag:,}{'  PAUSED' if self._paused else ''}"
        )
        status.update(Text(said))

    def _fill(self, name: str, rows: Sequence[Cells]) -> None:
        """The new rows; the cursor stays on its row, where that is there still."""
        table = self.table(name)
        held = table.get_row_at(table.cursor_row)[0].plain if table.row_count else None
        scroll = table.scroll_offset
        table.clear()
        for cells in rows:
            table.add_row(*cells, key=cells[0].plain)
        if held is not None and held in {cells[0].plain for cells in rows}:
            table.move_cursor(row=table.get_row_index(held), animate=False, scroll=False)
            table.scroll_to(y=scroll.y, animate=False)


def _number(value: float | None, style: str = "") -> Text:
    return Text("-" if value is None else f"{value:,.0f}", style=style, justify="right")


def _topic(load: TopicLoad) -> Cells:
    return [
        Text(load.topic),
        _number(load.partitions),
        _number(load.records),
        _number(load.records_per_second, "green" if load.records_per_second else "dim"),
        _number(load.unhealthy, "bold red" if load.unhealthy else "dim"),
    ]


def _group(load: GroupLoad) -> Cells:
    return [
        Text(load.group),
        Text(load.type),
        Text(load.state, style="yellow" if load.state == "Empty" and load.lag else ""),
        _number(load.members),
        _number(load.lag, "yellow" if load.lag >= LAGGING else ""),
        _number(load.records_per_second, "green" if load.records_per_second else "dim"),
    ]


def _broker(load: BrokerLoad) -> Cells:
    full = load.disk_percent is not None and load.disk_percent >= FULL_PERCENT
    return [
        Text(str(load.broker)),
        Text(load.address),
        Text("yes" if load.controller else ""),
        _number(load.leads),
        _number(load.replicas),
        _number(load.disk_percent, "bold red" if full else ""),
    ]
