"""A schema registry for tests: a real HTTP server that speaks the REST paths of Confluent's registry, kept in memory.

It stands in for the registry of part 5, which does not exist yet; tests of serdes move to that one when it does. It
knows what serializers ask: register, look up, read by id, GUID and version, delete, levels. It checks no compatibility.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class State:
    """What is registered. A content has one id everywhere, and a version in each subject."""

    contents: list[dict[str, Any]] = field(default_factory=list)  # id - 1 -> schema, schemaType, references
    subjects: dict[str, list[int]] = field(default_factory=dict)  # -> ids by version - 1; 0 is deleted
    levels: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    authorization: list[str | None] = field(default_factory=list)
    gives_guids: bool = True

    def told(self, schema_id: int) -> dict[str, Any]:
        content = self.contents[schema_id - 1]
        answer = {key: value for key, value in content.items() if value and (key, value) != ("schemaType", "AVRO")}
        if self.gives_guids:
            digest = hashlib.md5(json.dumps(content, sort_keys=True).encode()).digest()
            answer["guid"] = str(uuid.UUID(bytes=digest))
        return answer

    def register(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        content = _content(body)
        if not content["schema"]:
            raise Refused(422, 42201, "Empty schema")
        if content not in self.contents:
            self.contents.append(content)
        schema_id = self.contents.index(content) + 1
        ids = self.subjects.setdefault(subject, [])
        if schema_id not in ids:
            ids.append(schema_id)
        answer = {"id": schema_id}
        return self.registered(subject, ids.index(schema_id) + 1) if self.gives_guids else answer

    def lookup(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        ids = self.live(subject)
        content = _content(body)
        found = [number for number, schema_id in enumerate(ids, 1) if self.contents[schema_id - 1] == content]
        if not found:
            raise Refused(404, 40403, "Schema not found")
        return self.registered(subject, found[0])

    def live(self, subject: str) -> list[int]:
        if not any(self.subjects.get(subject, ())):
            raise Refused(404, 40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def registered(self, subject: str, version: int) -> dict[str, Any]:
        ids = self.live(subject)
        if not 0 < version <= len(ids) or not ids[version - 1]:
            raise Refused(404, 40402, f"Version {version} not found.")
        return {"subject": subject, "version": version, "id": ids[version - 1], **self.told(ids[version - 1])}


def _content(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": body.get("schema", ""),
        "schemaType": body.get("schemaType") or "AVRO",
        "references": body.get("references") or [],
    }


def _answer(state: State, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
    match method, *parts:
        case "GET", "subjects":
            prefix = query.get("subjectPrefix", "")
            return [name for name, ids in state.subjects.items() if any(ids) and name.startswith(prefix)]
        case "POST", "subjects", subject, "versions":
            return state.register(subject, body)
        case "POST", "subjects", subject:
            return state.lookup(subject, body)
        case "GET", "subjects", subject, "versions":
            return [number for number, schema_id in enumerate(state.live(subject), 1) if schema_id]
        case "GET", "subjects", subject, "versions", number:
            ids = state.live(subject)
            latest = max(place for place, schema_id in enumerate(ids, 1) if schema_id)
            return state.registered(subject, latest if number in ("latest", "-1") else int(number))
        case "DELETE", "subjects", subject:
            versions = [number for number, schema_id in enumerate(state.live(subject), 1) if schema_id]
            state.subjects.pop(subject)
            return versions
        case "DELETE", "subjects", subject, "versions", number:
            state.registered(subject, int(number))
            state.subjects[subject][int(number) - 1] = 0
            return int(number)
        case "GET", "schemas", "ids", schema_id:
            if not 0 < int(schema_id) <= len(state.contents):
                raise Refused(404, 40403, f"Schema {schema_id} not found")
            return state.told(int(schema_id))
        case "GET", "schemas", "guids", guid:
            for schema_id in range(1, len(state.contents) + 1):
                if state.told(schema_id).get("guid") == guid:
                    return state.told(schema_id)
            raise Refused(404, 40403, f"Schema {guid} not found")
        case "POST", "compatibility", "subjects", subject, "versions", _:
            state.live(subject)
            return {"is_compatible": True}
        case "GET", "config", *subject:
            return {"compatibilityLevel": state.levels.get("/".join(subject), state.levels.get("", "BACKWARD"))}
        case "PUT", "config", *subject:
            state.levels["/".join(subject)] = body["compatibility"]
            return {"compatibility": body["compatibility"]}
        case "GET", "associations", *_:
            raise Refused(404, 40410, "Association for 'topic' not found.")
    raise Refused(404, 404, "HTTP 404 Not Found")


class SchemaRegistry:
    """with SchemaRegistry() as registry: ... registry.url ... registry.state"""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        state = self.state = State()
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                url = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    state.requests.append((self.command, self.path))
                    state.authorization.append(self.headers.get("Authorization"))
                    status, told = self._told(url.path, url.query, raw)
                encoded = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def _told(self, path: str, query: str, raw: bytes) -> tuple[int, Any]:
                if state.failures:
                    status = state.failures.pop(0)
                    return status, {"error_code": 50001, "message": "Error in the backend data store"}
                parts = [unquote(part) for part in path.strip("/").split("/")]
                given = {name: values[0] for name, values in parse_qs(query).items()}
                try:
                    return 200, _answer(state, self.command, parts, given, json.loads(raw) if raw else {})
                except Refused as refused:
                    return refused.status, {"error_code": refused.code, "message": refused.message}

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *arguments: Any) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> SchemaRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
