"""Rows, dataclasses all of one type, as text: for eyes, for programs, for the shell.

table     columns; drawn by rich on a terminal, as blocks where it is far too narrow, plain and aligned elsewhere
wide      all fields of it
json      one array, or one object of an operation that gives one               ndjson  one object a line
          where all of it failed: an empty array, or null
yaml      as json                                                               csv     columns, with a header
name      the first column, one a line: for `xargs`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeAlias

if TYPE_CHECKING:
    from pystream.client.operations.declaration import Operation

DOCUMENTS: Final = ("json", "yaml")  # are one whole, also where there is nothing to say
FORMATS: Final = ("table", "wide", "json", "ndjson", "yaml", "csv", "name")
DRAWN_ROWS: Final = 1_000  # above, a table is plain on a terminal too: drawing takes a millisecond a row
FOLDED: Final = 1.6  # a table so many times as wide as the terminal is no table any more
GAP: Final = "  "
ROUNDED: Final = 1e5  # numbers from here on are shown without a fraction
WIDEST: Final = 1e15  # and from here on with an exponent
TONES: Final = {
    "create": "green",
    "alter": "yellow",
    "delete": "red",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "ok": "green",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What output needs to know of rows, for commands that are no declared operation."""

    row: type
    columns: tuple[str, ...]
    single: bool = False
    expand: str | None = None
    tone: str | None = None


Shown: TypeAlias = "Operation | Layout"


def write(operation: Shown, rows: Sequence[Any], output_format: str, out: TextIO) -> None:
    """Write them. Nothing is imported that the format does not need."""
    if output_format in ("table", "wide"):
        _write_table(operation, rows, output_format == "wide", out)
    elif output_format == "json":
        json.dump(_document(operation, rows), out, indent=2, ensure_ascii=False, allow_nan=False)
        out.write("\n")
    elif output_format == "ndjson":
        out.writelines(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
    elif output_format == "yaml":
        out.writelines(f"{line}\n" for line in yaml_lines(_document(operation, rows)))
    elif output_format == "csv":
        import csv

        columns = list(operation.columns)
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_cells(operation, columns, rows, absent="", exact=True))
    else:
        out.writelines(f"{cell(getattr(row, operation.columns[0]))}\n" for row in rows)


def _document(operation: Shown, rows: Sequence[Any]) -> Any:
    values = [plain(row) for row in rows]
    if operation.single:
        return values[0] if values else None
    return values


def plain(value: Any) -> Any:
    """As json has it: dataclasses as objects, enums by name in small letters, null for what is no finite number."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _number(value: float, exact: bool) -> str:
    """Whole numbers with all their digits; of others six where that is enough."""
    if value.is_integer() and abs(value) < WIDEST:
        return str(int(value))
    if exact:
        return repr(value)
    return f"{value:.0f}" if ROUNDED <= abs(value) < WIDEST else f"{value:g}"


def cell(value: Any, absent: str = "-", exact: bool = False) -> str:
    """A value in a column; `exact` for programs."""
    if value is None:
        return absent
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, dict):
        return ",".join(f"{key}={cell(each, absent, exact)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ",".join(cell(each, absent, exact) for each in value)
    if isinstance(value, float):
        return _number(value, exact)
    return str(value)


def yaml_lines(value: Any, indent: str = "") -> Iterator[str]:
    """Block style; scalars as JSON writes them, which YAML 1.2 reads alike."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            name = key if key.replace("_", "").isalpha() and key.isascii() else json.dumps(key)
            yield from _yaml_item(f"{indent}{name}:", each, indent)
    elif isinstance(value, list) and value:
        for each in value:
            lines = list(yaml_lines(each, indent + "  "))
            yield f"{indent}- {lines[0].strip()}"
            yield from lines[1:]
    else:
        yield indent + json.dumps(value, ensure_ascii=False)


def _yaml_item(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from yaml_lines(value, indent + "  ")
    else:
        yield f"{head} {json.dumps(value, ensure_ascii=False)}"


# --- tables -----------------------------------------------------------------------------------------------------------


def _columns(operation: Shown, wide: bool) -> list[str]:
    """Of the table; `wide` has every field, those of the expanded list in its place."""
    if not wide:
        return list(operation.columns)
    from typing import get_args, get_type_hints

    hints = get_type_hints(operation.row)
    names: list[str] = []
    for each in fields(operation.row):
        if each.name == operation.expand:
            names += [inner.name for inner in fields(get_args(hints[each.name])[0])]
        else:
            names.append(each.name)
    return names


def _cells(
    operation: Shown, columns: list[str], rows: Sequence[Any], absent: str = "-", exact: bool = False
) -> Iterator[list[str]]:
    own = {each.name for each in fields(operation.row)}
    for row in rows:
        inner = getattr(row, operation.expand) if operation.expand else None
        for each in (inner or [None]) if operation.expand else [None]:
            values = (getattr(row, name) if name in own else getattr(each, name, None) for name in columns)
            yield [cell(value, absent, exact) for value in values]


def _write_table(operation: Shown, rows: Sequence[Any], wide: bool, out: TextIO) -> None:
    columns = _columns(operation, wide)
    lines = list(_cells(operation, columns, rows))
    shown = [column for number, column in enumerate(columns) if any(line[number] != "-" for line in lines)] or columns
    places = [columns.index(column) for column in shown]
    heads = [column.upper().replace("_", " ") for column in shown]
    body = [[line[place] for place in places] for line in lines]
    if out.isatty() and len(body) <= DRAWN_ROWS:
        _draw(heads, body, out, list(_styles(operation, rows)))
        return
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    for line in [heads, *body]:
        out.write(GAP.join(map(str.ljust, line, widths)).rstrip() + "\n")


def _styles(operation: Shown, rows: Sequence[Any]) -> Iterator[str]:
    """A colour for each line, by the field that tells the tone; none without one."""
    for row in rows:
        style = TONES.get(cell(getattr(row, operation.tone)), "") if operation.tone else ""
        yield from [style] * (max(len(getattr(row, operation.expand)), 1) if operation.expand else 1)


def _draw(heads: list[str], body: list[list[str]], out: TextIO, styles: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out)
    natural = sum(max(map(len, column)) + len(GAP) for column in zip(heads, *body, strict=True))
    if natural > FOLDED * console.width:
        for line, style in zip(body, styles, strict=True):
            console.print(_block(heads, line, style))
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, head in enumerate(heads):
        numeric = all(line[number].lstrip("-").replace(".", "", 1).isdecimal() or line[number] == "-" for line in body)
        table.add_column(head, justify="right" if numeric and body else "left", overflow="fold")
    for line, style in zip(body, styles, strict=True):
        table.add_row(*map(Text, line), style=style or None)
    console.print(table)


def _block(heads: list[str], line: list[str], style: str) -> Any:
    """A row as a field a line, what is absent left out; an empty line behind it."""
    from rich.table import Table
    from rich.text import Text

    block = Table.grid(padding=(0, 2, 0, 0))
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    for head, text in zip(heads, line, strict=True):
        if text not in ("", "-"):
            block.add_row(Text(head.lower(), style="dim"), Text(text), style=style or None)
    block.add_row("", "")
    return block
