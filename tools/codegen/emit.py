"""Straight-line Python for a schema: a slotted class for each struct, a reader and a writer for each of its encodings.

class MetadataResponseBroker(Struct): ...          all fields of all versions
def _read_metadata_response_broker_v9(r): ...      versions 9 to 13, whose bytes are the same
def _write_metadata_response_broker_v9(w, m): ...
MetadataResponse.READERS = {0: _read_metadata_response_v0, ...}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.codegen.schema import Field, Message, Schema, Struct

LINE_LENGTH = 120
BASE = ("ZERO_UUID", "Message", "Records", "Struct", "required")  # of pystream/protocol/message.py
HIGHEST_TAG = 31  # Reader.tagged_fields() takes the known tags as bits of 32
TYPES = {
    "bytes": "bytes",
    "boolean": "bool",
    "float64": "float",
    "string": "str",
    "records": "Records",
    "uuid": "bytes",
}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def ranges(versions: list[int], last: int) -> str:
    """[3, 4, 5, 7] -> "3-5, 7"; a range that goes on to the newest version is "7+"."""
    runs: list[list[int]] = []
    for version in sorted(versions):
        if runs and version == runs[-1][1] + 1:
            runs[-1][1] = version
        else:
            runs.append([version, version])
    texts = [f"{a}+" if b == last and a != b else str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return ", ".join(texts)


@dataclass
class Class:
    """A struct over all versions of a message: its fields in the order of their first appearance, and its encodings."""

    name: str
    fields: dict[str, Field]
    versions: dict[str, list[int]]
    encodings: dict[Struct, list[int]]

    def suffix(self, struct: Struct) -> str:
        """Name of an encoding's functions: the struct's, and the first version that has it."""
        return f"{snake(self.name)}_v{self.encodings[struct][0]}"


def classes_of(message: Message) -> dict[str, Class]:
    """Every class of a message by name, nested ones first."""
    classes: dict[str, Class] = {}
    for version, top in message.versions.items():
        for struct in [*top.nested(), top]:
            entry = classes.setdefault(struct.name, Class(struct.name, {}, {}, {}))
            served = entry.encodings.setdefault(struct, [])
            if version not in served:
                served.append(version)
            for field in struct.fields:
                known = entry.fields.get(field.name)
                if known is not None and known.shape != field.shape:
                    raise ValueError(f"{struct.name}.{field.name} changes its type in version {version}")
                if known is None or (field.nullable and not known.nullable):
                    entry.fields[field.name] = field
                versions = entry.versions.setdefault(field.name, [])
                if version not in versions:
                    versions.append(version)
    top_name = message.name
    return {name: classes[name] for name in [*(name for name in classes if name != top_name), top_name]}


def type_of(field: Field) -> str:
    name = field.struct.name if field.struct is not None else TYPES.get(field.kind, "int")
    if field.is_array:
        name = f"Sequence[{name}]"
    may_be_none = field.nullable or (field.default == "None" and field.tag is not None)
    return f"{name} | None" if may_be_none else name


def is_required_struct(field: Field) -> bool:
    return field.struct is not None and not field.is_array and not field.nullable and field.tag is None


def tuple_lines(head: str, names: list[str]) -> Iterator[str]:
    """`head` followed by a tuple of strings, one a line when it would be too long."""
    quoted = [f'"{name}"' for name in names]
    flat = f"{head}({', '.join(quoted)}{',' if len(quoted) == 1 else ''})"
    if len(flat) <= LINE_LENGTH:
        yield flat
        return
    yield f"{head}("
    yield from (f"        {name}," for name in quoted)
    yield "    )"


def definition_lines(name: str, parameters: str, returns: str) -> Iterator[str]:
    flat = f"def {name}({parameters}) -> {returns}:"
    comma = "" if "," in parameters else ","
    yield from [flat] if len(flat) <= LINE_LENGTH else [f"def {name}(", f"    {parameters}{comma}", f") -> {returns}:"]


def item_of(name: str) -> str:
    """What one element of the array `name` is called."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") else f"{name}_item"


