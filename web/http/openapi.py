"""/openapi.json: drawn from the same table that routes, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from domain.streams.door import SECRET
from fedyard.wire.notices import NOTICES
from fedyard.wire.problems import MEDIA_TYPE, Problem, ProblemType
from fedyard.wire.types import UUID_PATTERN
from storage.views.resources import InboxEntry
from web.http.operations import Operation, kind_of, title_of
from web.http.parsing import PATH_FILE, PATH_NAME
from web.http.writing import Accepted

_REF = "#/components/schemas/{name}"
_TEXT: dict[str, Any] = {"type": "string"}

_HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "Where to look", "schema": _TEXT},
    "Fedyard-Command": {"description": "Id of the command", "schema": {"type": "string", "format": "uuid"}},
    "Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "RateLimit-Policy": {
        "description": "The limit that was reached: its name, quota (q), and seconds (w) or unit (qu)",
        "required": True,
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": "What is left of it (r), and in how many seconds there will be more (t)",
        "required": True,
        "schema": _TEXT,
    },
    "Content-Range": {"description": "Which bytes, of how many", "required": True, "schema": _TEXT},
    "WWW-Authenticate": {"description": "Bearer", "required": True, "schema": _TEXT},
}
_HEADERS_OF = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}
_WRITE_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Names the command: the same key is the same command, however often it is sent",
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    },
    {
        "name": "Prefer",
        "in": "header",
        "description": "wait=<seconds>: answer with the decision, if it comes in time (30 at most)",
        "schema": _TEXT,
    },
]
_LAST_EVENT: dict[str, Any] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "For a stream: go on behind this event",
    "schema": _TEXT,
}

_TYPES_OF_PROBLEM: dict[str, Any] = {
    "description": "One of these so far; go by the status where it is another",
    "examples": [problem.type for problem in ProblemType],
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of those of these operations that are for programs."""
    operations = [one for one in operations if one.described]
    kinds = _kinds(operations)
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_anything, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    components[Problem.__name__]["properties"]["type"] |= _TYPES_OF_PROBLEM
    _describe_facts(components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fedyard", "version": "1", "description": "The switching yard of a federation"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                one.authentication.name: one.authentication.scheme for one in operations if not one.open
            },
        },
    }


def _anything(kind: type) -> dict[str, Any]:
    """Parameters and facts are objects that nobody here reads."""
    if kind is not object:
        raise NotImplementedError
    return {"description": "anything"}


def _describe_facts(components: dict[str, Any]) -> None:
    """What an inbox entry says is one of the notices."""
    entry = components.get(InboxEntry.__name__)
    if entry is not None:
        schemas, facts = msgspec.json.schema_components(NOTICES.values(), schema_hook=_anything, ref_template=_REF)
        assert not facts.keys() & components.keys(), "two schemas of one name"
        components |= facts
        entry["properties"]["facts"] = {"description": "By the entry's kind", "anyOf": list(schemas)}


def _kinds(operations: list[Operation]) -> list[Any]:
    """Every type that a body, a query or an answer has, once."""
    found: list[Any] = [Problem, Accepted]
    for operation in operations:
        for kind in (operation.body, operation.query, *operation.answers.values()):
            if kind is not None and kind not in found:
                found.append(kind)
    return found


def _described(operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "tags": [operation.noun],
        "parameters": _parameters(operation, schema_of, components),
        "responses": _responses(operation, schema_of),
        "security": [] if operation.open else [{operation.authentication.name: []}],
    }
    if not operation.open:
        scopes = " or ".join((operation.scope, *operation.other_scopes))
        described["description"] = f"For tokens of: {', '.join(sorted(operation.who))}; scope: {scopes}."
    if operation.body is not None:
        described["requestBody"] = {
            "required": not operation.optional,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    if operation.takes:
        described["requestBody"] = {
            "required": True,
            "description": operation.takes,
            "content": {"application/octet-stream": {"schema": {"type": "string", "minLength": 1}}},
        }
    return described


def _parameters(operation: Operation, schema_of: dict[Any, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)} for name in operation.parameters
    ]
    name = schema_of[operation.query]["$ref"].rpartition("/")[2]
    for field, schema in components[name]["properties"].items():
        found.append({"name": field, "in": "query", "required": False, "schema": schema})
    if operation.write:
        found.extend(_WRITE_PARAMETERS)
    if "text/event-stream" in operation.media:
        found.append(_LAST_EVENT)
    return found


def _path_schema(name: str) -> dict[str, Any]:
    match kind_of(name):
        case "count":
            return {"type": "integer", "minimum": 0, "maximum": 999_999_999}
        case "file":
            return {"type": "string", "pattern": f"^{PATH_FILE}$"}
        case "name":
            return {"type": "string", "pattern": f"^{PATH_NAME}$"}
        case "door":
            return {"type": "string", "pattern": f"^{SECRET}$"}
        case "id":
            return {"type": "string", "format": "uuid", "pattern": f"^{UUID_PATTERN}$"}


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in operation.refusals:
        found[str(status)] = _problem(status)
    for status, kind in operation.answers.items():
        content = {} if kind is None else {"application/json": {"schema": schema_of[kind]}}
        content |= {media: {"schema": _TEXT} for media in operation.media} if status in (200, 206) else {}
        found[str(status)] = {"description": title_of(status), "content": content}
        if status == 206:
            found["206"]["headers"] = {"Content-Range": _HEADERS["Content-Range"]}
        if operation.write:
            found[str(status)]["headers"] = {"Fedyard-Command": _HEADERS["Fedyard-Command"]}
        if status == 201:
            found[str(status)]["headers"]["Location"] = _HEADERS["Location"]
    if operation.write:
        found["202"] = {
            "description": "The command lies safely on the broker; not decided yet",
            "content": {"application/json": {"schema": schema_of[Accepted]}},
            "headers": {name: _HEADERS[name] for name in ("Location", "Fedyard-Command")},
        }
    if operation.nothing:
        found["204"] = {"description": operation.nothing}
    return dict(sorted(found.items()))


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": title_of(status),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}},
        "headers": {header: _HEADERS[header] for header in _HEADERS_OF.get(status, ())},
    }
