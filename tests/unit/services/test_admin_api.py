"""The API itself: every declared operation has its method, and numbers of fields never change."""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission
from pystream.client.operations.registry import HOMES, all_operations
from pystream.services.admin.naming import (
    MESSAGES,
    file_name,
    integer_type,
    is_paged,
    method_name,
    service_name,
    watch_name,
)
from tools.codegen.admin_proto import known_messages, proto_text

OPERATIONS = [operation for operation in all_operations() if operation.noun in HOMES]
walk = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.noun}-{each.verb}")


@walk
def test_an_operation_has_a_method_that_takes_and_gives_what_is_declared(operation: Operation):
    module = import_module(f"{MESSAGES}.{file_name(operation.noun)}_pb2")
    method = module.DESCRIPTOR.services_by_name[service_name(operation.noun)].methods_by_name[method_name(operation)]
    arguments = {argument.name for argument in operation.arguments} | ({"dry_run"} if operation.mutating else set())
    pages = {"page_size", "page_token"} if is_paged(operation) else set()

    assert set(method.input_type.fields_by_name) == arguments | pages
    result = method.output_type.fields_by_name["result" if operation.single else "results"].message_type
    assert set(result.fields_by_name) == {each.name for each in dataclasses.fields(operation.row)}
    assert ("next_page_token" in method.output_type.fields_by_name) == is_paged(operation)


@walk
def test_what_is_watched_takes_the_same_arguments_and_goes_on(operation: Operation):
    watch = watch_name(operation)
    if watch is None:
        return
    service = import_module(f"{MESSAGES}.{file_name(operation.noun)}_pb2").DESCRIPTOR.services_by_name[
        service_name(operation.noun)
    ]

    assert service.methods_by_name[watch].server_streaming
    assert set(service.methods_by_name[watch].input_type.fields_by_name) == {
        *(argument.name for argument in operation.arguments),
        "interval_ms",
    }


def test_no_two_operations_share_a_method():
    names = [(service_name(each.noun), method_name(each)) for each in OPERATIONS]

    assert len(set(names)) == len(names)


def test_only_what_kafka_keeps_in_32_bits_is_an_int32():
    assert integer_type("partition") == "int32"
    assert integer_type("end_offset") == integer_type("size_bytes") == integer_type("anything_new") == "int64"


def test_the_extra_and_the_group_of_the_checkout_hold_the_same():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())

    assert project["project"]["optional-dependencies"]["grpc"] == project["dependency-groups"]["grpc"]


# --- the generator ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A thing that was made."""

    name: str
    size_bytes: int  # of all of it
    place: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MadeLater:
    """A thing that was made later."""

    place: str | None
    colour: str
    name: str


MadeLater.__name__ = "Made"


def declared(row: type, *arguments: Argument) -> Operation:
    return Operation(
        noun="things",
        verb="make",
        doc="Make things.",
        handler="nowhere:make",
        row=row,
        columns=("name",),
        permission=Permission(resource="TOPIC", operation="CREATE"),
        arguments=arguments,
        mutating=True,
        examples=(),
    )


def test_a_proto_file_says_what_the_declaration_says():
    text = proto_text("things", (declared(Made, Argument("count", Kind.INTEGER, doc="How many.", minimum=1)),), "")

    assert "service ThingService {" in text
    assert "  rpc MakeThings(MakeThingsRequest) returns (MakeThingsResponse);" in text
    assert "  // How many. At least 1.\n  optional int64 count = 1;" in text
    assert "// A thing that was made.\nmessage Made {" in text
    assert "  // of all of it\n  int64 size_bytes = 2;\n  optional string place = 3;" in text


def test_fields_keep_their_numbers_and_what_is_gone_is_reserved():
    before = proto_text("things", (declared(Made),), "")

    after = proto_text("things", (declared(MadeLater),), before)

    assert known_messages(after)["Made"].numbers == {"place": 3, "colour": 4, "name": 1}
    assert '  reserved 2;\n  reserved "size_bytes";\n' in after
    assert proto_text("things", (declared(MadeLater),), after) == after


def test_a_number_that_was_reserved_is_never_given_again():
    first = proto_text("things", (declared(Made),), "")
    without = proto_text("things", (declared(MadeLater),), first)

    again = proto_text("things", (declared(Made),), without)

    assert known_messages(again)["Made"].numbers == {"name": 1, "place": 3, "size_bytes": 5}
    assert known_messages(again)["Made"].reserved == {2: "size_bytes", 4: "colour"}


def test_a_type_without_a_counterpart_is_refused():
    @dataclasses.dataclass
    class Odd:
        """Odd."""

        name: complex

    with pytest.raises(ValueError, match="complex"):
        proto_text("things", (declared(Odd),), "")