def class_lines(entry: Class, base: str, doc: str, constants: list[str], versions: list[int]) -> Iterator[str]:
    if entry.fields and not any(map(is_required_struct, entry.fields.values())):
        yield "@fast_init"
    yield f"class {entry.name}({base}):"
    yield f'    """{doc}"""'
    yield ""
    yield from tuple_lines("    __slots__ = ", list(entry.fields))
    yield from (f"    {constant}" for constant in constants)
    if not entry.fields:
        return
    yield ""
    yield "    def __init__("
    yield "        self,"
    yield "        *,"
    for name, field in entry.fields.items():
        declared = f"{type_of(field)} | None" if is_required_struct(field) else type_of(field)
        note = "" if entry.versions[name] == versions else f"  # {ranges(entry.versions[name], versions[-1])}"
        yield f"        {name}: {declared} = {field.default},{note}"
    yield "    ) -> None:"
    for name, field in entry.fields.items():
        value = f"{type_of(field)}() if {name} is None else {name}" if is_required_struct(field) else name
        flat = f"        self.{name} = {value}"
        wrapped = [f"        self.{name} = (", f"            {value}", "        )"]
        yield from [flat] if len(flat) <= LINE_LENGTH else wrapped


class Codec:
    """Readers and writers of the classes of one message."""

    def __init__(self, classes: dict[str, Class]) -> None:
        self.classes = classes

    def function(self, verb: str, struct: Struct) -> str:
        return f"_{verb}_{self.classes[struct.name].suffix(struct)}"

    # ------------------------------------------------------------------------------------------------ readers

    def read_expression(self, field: Field, reader: str) -> str:
        """One value that is neither an array of structs nor a nullable struct."""
        if field.struct is not None:
            return f"{self.function('read', field.struct)}({reader})"
        nullable = "nullable_" if field.nullable else ""
        if field.is_array:
            return f"{reader}.{nullable}{field.kind}_array({field.compact})"
        if field.kind in ("string", "bytes", "records"):
            return f"{reader}.{'compact_' if field.compact else ''}{nullable}{field.kind}()"
        return f"{reader}.{field.kind}()"

    def read_lines(self, field: Field, reader: str, indent: str) -> Iterator[str]:
        target = f"{indent}m.{field.name} ="
        if field.struct is None or not (field.is_array or field.nullable):
            yield f"{target} {self.read_expression(field, reader)}"
        elif not field.is_array:
            present = f"{reader}.is_present()" if field.tag is None else f"{reader}.unsigned_varint()"
            yield f"{target} {self.function('read', field.struct)}({reader}) if {present} else None"
        else:
            smallest = field.struct.smallest
            if smallest < 1:
                raise ValueError(f"elements of {field.name} take no bytes: nothing would bound their count")
            compact = "compact_" if field.compact else ""
            count = f"{reader}.{compact}array_count({smallest})"
            if field.nullable:
                yield f"{indent}count = {reader}.{compact}nullable_array_count({smallest})"
                count = "count"
            items = f"{self.function('read', field.struct)}({reader}) for _ in range({count})"
            prefix = "None if count < 0 else " if field.nullable else ""
            flat = f"{target} {prefix}[{items}]"
            wrapped = [f"{target} [", f"{indent}    {items}", f"{indent}]"]
            if field.nullable:
                wrapped = [f"{target} (", f"{indent}    {prefix}[{items}]", f"{indent})"]
            yield from [flat] if len(flat) <= LINE_LENGTH else wrapped

    def reader_lines(self, entry: Class, struct: Struct) -> Iterator[str]:
        yield from definition_lines(self.function("read", struct), "r: Reader", entry.name)
        yield f"    m = new({entry.name})"
        for field in struct.plain:
            yield from self.read_lines(field, "r", "    ")
        present = {field.name for field in struct.plain}
        for name, field in entry.fields.items():
            if name not in present:
                yield f"    m.{name} = {type_of(field) + '()' if is_required_struct(field) else field.default}"
        if struct.flexible and not struct.tagged:
            yield "    r.skip_tagged_fields()"
        elif struct.tagged:
            yield from self.tagged_reader_lines(struct)
        yield "    return m"

    def tagged_reader_lines(self, struct: Struct) -> Iterator[str]:
        known = sum(1 << (field.tag or 0) for field in struct.tagged)
        if any((field.tag or 0) > HIGHEST_TAG for field in struct.tagged):
            raise ValueError(f"{struct.name} has a tag above {HIGHEST_TAG}")
        yield f"    tags = r.tagged_fields({known:#b})"
        indent = "    "
        if len(struct.tagged) > 1:
            yield "    if tags is not None:"
            indent = "        "
        for field in struct.tagged:
            guard = "" if len(struct.tagged) > 1 else "tags is not None and "
            yield f"{indent}if {guard}(f := tags.get({field.tag})) is not None:"
            yield from self.read_lines(field, "f", f"{indent}    ")
            yield f"{indent}    f.finish()"

    # ------------------------------------------------------------------------------------------------ writers

    def write_lines(self, field: Field, declared: Field, indent: str, tagged: bool) -> Iterator[str]:
        """`declared` is the field as the class has it: nullable when any version's is."""
        value = f"m.{field.name}"
        must = not field.nullable and not tagged and type_of(declared).endswith("| None")
        compact = "compact_" if field.compact else ""
        nullable = "nullable_" if field.nullable and not tagged else ""
        if field.struct is not None and not field.is_array:
            yield from self.write_struct_lines(field.struct, value, bool(nullable), indent)
            return
        if must:
            value = f'required({value}, "{field.name}")'
        if field.struct is None and field.is_array:
            yield f"{indent}w.{field.kind}_array({value}, {field.compact})"
        elif field.struct is None:
            kind = "bytes" if field.kind == "records" else field.kind
            method = f"{compact}{nullable}{kind}" if kind in ("string", "bytes") else kind
            yield f"{indent}w.{method}({value})"
        else:
            if nullable:
                yield f"{indent}if {value} is None:"
                yield f"{indent}    w.{compact}array_count(-1)"
                yield f"{indent}else:"
                indent += "    "
            yield f"{indent}w.{compact}array_count(len({value}))"
            item = item_of(field.name)
            yield f"{indent}for {item} in {value}:"
            yield f"{indent}    {self.function('write', field.struct)}(w, {item})"

    def write_struct_lines(self, struct: Struct, value: str, nullable: bool, indent: str) -> Iterator[str]:
        if nullable:
            yield f"{indent}w.presence({value} is not None)"
            yield f"{indent}if {value} is not None:"
            indent += "    "
        yield f"{indent}{self.function('write', struct)}(w, {value})"

    def write_nullable_tagged_lines(self, field: Field) -> Iterator[str]:
        """Kafka tells null from a tag that is missing, and has the marker as a varint here."""
        assert field.struct is not None
        yield f"    start = w.begin_tag(section, {field.tag})"
        yield f"    w.unsigned_varint(m.{field.name} is not None)"
        yield f"    if m.{field.name} is not None:"
        yield f"        {self.function('write', field.struct)}(w, m.{field.name})"
        yield "    w.end_tag(start)"

    def writer_lines(self, entry: Class, struct: Struct) -> Iterator[str]:
        yield from definition_lines(self.function("write", struct), f"w: Writer, m: {entry.name}", "None")
        for field in struct.plain:
            yield from self.write_lines(field, entry.fields[field.name], "    ", tagged=False)
        if struct.flexible and not struct.tagged:
            yield "    w.no_tagged_fields()"
        elif struct.tagged:
            yield "    section = w.begin_tagged_fields()"
            for field in struct.tagged:
                if is_nullable_tagged_struct(field):
                    yield from self.write_nullable_tagged_lines(field)
                    continue
                yield f"    if {differs_from_default(field)}:"
                yield f"        start = w.begin_tag(section, {field.tag})"
                yield from self.write_lines(field, entry.fields[field.name], "        ", tagged=True)
                yield "        w.end_tag(start)"
        elif not struct.fields:
            yield "    pass"


