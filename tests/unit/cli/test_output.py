"""Rows in every format."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from enum import Enum

import pytest

from pystream.cli.output import FORMATS, write
from pystream.client.operations.declaration import Operation, Permission


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Part:
    number: int
    weight: float | None


@dataclass(frozen=True)
class Thing:
    name: str
    colour: Colour
    ready: bool
    labels: dict[str, str | None]
    parts: list[Part] = field(default_factory=list)


OPERATION = Operation(
    noun="things",
    verb="list",
    doc="List things.",
    handler="nowhere:list_",
    row=Thing,
    columns=("name", "ready", "number", "weight"),
    expand="parts",
    permission=Permission(resource="CLUSTER", operation="DESCRIBE"),
    examples=("pystream things list",),
)
ROWS = [
    Thing("first", Colour.RED, True, {"a b": "ü", "c": None}, [Part(0, 1.5), Part(1, None)]),
    Thing("second", Colour.RED, False, {}),
]
PLAIN = [
    {
        "name": "first",
        "colour": "red",
        "ready": True,
        "labels": {"a b": "ü", "c": None},
        "parts": [{"number": 0, "weight": 1.5}, {"number": 1, "weight": None}],
    },
    {"name": "second", "colour": "red", "ready": False, "labels": {}, "parts": []},
]


def written(output_format: str, rows: list[Thing] = ROWS, operation: Operation = OPERATION) -> str:
    out = io.StringIO()
    write(operation, rows, output_format, out)
    return out.getvalue()


def test_a_table_is_aligned_and_has_a_line_for_each_part():
    assert written("table").splitlines() == [
        "NAME    READY  NUMBER  WEIGHT",
        "first   yes    0       1.5",
        "first   yes    1       -",
        "second  no     -       -",
    ]


def test_a_wide_table_has_every_field():
    assert written("wide").splitlines()[:2] == [
        "NAME    COLOUR  READY  LABELS     NUMBER  WEIGHT",
        "first   red     yes    a b=ü,c=-  0       1.5",
    ]


def test_a_table_without_rows_still_says_what_its_columns_are():
    assert written("table", []) == "NAME  READY  NUMBER  WEIGHT\n"


def test_json_is_one_array_and_of_a_single_row_an_object():
    assert json.loads(written("json")) == PLAIN
    assert json.loads(written("json", ROWS[:1], replace(OPERATION, single=True))) == PLAIN[0]


def test_nothing_is_json_and_yaml_too_and_so_are_numbers_that_are_none():
    single = replace(OPERATION, single=True)
    odd = Thing("odd", Colour.RED, True, {}, [Part(0, float("nan")), Part(1, float("-inf"))])

    assert [written(form, []) for form in ("json", "yaml", "ndjson")] == ["[]\n", "[]\n", ""]
    assert [written(form, [], single) for form in ("json", "yaml")] == ["null\n", "null\n"]
    assert [part["weight"] for part in json.loads(written("json", [odd]))[0]["parts"]] == [None, None]


def test_ndjson_is_an_object_a_line():
    assert [json.loads(line) for line in written("ndjson").splitlines()] == PLAIN


def test_yaml_is_block_style_with_scalars_of_json():
    assert written("yaml").splitlines() == [
        '- name: "first"',
        '  colour: "red"',
        "  ready: true",
        "  labels:",
        '    "a b": "ü"',
        "    c: null",
        "  parts:",
        "    - number: 0",
        "      weight: 1.5",
        "    - number: 1",
        "      weight: null",
        '- name: "second"',
        '  colour: "red"',
        "  ready: false",
        "  labels: {}",
        "  parts: []",
    ]


def test_csv_has_a_header_and_nothing_for_what_is_absent():
    assert written("csv").splitlines() == [
        "name,ready,number,weight",
        "first,yes,0,1.5",
        "first,yes,1,",
        "second,no,,",
    ]


@pytest.mark.parametrize(
    ("number", "shown", "exact"),
    [
        (104_857_600.0, "104857600", "104857600"),
        (9_999_999.0, "9999999", "9999999"),
        (1.5, "1.5", "1.5"),
        (12.3456789, "12.3457", "12.3456789"),
        (1_234_567.891, "1234568", "1234567.891"),
        (1e20, "1e+20", "1e+20"),
        (0.0, "0", "0"),
    ],
)
def test_a_number_keeps_the_digits_that_count(number: float, shown: str, exact: str):
    row = Thing("n", Colour.RED, True, {}, [Part(0, number)])

    assert written("table", [row]).split()[-1] == shown
    assert written("csv", [row]).strip().rpartition(",")[2] == exact


def test_names_are_one_a_line():
    assert written("name") == "first\nsecond\n"


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_rows_are_written_in_every_format(output_format: str):
    assert "first" not in written(output_format, [])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("count", "drawn"), [(2, True), (2000, False)])
def test_a_table_is_drawn_on_a_terminal_unless_it_is_long(count: int, drawn: bool):
    out = Terminal()

    write(OPERATION, [ROWS[1]] * count, "table", out)

    assert ("\u2500" in out.getvalue()) == drawn
    assert out.getvalue().count("second") == count
