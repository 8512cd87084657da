"""Every declared operation: what any door may rely on, and what the command line makes of it."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest
from click.testing import CliRunner

from pystream.cli.commands import COMMANDS, NOUNS, find_command
from pystream.cli.operation_command import command_of, noun_command
from pystream.client.admin.acls import AclOperation, ResourceType
from pystream.client.operations.declaration import Kind, Operation
from pystream.client.operations.registry import HOMES, all_operations, find
from pystream.common.errors import NotFound

OPERATIONS = all_operations()
walk = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.noun}-{each.verb}")


def test_no_operation_is_declared_twice():
    names = [(operation.noun, operation.verb) for operation in OPERATIONS]
    old_names = [name for operation in OPERATIONS for name in operation.old_names]

    assert len(set(names)) == len(names)
    assert len(set(old_names)) == len(old_names)


def test_the_table_of_help_has_every_noun_and_no_name_twice():
    assert list(NOUNS) == list(HOMES)
    assert not set(NOUNS) & set(COMMANDS)


def test_an_operation_is_found_by_its_names():
    assert find("topics", "list").verb == "list"
    with pytest.raises(NotFound, match="topics frobnicate"):
        find("topics", "frobnicate")


@walk
def test_a_handler_takes_what_is_declared(operation: Operation):
    parameters = list(inspect.signature(operation.load()).parameters.values())
    expected = [argument.name for argument in operation.arguments] + ["dry_run"] * operation.mutating

    assert inspect.iscoroutinefunction(operation.load())
    assert sorted(parameter.name for parameter in parameters[1:]) == sorted(expected)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[1:])


@walk
def test_a_handler_types_its_arguments_as_declared(operation: Operation):
    declared = {argument.name: argument for argument in operation.arguments}
    annotations = inspect.get_annotations(operation.load())
    plain = {Kind.TEXT: "str", Kind.INTEGER: "int", Kind.NUMBER: "float", Kind.FLAG: "bool", Kind.DOCUMENT: "str"}

    for name, argument in declared.items():
        if argument.kind is Kind.ASSIGNMENT:
            expected = "dict[str, str]"
        elif argument.many:
            expected = f"Sequence[{plain[argument.kind]}]"
        elif argument.kind is Kind.FLAG or argument.required or argument.default is not None:
            expected = plain[argument.kind]
        else:
            expected = f"{plain[argument.kind]} | None"
        assert annotations[name] == expected, name


@walk
def test_columns_are_fields_of_the_row(operation: Operation):
    assert is_dataclass(operation.row)
    names = {each.name for each in fields(operation.row)}
    if operation.expand:
        names |= {each.name for each in fields(get_args(get_type_hints(operation.row)[operation.expand])[0])}

    assert operation.columns
    assert set(operation.columns) <= names


@walk
def test_the_permission_is_one_of_kafkas(operation: Operation):
    assert operation.permission.resource in ResourceType.__members__
    assert operation.permission.operation in AclOperation.__members__


@walk
def test_help_shows_what_it_does_and_an_example(operation: Operation):
    group = find_command(operation.noun)
    assert isinstance(group, click.Group)

    result = CliRunner().invoke(group, [operation.verb, "--help"], prog_name=f"pystream {operation.noun}")

    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    assert operation.doc in shown
    assert operation.examples
    for example in operation.examples:
        assert example.startswith(f"pystream {operation.noun} {operation.verb}")
        assert " ".join(example.split()) in shown
    assert all(argument.doc in shown for argument in operation.arguments if not argument.positional)


@walk
def test_examples_parse(operation: Operation):
    command = command_of(operation)
    for example in operation.examples:
        words = shlex.split(example.partition("|")[0])
        command.make_context(operation.verb, words[3:])  # raises for what does not parse


@walk
def test_what_changes_something_has_a_dry_run(operation: Operation):
    names = {parameter.name for parameter in command_of(operation).params}

    assert ("dry_run" in names) == operation.mutating


@walk
def test_every_verb_has_a_test_with_a_broker(operation: Operation):
    """A call of the `pystream` fixture, or of `feed`, with this noun and verb."""
    folder = Path(__file__).parents[2] / "integration" / "cli"
    written = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("test_*.py"))

    assert re.search(rf'\(\s*"{operation.noun}",\s*"{operation.verb}"', written)


@walk
def test_a_broker_that_is_not_there_is_one_line_and_exit_code_five(operation: Operation, tmp_path: Path):
    """The first example of each, with the files that it names."""
    words = shlex.split(operation.examples[0])[3:]
    documents = {"cluster.yaml": "topics: [{name: a}]", "offsets.csv": "orders,0,1\n"}
    for name, text in documents.items():
        (tmp_path / name).write_text(text)
    given = [str(tmp_path / word) if word in documents else word for word in words if word != "--json"]
    nobody = ("-b", "127.0.0.1:1", "--timeout", "0.2")

    result = CliRunner().invoke(command_of(operation), [*given, *nobody, "-o", "table"])
    as_json = CliRunner().invoke(command_of(operation), [*given, *nobody, "-o", "json"])

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.count("\n") == 1
    assert "--bootstrap-server" in result.stderr
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (5, None if operation.single else [])


@walk
def test_a_setting_that_nobody_knows_is_one_line_and_exit_code_two(operation: Operation):
    words = [word for word in shlex.split(operation.examples[0])[3:] if not word.endswith((".yaml", ".csv", "-f"))]

    result = CliRunner().invoke(command_of(operation), [*words, "-X", "bootstrap.server=a:1"])

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_verb_that_is_nearly_one_is_told_which_it_may_be():
    told = CliRunner().invoke(noun_command("topics"), ["crete"])

    assert told.exit_code == 2
    assert "No such command 'crete'; did you mean create?" in told.output