def is_nullable_tagged_struct(field: Field) -> bool:
    return field.struct is not None and not field.is_array and field.nullable and field.tag is not None


def differs_from_default(field: Field) -> str:
    """The condition on which a tagged field is written."""
    value = f"m.{field.name}"
    if (field.is_array and field.default == "()") or field.default == "False":
        return value
    if field.struct is not None and not field.is_array:
        return f"{value} is not None and {value} != {field.struct.name}()"
    return f"{value} is not None" if field.default == "None" else f"{value} != {field.default}"


def message_lines(message: Message, api_key: int | None) -> Iterator[str]:
    classes = classes_of(message)
    versions = list(message.versions)
    last = versions[-1]
    for name, entry in classes.items():
        is_top = name == message.name
        served = sorted({version for found in entry.encodings.values() for version in found})
        doc = f"Versions {served[0]} to {served[-1]}." if len(served) > 1 else f"Version {served[0]}."
        constants = [f"API_KEY = {api_key}"] if is_top and api_key is not None else []
        yield from class_lines(entry, "Message" if is_top else "Struct", doc, constants, served)
        yield from ("", "")
    codec = Codec(classes)
    for entry in classes.values():
        for struct, served in entry.encodings.items():
            yield f"# {entry.name} {ranges(served, last)}"
            yield from codec.reader_lines(entry, struct)
            yield from ("", "")
            yield from codec.writer_lines(entry, struct)
            yield from ("", "")
    for verb in ("READERS", "WRITERS"):
        yield f"{message.name}.{verb} = {{"
        for version, struct in message.versions.items():
            yield f"    {version}: {codec.function(verb[:-3].lower().replace('writ', 'write'), struct)},"
        yield "}"


