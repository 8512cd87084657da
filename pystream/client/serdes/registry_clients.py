"""The two faces of a registry's client: every operation blocking, and the same as coroutines."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from pystream.client.serdes import questions
from pystream.client.serdes.questions import Kept, Operation
from pystream.client.serdes.registry import Registry
from pystream.client.serdes.unanswered import Unanswered
from pystream.schemas.model import LATEST, RegisteredSchema, Schema

T = TypeVar("T")


class SchemaRegistryClient(Registry):
    """Asks a registry, blocking; answers that never change are remembered. Errors are SchemaRegistryError."""

    def _run(self, operation: Operation[T]) -> T:
        if operation.question.kept is not Kept.FOR_EVER:
            return operation.read(self.ask(operation.question))
        while True:
            try:
                return self.known(operation)
            except Unanswered as missing:
                missing.resolve()

    def register(self, subject: str, schema: Schema, *, normalize: bool = False) -> RegisteredSchema:
        """Have a schema under a subject; gives its id, the same one when it was there already."""
        return self._run(questions.register(subject, schema, normalize=normalize))

    def lookup(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> RegisteredSchema:
        """The id and version that a schema has under a subject."""
        return self._run(questions.lookup(subject, schema, normalize=normalize, deleted=deleted))

    def schema(self, key: int | UUID, *, subject: str | None = None, format: str | None = None) -> Schema:
        """The schema with an id or a GUID."""
        if isinstance(key, UUID):
            return self._run(questions.schema_by_guid(key, format=format))
        return self._run(questions.schema_by_id(key, subject=subject, format=format))

    def version(self, subject: str, number: int | str = LATEST, *, deleted: bool = False) -> RegisteredSchema:
        """A version of a subject, by default the latest there is now."""
        return self._run(questions.version(subject, number, deleted=deleted))

    def versions(self, subject: str) -> list[int]:
        """The numbers of a subject's versions."""
        return self._run(questions.versions(subject))

    def subjects(self, prefix: str = "", *, deleted: bool = False) -> list[str]:
        """The names of all subjects that begin with `prefix`."""
        return self._run(questions.subjects(prefix, deleted=deleted))

    def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete all versions; `permanent` those that were deleted before."""
        return self._run(questions.delete_subject(subject, permanent=permanent))

    def delete_version(self, subject: str, number: int | str, *, permanent: bool = False) -> int:
        """Delete one version; `permanent` one that was deleted before."""
        return self._run(questions.delete_version(subject, number, permanent=permanent))

    def compatible(self, subject: str, schema: Schema, number: int | str = LATEST, *, normalize: bool = False) -> bool:
        """Whether a schema could be registered behind a version."""
        return self._run(questions.compatible(subject, schema, number, normalize=normalize))

    def compatibility(self, subject: str | None = None) -> str:
        """The compatibility level of a subject, or the global one."""
        return self._run(questions.compatibility(subject))

    def set_compatibility(self, level: str, subject: str | None = None) -> str:
        """Set the compatibility level of a subject, or the global one."""
        return self._run(questions.set_compatibility(level, subject))


class AsyncSchemaRegistryClient(Registry):
    """Asks a registry on the running loop; answers that never change are remembered. Errors are SchemaRegistryError."""

    async def _run(self, operation: Operation[T]) -> T:
        if operation.question.kept is not Kept.FOR_EVER:
            return operation.read(await self.ask_async(operation.question))
        while True:
            try:
                return self.known(operation)
            except Unanswered as missing:
                await missing.resolve_async()

    async def register(self, subject: str, schema: Schema, *, normalize: bool = False) -> RegisteredSchema:
        """Have a schema under a subject; gives its id, the same one when it was there already."""
        return await self._run(questions.register(subject, schema, normalize=normalize))

    async def lookup(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> RegisteredSchema:
        """The id and version that a schema has under a subject."""
        return await self._run(questions.lookup(subject, schema, normalize=normalize, deleted=deleted))

    async def schema(self, key: int | UUID, *, subject: str | None = None, format: str | None = None) -> Schema:
        """The schema with an id or a GUID."""
        if isinstance(key, UUID):
            return await self._run(questions.schema_by_guid(key, format=format))
        return await self._run(questions.schema_by_id(key, subject=subject, format=format))

    async def version(self, subject: str, number: int | str = LATEST, *, deleted: bool = False) -> RegisteredSchema:
        """A version of a subject, by default the latest there is now."""
        return await self._run(questions.version(subject, number, deleted=deleted))

    async def versions(self, subject: str) -> list[int]:
        """The numbers of a subject's versions."""
        return await self._run(questions.versions(subject))

    async def subjects(self, prefix: str = "", *, deleted: bool = False) -> list[str]:
        """The names of all subjects that begin with `prefix`."""
        return await self._run(questions.subjects(prefix, deleted=deleted))

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete all versions; `permanent` those that were deleted before."""
        return await self._run(questions.delete_subject(subject, permanent=permanent))

    async def delete_version(self, subject: str, number: int | str, *, permanent: bool = False) -> int:
        """Delete one version; `permanent` one that was deleted before."""
        return await self._run(questions.delete_version(subject, number, permanent=permanent))

    async def compatible(
        self, subject: str, schema: Schema, number: int | str = LATEST, *, normalize: bool = False
    ) -> bool:
        """Whether a schema could be registered behind a version."""
        return await self._run(questions.compatible(subject, schema, number, normalize=normalize))

    async def compatibility(self, subject: str | None = None) -> str:
        """The compatibility level of a subject, or the global one."""
        return await self._run(questions.compatibility(subject))

    async def set_compatibility(self, level: str, subject: str | None = None) -> str:
        """Set the compatibility level of a subject, or the global one."""
        return await self._run(questions.set_compatibility(level, subject))
