"""From messages to what handlers of operations take, and from their rows to messages."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args, get_origin, get_type_hints

from pystream.client.grpc.messages import common_pb2
from pystream.client.grpc.status import InvalidFields, Violations, status_of
from pystream.client.operations.declaration import Argument, Failure, Kind, Operation

MAXIMUM_TOKEN_LENGTH: Final = 4_096
Convert = Callable[[Any], Any]


# --- requests ---------------------------------------------------------------------------------------------------------


def arguments_of(operation: Operation, request: Any, max_items: int) -> dict[str, Any]:
    """What the handler takes. Raises InvalidFields for all fields that cannot be, together."""
    violations: Violations = []
    found: dict[str, Any] = {}
    for argument in operation.arguments:
        if (argument.many or argument.kind is Kind.ASSIGNMENT) and len(getattr(request, argument.name)) > max_items:
            listed = len(getattr(request, argument.name))
            violations.append((argument.name, f"{listed} items, more than the {max_items} (max.items) of one request"))
            continue
        value = _value(argument, request)
        violations += _violations(argument, value)
        found[argument.name] = value
    if violations:
        raise InvalidFields(violations)
    return found


def _value(argument: Argument, request: Any) -> Any:
    value = getattr(request, argument.name)
    if argument.kind is Kind.ASSIGNMENT:
        return dict(value)
    if argument.many:
        return list(value)
    if argument.required or argument.kind is Kind.FLAG or request.HasField(argument.name):
        return value
    return argument.default


def _violations(argument: Argument, value: Any) -> Violations:
    if argument.required and value in ("", [], {}):
        return [(argument.name, f"required: {argument.doc}")]
    given = value if isinstance(value, list) else [] if value is None else [value]
    found: Violations = []
    for place, each in enumerate(given):
        name = f"{argument.name}[{place}]" if argument.many else argument.name
        if argument.choices and each not in argument.choices:
            found.append((name, f"{each!r} is none of {', '.join(argument.choices)}"))
        if argument.minimum is not None and each < argument.minimum:
            found.append((name, f"{each}, expected at least {argument.minimum}"))
        if argument.many and each == "" and argument.required:
            found.append((name, "an empty name"))
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


def failures_of(failures: Sequence[Failure]) -> list[common_pb2.Failure]:
    """Each with Kafka's code and name in its details."""
    return [common_pb2.Failure(item=each.item, error=status_of(each.error)) for each in failures]


class Rows:
    """Makes messages of one type from dataclasses of one type. What is None is left out."""

    def __init__(self, row: type, message: Any) -> None:
        hints = get_type_hints(row)
        self._message = message
        self._fields = [
            (each.name, _converter(hints[each.name], message.DESCRIPTOR.fields_by_name[each.name]))
            for each in dataclasses.fields(row)
        ]

    def __call__(self, row: Any) -> Any:
        """The message of a row."""
        values = {}
        for name, convert in self._fields:
            value = getattr(row, name)
            if value is not None:
                values[name] = value if convert is None else convert(value)
        return self._message(**values)


def _converter(hint: Any, field: Any) -> Convert | None:
    """What makes of a field's value what protobuf takes; None where it takes the value itself."""
    if get_origin(hint) is dict and field.message_type.fields_by_name["value"].message_type is not None:
        return lambda value: {name: common_pb2.Text(value=text) for name, text in value.items()}
    inner = next((each for each in get_args(hint) if dataclasses.is_dataclass(each)), None)
    if get_origin(hint) is list and isinstance(inner, type):
        rows = Rows(inner, field.message_type._concrete_class)
        return lambda value: [rows(each) for each in value]
    return None


# --- pages ------------------------------------------------------------------------------------------------------------


def page_of(rows: Sequence[Any], column: str, size: int, token: str) -> tuple[list[Any], str]:
    """The rows that come after `token`, at most `size`, and the token of the page after them: "" for none.

    Rows go by `column`; a row that comes or goes between two pages moves no other. Raises InvalidFields.
    """
    ordered = sorted(rows, key=lambda row: str(getattr(row, column)))
    start = 0
    if token:
        last, seen = _parse_token(token)
        keys = [str(getattr(row, column)) for row in ordered]
        start = sum(each < last for each in keys) + min(seen, keys.count(last))
    page = ordered[start : start + size]
    if start + size >= len(ordered):
        return page, ""
    last = str(getattr(page[-1], column))
    seen = sum(str(getattr(row, column)) == last for row in ordered[: start + size])
    return page, base64.urlsafe_b64encode(json.dumps([last, seen]).encode()).decode()


def _parse_token(token: str) -> tuple[str, int]:
    try:
        if len(token) > MAXIMUM_TOKEN_LENGTH:
            raise ValueError
        last, seen = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        if not isinstance(last, str) or not isinstance(seen, int) or seen < 0:
            raise ValueError
    except (ValueError, TypeError):
        raise InvalidFields([("page_token", "no token that this server gave")]) from None
    return last, seen
