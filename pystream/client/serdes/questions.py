"""What a schema registry is asked: requests of Confluent's REST interface, and how their answers are read. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from pystream.common.errors import MalformedInput
from pystream.schemas.model import AVRO, LATEST, RegisteredSchema, Schema

T = TypeVar("T")


class Kept(Enum):
    """How long an answer may be believed."""

    FOR_EVER = "what an id or a version stands for never changes"
    A_WHILE = "the latest version does: cache.latest.ttl.sec"
    NOT = "what operators look at"


@dataclass(frozen=True, slots=True)
class Question:
    """One request. Equal ones have the same answer."""

    method: str
    path: str
    body: str | None = None
    kept: Kept = Kept.NOT


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A question, and what its answer means."""

    question: Question
    read: Callable[[Any], T]


def register(subject: str, schema: Schema, *, normalize: bool = False) -> Operation[RegisteredSchema]:
    """The schema's id, registered if need be."""
    path = _path("subjects", subject, "versions", normalize=normalize)
    return Operation(
        Question("POST", path, json.dumps(schema.to_json()), Kept.FOR_EVER),
        lambda answer: RegisteredSchema.from_json(_object(answer), schema, subject=subject),
    )


def lookup(
    subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
) -> Operation[RegisteredSchema]:
    """The version that a schema has under a subject."""
    path = _path("subjects", subject, normalize=normalize, deleted=deleted)
    return Operation(
        Question("POST", path, json.dumps(schema.to_json()), Kept.FOR_EVER),
        lambda answer: RegisteredSchema.from_json(_object(answer), schema, subject=subject),
    )


def schema_by_id(schema_id: int, *, subject: str | None = None, format: str | None = None) -> Operation[Schema]:
    """The schema with an id, looked for in the subject's context first."""
    path = _path("schemas", "ids", str(schema_id), subject=subject, format=format)
    return Operation(Question("GET", path, kept=Kept.FOR_EVER), lambda answer: Schema.from_json(_object(answer)))


def schema_by_guid(guid: UUID, *, format: str | None = None) -> Operation[Schema]:
    """The schema with a GUID."""
    path = _path("schemas", "guids", str(guid), format=format)
    return Operation(Question("GET", path, kept=Kept.FOR_EVER), lambda answer: Schema.from_json(_object(answer)))


def version(
    subject: str, number: int | str = LATEST, *, deleted: bool = False, format: str | None = None
) -> Operation[RegisteredSchema]:
    """A version of a subject, or the latest."""
    kept = Kept.A_WHILE if number in (LATEST, -1) else Kept.FOR_EVER
    path = _path("subjects", subject, "versions", str(number), deleted=deleted or None, format=format)
    return Operation(
        Question("GET", path, kept=kept), lambda answer: RegisteredSchema.from_json(_object(answer), subject=subject)
    )


def subjects(prefix: str = "", *, deleted: bool = False) -> Operation[list[str]]:
    """The names of all subjects that begin with `prefix`."""
    path = _path("subjects", subjectPrefix=prefix or None, deleted=deleted or None)
    return Operation(Question("GET", path), lambda answer: [str(name) for name in _array(answer)])


def versions(subject: str) -> Operation[list[int]]:
    """The numbers of a subject's versions."""
    return Operation(
        Question("GET", _path("subjects", subject, "versions")), lambda answer: [int(n) for n in _array(answer)]
    )


def delete_subject(subject: str, *, permanent: bool = False) -> Operation[list[int]]:
    """Soft, or for good after that; the versions that were deleted."""
    path = _path("subjects", subject, permanent=permanent or None)
    return Operation(Question("DELETE", path), lambda answer: [int(n) for n in _array(answer)])


def delete_version(subject: str, number: int | str, *, permanent: bool = False) -> Operation[int]:
    """Soft, or for good after that; the version that was deleted."""
    path = _path("subjects", subject, "versions", str(number), permanent=permanent or None)
    return Operation(Question("DELETE", path), int)


def compatible(subject: str, schema: Schema, number: int | str = LATEST, *, normalize: bool = False) -> Operation[bool]:
    """Whether a schema could be registered behind a version."""
    path = _path("compatibility", "subjects", subject, "versions", str(number), normalize=normalize or None)
    return Operation(
        Question("POST", path, json.dumps(schema.to_json())), lambda answer: bool(_object(answer)["is_compatible"])
    )


def compatibility(subject: str | None = None) -> Operation[str]:
    """The compatibility level of a subject, with the global one where it has none; of all when None."""
    path = _path("config") if subject is None else _path("config", subject, defaultToGlobal=True)
    return Operation(Question("GET", path), lambda answer: str(_object(answer)["compatibilityLevel"]))


def set_compatibility(level: str, subject: str | None = None) -> Operation[str]:
    """Set the level of a subject, or the global one; gives the level."""
    path = _path("config") if subject is None else _path("config", subject)
    return Operation(
        Question("PUT", path, json.dumps({"compatibility": level.upper()})),
        lambda answer: str(_object(answer)["compatibility"]),
    )


def known_type(schema: Schema, expected: str) -> Schema:
    """The schema, of the type that is expected. Raises MalformedInput."""
    if schema.type != expected:
        raise MalformedInput(f"the schema is of type {schema.type or AVRO}, expected {expected}")
    return schema


def _path(*parts: str, **query: str | bool | None) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    path = "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(given)}" if given else path


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise MalformedInput(f"a registry answered {type(answer).__name__}, expected an object")
    return answer


def _array(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise MalformedInput(f"a registry answered {type(answer).__name__}, expected an array")
    return answer
