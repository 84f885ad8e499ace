"""The API as people read and try it: what /openapi.json says, and a form for each call, made in one's own session."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Response

from fedyard.look.forms import Form
from web.api.table import operations
from web.http.calls import Call
from web.http.operations import Kind, Operation, kind_of
from web.http.parsing import PATH_COUNT, PATH_FILE, PATH_ID, PATH_NAME
from web.page.acting import Acted, act
from web.page.forms import form_of
from web.page.rendering import page, shows, takes
from web.page.schemas import Type, beginning, field, kind, types_of
from web.problems import not_found

MAX_SHOWN_BYTES = 200_000
"""Of an answer."""
_HELD_BACK = frozenset({"wait"})
"""Queries that a form has no use for: they hold a place open."""
_PATTERNS: Mapping[Kind, str] = {"id": PATH_ID, "count": PATH_COUNT, "file": PATH_FILE, "name": PATH_NAME}
_WORDS: Mapping[Kind, str] = {"id": "an id", "count": "a whole number", "file": "a file's name", "name": "a name"}
THE_HUB = "hub"
"""What calls are about whose path names no noun."""


@dataclass(frozen=True)
class Noun:
    name: str
    operations: Sequence[Operation]


def listed(call: Call) -> Response:
    nouns: dict[str, list[Operation]] = {}
    for one in _described(call):
        nouns.setdefault(one.noun or THE_HUB, []).append(one)
    shown = [Noun(name, found) for name, found in nouns.items()]
    return page(call, "describing/list.html", nouns=shown, count=sum(len(one.operations) for one in shown))


def read(call: Call) -> Response:
    operation = _named(call)
    return page(call, "describing/operation.html", **_about(call, operation), form=_first(call, operation), acted=None)


def tried(call: Call) -> Response:
    """Make the call, and show what it answered beside the form."""
    operation, form = _named(call), form_of(call)
    if not _tryable(operation):
        raise not_found("form for", operation.name)
    form, path, query, body = _typed(operation, form)
    facts = _about(call, operation)
    if form.errors:
        return page(call, "describing/operation.html", status=400, **facts, form=form, acted=None)
    acted = act(call, operation, path, body, query=query, typed=True)
    return page(call, "describing/operation.html", **facts, form=form, acted=acted, answer=_answer(acted))


def _described(call: Call) -> list[Operation]:
    """Calls for programs."""
    on = call.web.hub.settings.kafka_ml_paths == "on"
    return [one for one in operations(kafka_ml=on) if one.described]


def _named(call: Call) -> Operation:
    """The call that the path names."""
    name = call.name("operation")
    found = next((one for one in _described(call) if one.name == name), None)
    if found is None:
        raise not_found("call", name)
    return found


def _tryable(operation: Operation) -> bool:
    """Not what moves files, and not what answers none but them."""
    return not operation.takes and any(kind is not None for kind in operation.answers.values())


@functools.lru_cache(maxsize=2)
def _document(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


def _about(call: Call, operation: Operation) -> dict[str, Any]:
    """What the page says of a call, as /openapi.json has it."""
    document = _document(call.web.description())
    components = document["components"]["schemas"]
    said = document["paths"][operation.path][operation.method.lower()]
    body = _body_of(said)
    answers = [_answered(status, one, components) for status, one in said["responses"].items()]
    queries = [one for one in said["parameters"] if one["in"] == "query"]
    return {
        "operation": operation,
        "tryable": _tryable(operation),
        "callers": sorted(operation.who),
        "scopes": [operation.scope, *operation.other_scopes],
        "path_parameters": [(name, _WORDS.get(kind_of(name), "text")) for name in operation.parameters],
        "query": [field(one["name"], one["schema"], required=one["required"]) for one in queries],
        "tried_query": [one["name"] for one in queries if one["name"] not in _HELD_BACK],
        "body_types": [] if body is None else types_of(body, components),
        "answers": answers,
        "curl": _curl(call, operation, None if body is None else beginning(body, components)),
    }


def _answered(status: str, said: Mapping[str, Any], components: Mapping[str, Any]) -> tuple[str, str, str, list[Type]]:
    """Status, description, what comes with it in words, and its types; those of problems are always the same."""
    content = said.get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return status, said["description"], ", ".join(content), []
    return status, said["description"], kind(schema), types_of(schema, components)


def _body_of(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = (
        said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    )
    return found


def _first(call: Call, operation: Operation) -> Form:
    """The form before anything was typed: with a body that has what is required."""
    document = _document(call.web.description())
    body = _body_of(document["paths"][operation.path][operation.method.lower()])
    if body is None:
        return Form()
    return Form.of(body=_pretty(beginning(body, document["components"]["schemas"])))


def _typed(operation: Operation, form: Form) -> tuple[Form, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What was typed, as the call takes it; the form says what can't be."""
    path: dict[str, Any] = {}
    for name in operation.parameters:
        found, text = kind_of(name), form.value(f"path.{name}").strip()
        fits = re.fullmatch(_PATTERNS.get(found, ".+"), text) is not None
        if not fits:
            form = form.with_error(f"path.{name}", f"this is not {_WORDS.get(found, 'what belongs here')}")
        path[name] = int(text) if fits and found == "count" else text
    typed = form.body("query").get("query", {})
    query = {name: value for name, value in typed.items() if name not in _HELD_BACK} if isinstance(typed, dict) else {}
    body: Any = {}
    if operation.body is not None and (text := form.value("body").strip()):
        try:
            body = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            form = form.with_error("body", f"this is no JSON: {error}")
        else:
            if not isinstance(body, dict):
                form = form.with_error("body", "this is no JSON object: write { ... }")
    return form, path, query, body


def _answer(acted: Acted) -> str:
    text = _pretty(acted.answer if acted.problem is None else acted.problem)
    if len(text) <= MAX_SHOWN_BYTES:
        return text
    return (
        f"{text[:MAX_SHOWN_BYTES]}\n... and {len(text) - MAX_SHOWN_BYTES} characters more: ask for fewer with `limit`"
    )


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _curl(call: Call, operation: Operation, body: object) -> str:
    """The same call as a program's."""
    where = f"{call.request.host_url.rstrip('/')}{operation.path}"
    lines = [f"curl -X {operation.method} '{where}'"]
    if not operation.open:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if operation.write:
        lines.append("-H 'Prefer: wait=10'")
    if operation.body is not None:
        written = msgspec.json.encode(body).decode().replace("'", "'\\''")
        lines.append(f"-H 'Content-Type: application/json' -d '{written}'")
    if operation.takes:
        lines.append("-H 'Content-Type: application/octet-stream' --data-binary @file")
    return " \\\n  ".join(lines)


OPERATIONS = (
    shows("api", "page_api", "Every call for programs", listed),
    shows("api/{operation}", "page_api_call", "One call: what it takes and answers, and a form to try it", read),
    takes("api/{operation}", "page_try_api_call", "Make a call in one's own session", tried),
)