def module_text(schema: Schema) -> str:
    key = "" if schema.api_key is None else f", API key {schema.api_key}"
    spans = ", ".join(f"{message.name} {min(message.versions)}-{max(message.versions)}" for message in schema.messages)
    parts = ["\n".join(message_lines(message, schema.api_key)) for message in schema.messages]
    body = "\n\n\n".join(parts)
    base = ", ".join(name for name in BASE if re.search(rf"\b{name}\b", body))
    native = "fast_init, new" if "@fast_init" in body else "new"
    imports = [
        f"from pystream._native.construct import {native}",
        "from pystream._native.wire import Reader, Writer",
        f"from pystream.protocol.message import {base}",
    ]
    if "Sequence[" in body:
        imports = ["from collections.abc import Sequence", "", *imports]
    head = f'"""{spans}{key}. Generated by tools/codegen: change that, not this."""'
    return "\n".join([head, "", "from __future__ import annotations", "", *imports, "", "", body, ""])


def index_text(schemas: list[Schema]) -> str:
    """messages/index.py: where each API key's classes are, and where its encodings become flexible."""
    lines = [
        '"""API key -> where its messages are. Generated by tools/codegen: change that, not this."""',
        "",
        "from typing import Final, NamedTuple",
        "",
        "",
        "class Entry(NamedTuple):",
        '    """A module of pystream.protocol.messages, first and last versions, first version with tagged fields."""',
        "",
        "    name: str",
        "    module: str",
        "    requests: tuple[int, int]",
        "    responses: tuple[int, int]",
        "    flexible: int | None",
        "",
        "",
        "INDEX: Final[dict[int, Entry]] = {",
    ]
    for schema in schemas:
        if schema.api_key is None:
            continue
        request, response = sorted(schema.messages, key=lambda message: message.name.endswith("Response"))
        spans = [(min(message.versions), max(message.versions)) for message in (request, response)]
        name = request.name.removesuffix("Request")
        flexible = flexible_from(request, response)
        lines.append(f'    {schema.api_key}: Entry("{name}", "{schema.name}", {spans[0]}, {spans[1]}, {flexible}),')
    return "\n".join([*lines, "}", ""])


def flexible_from(request: Message, response: Message) -> int | None:
    """First flexible version: both directions and their headers must agree on it (but ApiVersions responses)."""
    found = [version for version, struct in request.versions.items() if struct.flexible]
    first = min(found, default=None)
    for version, struct in [*request.versions.items(), *response.versions.items()]:
        if struct.flexible != (first is not None and version >= first):
            raise ValueError(f"{request.name}: version {version} is flexible in one direction only")
    for message, offset in ((request, 1), (response, 0)):
        for version, header in message.header_versions.items():
            flexible = message.versions[version].flexible and message.name != "ApiVersionsResponse"
            if header != flexible + offset:
                raise ValueError(f"{message.name} {version} has header {header}")
    return first
