"""The client of a schema registry: Confluent's REST interface, blocking and for asyncio, over one cache.

    with SchemaRegistryClient(url="http://localhost:8081") as registry:
        registered = registry.register("orders-value", Schema(text))

    async with AsyncSchemaRegistryClient(url="http://localhost:8081") as registry:
        registered = await registry.register("orders-value", Schema(text))

Serdes take either, and ask it in the way of the client they work for: `Registry.known` never waits, and raises
Unanswered for what nobody has asked yet; then `ask` or `ask_async` fetches the answer. Refusals that may pass (429,
5xx) and registries that do not answer are tried again, the next URL first. Needs httpx (extra `registry`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pystream.client.extras import need
from pystream.client.serdes.questions import Kept, Operation, Question
from pystream.client.serdes.registry_config import RegistryConfig
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import InvalidConfig, MalformedInput, SchemaRegistryError

T = TypeVar("T")

ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json"
CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MAY_PASS: Final = frozenset({408, 429, 500, 502, 503, 504})
LARGEST_ANSWER_BYTES: Final = 64 << 20
LARGEST_EXPONENT: Final = 16


@dataclass(slots=True)
class _Answer:
    expires_at: float
    told: Any
    meaning: Any = None  # made when it is first asked for


class _OfLoop:
    """What belongs to one event loop."""

    def __init__(self) -> None:
        self.client: Any = None
        self.under_way: dict[Question, asyncio.Task[Any]] = {}


class Registry:
    """Connections to a registry and what it has answered. Thread-safe."""

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        """Settings are those of RegistryConfig. Nothing is connected yet. Raises InvalidConfig."""
        self.config = RegistryConfig.load(settings, **keywords)
        self._urls = [_checked_url(url) for url in self.config.schema_registry_url]
        if not self._urls:
            raise InvalidConfig("schema.registry.url is empty; expected http://host:port")
        self._answers: OrderedDict[Question, _Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._blocking: Any = None
        self._asking = threading.Lock()  # of blocking requests: who waits for it finds the answer
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = weakref.WeakKeyDictionary()
        self._preferred = 0

    # --- answers ------------------------------------------------------------------------------------------------------

    def known(self, operation: Operation[T]) -> T:
        """What was answered before. Raises Unanswered."""
        with self._lock:
            found = self._fresh(operation.question)
            if found is not None:
                if found.meaning is None:
                    found.meaning = operation.read(found.told)
                meaning: T = found.meaning
                return meaning
        raise Unanswered(self, operation.question)

    def _fresh(self, question: Question) -> _Answer | None:
        found = self._answers.get(question)
        if found is None or time.monotonic() >= found.expires_at:
            return None
        self._answers.move_to_end(question)
        return found

    def ask(self, question: Question) -> Any:
        """The answer of the registry, blocking. Raises SchemaRegistryError."""
        if question.kept is Kept.NOT:
            return self._ask(question)
        with self._asking:
            with self._lock:
                found = self._fresh(question)
            return self._ask(question) if found is None else found.told

    def _ask(self, question: Question) -> Any:
        attempt = 0
        while True:
            try:
                return self._keep(question, self._send(question, attempt))
            except SchemaRegistryError as error:
                if not self._worth_retrying(error, attempt):
                    raise
            time.sleep(self._wait_s(attempt))
            attempt += 1

    async def ask_async(self, question: Question) -> Any:
        """The answer of the registry, on the running loop; who asks the same meanwhile gets the same answer.

        Raises SchemaRegistryError.
        """
        if question.kept is Kept.NOT:
            return await self._ask_async(question)
        under_way = self._of_loop().under_way
        task = under_way.get(question)
        if task is None:
            task = under_way[question] = asyncio.get_running_loop().create_task(self._ask_async(question))
            task.add_done_callback(lambda done: _forget(under_way, question, done))
        return await asyncio.shield(task)

    async def _ask_async(self, question: Question) -> Any:
        attempt = 0
        while True:
            try:
                return self._keep(question, await self._send_async(question, attempt))
            except SchemaRegistryError as error:
                if not self._worth_retrying(error, attempt):
                    raise
            await asyncio.sleep(self._wait_s(attempt))
            attempt += 1

    def _of_loop(self) -> _OfLoop:
        return self._by_loop.setdefault(asyncio.get_running_loop(), _OfLoop())

    def forget(self) -> None:
        """Drop what was answered."""
        with self._lock:
            self._answers.clear()

    def _keep(self, question: Question, answer: Any) -> Any:
        if question.method == "DELETE":
            self.forget()
        if question.kept is Kept.NOT:
            return answer
        ttl = self.config.cache_latest_ttl_sec if question.kept is Kept.A_WHILE else None
        with self._lock:
            self._answers[question] = _Answer(math.inf if ttl is None else time.monotonic() + ttl, answer)
            while len(self._answers) > self.config.cache_capacity:
                self._answers.popitem(last=False)
        return answer

    # --- requests -----------------------------------------------------------------------------------------------------

    def _send(self, question: Question, attempt: int) -> Any:
        httpx = _httpx()
        with self._lock:
            if self._blocking is None:
                self._blocking = httpx.Client(**self._options(httpx))
            client = self._blocking
        url = self._url(attempt)
        try:
            response = client.request(question.method, f"{url}/{question.path}", content=question.body)
        except httpx.HTTPError as error:
            raise _unreachable(url, error) from error
        return _read(url, question, response)

    async def _send_async(self, question: Question, attempt: int) -> Any:
        httpx = _httpx()
        of_loop = self._of_loop()
        if of_loop.client is None:
            of_loop.client = httpx.AsyncClient(**self._options(httpx))
        url = self._url(attempt)
        try:
            response = await of_loop.client.request(question.method, f"{url}/{question.path}", content=question.body)
        except httpx.HTTPError as error:
            raise _unreachable(url, error) from error
        return _read(url, question, response)

    def _url(self, attempt: int) -> str:
        if attempt:
            self._preferred += 1
        return self._urls[self._preferred % len(self._urls)]

    def _worth_retrying(self, error: SchemaRegistryError, attempt: int) -> bool:
        return attempt < self.config.max_retries and (error.status is None or error.status in MAY_PASS)

    def _wait_s(self, attempt: int) -> float:
        longest = min(self.config.retries_wait_ms << min(attempt, LARGEST_EXPONENT), self.config.retries_max_wait_ms)
        return random.uniform(0, longest) / 1000

    def _options(self, httpx: Any) -> dict[str, Any]:
        config = self.config
        headers = {"Accept": ACCEPT, "Content-Type": CONTENT_TYPE}
        options: dict[str, Any] = {"headers": headers, "timeout": config.timeout or None, "proxy": config.http_proxy}
        if config.basic_auth_user_info is not None:
            user, _, password = config.basic_auth_user_info.reveal().partition(":")
            options["auth"] = httpx.BasicAuth(user, password)
        if config.bearer_auth_token is not None:
            headers["Authorization"] = f"Bearer {config.bearer_auth_token.reveal()}"
        if any(url.startswith("https:") for url in self._urls):
            options["verify"] = self._tls_context()
        return options

    def _tls_context(self) -> Any:
        import ssl

        config = self.config
        try:
            context = ssl.create_default_context(cafile=config.ssl_ca_location)
            if config.ssl_certificate_location is not None:
                password = config.ssl_key_password
                context.load_cert_chain(
                    config.ssl_certificate_location,
                    config.ssl_key_location,
                    None if password is None else password.reveal(),
                )
        except OSError as error:
            raise InvalidConfig(f"ssl.ca.location, ssl.certificate.location, ssl.key.location: {error}") from error
        return context

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what blocking requests have opened; a later request opens it again."""
        with self._lock:
            client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close what requests of the running loop have opened, and what blocking ones have."""
        of_loop = self._by_loop.pop(asyncio.get_running_loop(), None)
        if of_loop is not None:
            tasks = list(of_loop.under_way.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            if of_loop.client is not None:
                await of_loop.client.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _forget(under_way: dict[Question, asyncio.Task[Any]], question: Question, done: asyncio.Task[Any]) -> None:
    """Whoever waited has the error; when all of them gave up nobody must be told that it was not looked at."""
    if under_way.get(question) is done:
        del under_way[question]
    if not done.cancelled():
        done.exception()


def _httpx() -> Any:
    return need("httpx", extra="registry", what="a schema registry's client")


def _checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise InvalidConfig(f"schema.registry.url: {url!r}; expected http://host:port or https://host:port")
    return url.rstrip("/")


def _unreachable(url: str, error: Exception) -> SchemaRegistryError:
    return SchemaRegistryError(f"{url}: {str(error) or type(error).__name__}; is a schema registry listening there?")


def _read(url: str, question: Question, response: Any) -> Any:
    """The answer's JSON. Raises SchemaRegistryError with what the registry says."""
    if len(response.content) > LARGEST_ANSWER_BYTES:
        raise SchemaRegistryError(f"{url}/{question.path}: an answer of {len(response.content)} bytes")
    told: Any = None
    with contextlib.suppress(ValueError):
        told = response.json()
    status = response.status_code
    if 200 <= status < 300:
        if told is None:
            raise MalformedInput(
                f"{url}/{question.path}: the answer is not JSON; is a schema registry listening there?"
            )
        return told
    code, message = (told.get("error_code"), told.get("message")) if isinstance(told, dict) else (None, None)
    raise SchemaRegistryError(
        f"{question.method} {url}/{question.path}: {message or response.reason_phrase} "
        f"(HTTP status {status}, error code {code if isinstance(code, int) else status})",
        status=status,
        error_code=code if isinstance(code, int) else None,
    )
