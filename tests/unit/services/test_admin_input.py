"""Whatever bytes come, a request is understood or refused: nothing else is raised, no handler sees what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from pystream.client.grpc.messages import records_pb2
from pystream.client.grpc.status import InvalidFields
from pystream.client.operations.declaration import Kind, Operation
from pystream.client.operations.registry import HOMES, all_operations
from pystream.common.errors import MalformedInput, PystreamError
from pystream.services.admin.calls import parsed
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.conversion import arguments_of, page_of
from pystream.services.admin.naming import MESSAGES, file_name, method_name, service_name
from pystream.services.admin.reading import violations_of

MAX_ITEMS = 4
CONFIG = AdminServerConfig.from_settings({"max.items": str(MAX_ITEMS)})
OPERATIONS = [operation for operation in all_operations() if operation.noun in HOMES]


def message_of(operation: Operation) -> Any:
    module = import_module(f"{MESSAGES}.{file_name(operation.noun)}_pb2")
    service = module.DESCRIPTOR.services_by_name[service_name(operation.noun)]
    return service.methods_by_name[method_name(operation)].input_type._concrete_class


def given_or_refused(work: Callable[[], Any]) -> Any:
    """What it gives, or how it refuses; anything else that is raised fails the test."""
    try:
        return work()
    except (InvalidFields, MalformedInput) as refused:
        return refused


SCALARS = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


def requests(operation: Operation) -> st.SearchStrategy[Any]:
    """Messages with any values in any of their fields."""
    message = message_of(operation)
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            fields[field.name] = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=MAX_ITEMS + 2)
        elif field.is_repeated:
            fields[field.name] = st.lists(SCALARS[field.type], max_size=MAX_ITEMS + 2)
        else:
            fields[field.name] = SCALARS[field.type]
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: message(**values))


@given(st.data())
def test_what_a_handler_gets_is_within_what_is_declared(data: st.DataObject):
    operation = data.draw(st.sampled_from(OPERATIONS))
    request = data.draw(requests(operation))

    arguments = given_or_refused(lambda: arguments_of(operation, request, MAX_ITEMS))
    if isinstance(arguments, PystreamError):
        return
    assert set(arguments) == {argument.name for argument in operation.arguments}
    for argument in operation.arguments:
        value = arguments[argument.name]
        values = value if isinstance(value, list) else [] if value is None or isinstance(value, dict) else [value]
        assert not (argument.required and value in ("", [], {}))
        if argument.many or argument.kind is Kind.ASSIGNMENT:
            assert len(value) <= MAX_ITEMS
        if argument.choices:
            assert set(values) <= set(argument.choices)
        if argument.minimum is not None:
            assert all(each >= argument.minimum for each in values)


@given(st.sampled_from(OPERATIONS), st.binary(max_size=64))
def test_any_bytes_are_a_request_or_malformed(operation: Operation, data: bytes):
    found = given_or_refused(lambda: arguments_of(operation, parsed(message_of(operation), data), MAX_ITEMS))

    assert isinstance(found, dict) or str(found)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_for_records_or_are_refused(data: bytes):
    for message in (records_pb2.PeekRecordsRequest, records_pb2.TailRecordsRequest):
        try:
            request = parsed(message, data)
        except MalformedInput:
            continue
        violations = violations_of(request, CONFIG)
        assert bool(violations) or request.topic


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_pages_hold_every_row_once_in_order(names: list[str], size: int):
    operation_rows = [type("Row", (), {"name": name})() for name in names]
    seen, token, pages = [], "", 0

    while pages == 0 or token:
        page, token = page_of(operation_rows, "name", size, token)
        seen += [row.name for row in page]
        pages += 1

    assert seen == sorted(names)
    assert pages == max(1, -(-len(names) // size))


@given(st.text(max_size=30))
def test_any_text_is_a_page_token_or_is_refused(token: str):
    found = given_or_refused(lambda: page_of([], "name", 1, token))

    assert found == ([], "") or "page_token" in str(found)
