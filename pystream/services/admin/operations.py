"""The methods of declared operations: each is the operation's own handler, over the server's admin client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from pystream.client.admin.client import AdminClient
from pystream.client.cluster.retry import time_limit
from pystream.client.grpc.messages import common_pb2
from pystream.client.grpc.status import InvalidFields, status_of
from pystream.client.operations.declaration import Answer, Operation
from pystream.client.operations.failures import FailureKind, kind_of
from pystream.common.clock import SleepingClock
from pystream.common.errors import PystreamError
from pystream.services.admin.calls import Begun
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.conversion import Rows, arguments_of, failures_of, page_of
from pystream.services.admin.looks import Looks
from pystream.services.admin.naming import INTERVAL_MS, is_paged

WATCH_INTERVAL_MS: Final = 1_000
SHORTEST_INTERVAL_MS: Final = 100
LOOK_MS: Final = 5_000  # a watch that looks for so long says that the cluster is away


class OperationMethod:
    """One operation: `answer` is the work of its unary method, `watch` that of the method that goes on."""

    def __init__(
        self,
        operation: Operation,
        response: Any,
        admin: AdminClient,
        config: AdminServerConfig,
        clock: SleepingClock,
        looks: Looks,
    ) -> None:
        self._operation = operation
        self._response = response
        self._admin = admin
        self._config = config
        self._clock = clock
        self._looks = looks
        result = response.DESCRIPTOR.fields_by_name["result" if operation.single else "results"]
        self._rows = Rows(operation.row, result.message_type._concrete_class)

    async def answer(self, request: Any) -> Any:
        """Rows and failures, a page of them where there may be many."""
        operation = self._operation
        arguments = arguments_of(operation, request, self._config.max_items)
        if operation.mutating:
            arguments["dry_run"] = request.dry_run
        if not is_paged(operation):
            return self._message(await operation.load()(self._admin, **arguments))
        if request.page_size < 0:
            raise InvalidFields([("page_size", f"{request.page_size}, expected at least 0")])
        size = min(request.page_size or self._config.max_page_size, self._config.max_page_size)
        found = await operation.load()(self._admin, **arguments)
        page, token = page_of(found.rows, operation.columns[0], size, request.page_token)
        message = self._message(Answer(page, found.failures))
        message.next_page_token = token
        return message

    async def watch(self, request: Any, begun: Begun) -> AsyncGenerator[bytes]:
        """What `answer` gives, at once and after each change. A cluster out of reach is a failure, and it goes on."""
        arguments = arguments_of(self._operation, request, self._config.max_items)
        interval_ms = request.interval_ms if request.HasField(INTERVAL_MS) else WATCH_INTERVAL_MS
        if interval_ms < SHORTEST_INTERVAL_MS:
            raise InvalidFields([(INTERVAL_MS, f"{interval_ms}, expected at least {SHORTEST_INTERVAL_MS}")])
        request.ClearField(INTERVAL_MS)
        key = (self._operation, request.SerializeToString(deterministic=True))
        told = None
        await begun()
        with self._looks.watching(key, lambda: self._look(arguments)) as latest:
            while True:
                since_ms = self._clock.monotonic_ms()
                answer = await latest(since_ms)
                if answer != told:
                    yield answer
                    told = answer
                await self._clock.sleep_ms(interval_ms)

    async def _look(self, arguments: dict[str, Any]) -> bytes:
        """What a watch tells, as bytes: a message is made once for all that watch the same."""
        try:
            with time_limit(self._clock, min(LOOK_MS, self._config.default_api_timeout_ms)):
                message = self._message(await self._operation.load()(self._admin, **arguments))
        except PystreamError as error:
            if kind_of(error) is not FailureKind.UNREACHABLE:
                raise
            message = self._response(failures=[common_pb2.Failure(item="cluster", error=status_of(error))])
        found: bytes = message.SerializeToString(deterministic=True)
        return found

    def _message(self, found: Answer) -> Any:
        failures = failures_of(found.failures)
        rows = [self._rows(row) for row in found.rows]
        if self._operation.single:
            return self._response(result=rows[0] if rows else None, failures=failures)
        return self._response(results=rows, failures=failures)
