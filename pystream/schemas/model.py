"""Schemas as a registry knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pystream.common.errors import MalformedInput

AVRO: Final = "AVRO"
JSON: Final = "JSON"
PROTOBUF: Final = "PROTOBUF"
LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class SchemaReference:
    """Another schema that this one builds on: its full name, `$ref` or import path, and where it is registered."""

    name: str
    subject: str
    version: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "subject": self.subject, "version": self.version}


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema's text, its type and what it refers to. Two that are equal have the same content, letter for letter."""

    text: str
    type: str = AVRO
    references: tuple[SchemaReference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a registry is told: a type that is left out is AVRO, for registries that know no other."""
        told: dict[str, Any] = {"schema": self.text}
        if self.type != AVRO:
            told["schemaType"] = self.type
        if self.references:
            told["references"] = [reference.to_json() for reference in self.references]
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Schema:
        """Raises MalformedInput."""
        try:
            references = tuple(
                SchemaReference(str(entry["name"]), str(entry["subject"]), int(entry["version"]))
                for entry in told.get("references") or ()
            )
            return cls(str(told["schema"]), str(told.get("schemaType") or AVRO), references)
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedInput(f"a registry's answer holds no schema: {error!r}") from error


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema under a subject. `guid` is None where the registry gives none, `version` where it was not asked for."""

    id: int
    schema: Schema
    subject: str | None = None
    version: int | None = None
    guid: UUID | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any], schema: Schema | None = None, **known: Any) -> RegisteredSchema:
        """`schema` and `known` stand in for what the answer leaves out. Raises MalformedInput."""
        entry = {**known, **{name: value for name, value in told.items() if value is not None}}
        try:
            return cls(
                id=int(entry["id"]),
                schema=Schema.from_json(entry) if "schema" in told or schema is None else schema,
                subject=entry.get("subject"),
                version=None if entry.get("version") is None else int(entry["version"]),
                guid=None if entry.get("guid") is None else UUID(str(entry["guid"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedInput(f"a registry's answer holds no registered schema: {error!r}") from error
