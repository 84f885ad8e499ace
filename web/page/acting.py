"""A form becomes the command that the API makes of the same wish: the same operation, rights, shares, and decision.

The page does nothing by itself. What is refused is shown at the field that it is about, with all that was typed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Request, Response
from msgspec import inspect

from domain.ids import Id, sha256_hex
from fedyard.look.forms import Form
from fedyard.wire.problems import Problem, ProblemType
from web.http.auth import allow
from web.http.calls import WHEN_GONE, Call
from web.http.operations import Operation, kind_of
from web.http.parsing import PATH_COUNT, PATH_FILE, PATH_ID, PATH_NAME, converted
from web.page.forms import KEY_FIELD, form_of
from web.page.plain import at_field
from web.page.rendering import WHERE, page, shown_problem
from web.problems import Refused

WAIT_S = 10
"""How long an action waits for its decision; afterwards the page says that it is not decided yet."""
_AT = re.compile(r"at `\$\.([^`]+)`")
_MISSING = re.compile(r"missing required field `([^`]+)`(?:.*? at `\$\.([^`]+)`)?")
_NAMED = re.compile(r"`([a-z_][a-z_0-9.]*)`")
_FIELDS: Mapping[str, str] = {
    ProblemType.NAME_TAKEN.type: "name",
    ProblemType.TASKS_IMPOSSIBLE.type: "tasks",
    ProblemType.QUORUM_IMPOSSIBLE.type: "contract.quorum",
    ProblemType.NO_ROUNDS_LEFT.type: "rounds",
    ProblemType.TOKEN_TAKEN.type: "sha256",
}
"""The field that a problem is about, where its sentence names none."""


_IN_PATHS = {"id": PATH_ID, "name": PATH_NAME, "count": PATH_COUNT, "file": PATH_FILE}


@dataclass(frozen=True)
class Acted:
    """What came of it. status: as the API answers it. answer: the resource, or what was accepted. field: that the
    problem is about, as the body has it; None for one about the whole. command: its id, once there was one."""

    status: int
    answer: Mapping[str, Any]
    problem: Problem | None = None
    field: str | None = None
    command: Id | None = None

    @property
    def ok(self) -> bool:
        """Done, or accepted and not decided yet."""
        return self.problem is None

    @property
    def decided(self) -> bool:
        return self.ok and self.status != 202

    def __repr__(self) -> str:
        return f"Acted({self.status})"  # an answer may hold a secret that is shown once


def act(
    call: Call,
    operation: Operation,
    path: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    *,
    query: Mapping[str, Any] | None = None,
    typed: bool = False,
) -> Acted:
    """Do what the API's `operation` does, in the caller's name, and wait for its decision.

    path: its parameters. body: its fields, as text or as they are; `Form.body` makes one of a form. query: its
    parameters, as text. typed: the body is as a program's has to be, whose numbers are no text. A repeat of the same
    form is the same command. Raises nothing that is the caller's to mend: that is the problem of what comes back.
    """
    path, body = dict(path or {}), dict(body or {})
    try:
        allow(call.caller, operation.who, operation.scope, *operation.other_scopes, project_id=path.get("project_id"))
        _need_path(operation, path)
        made = None if operation.body is None else converted("body", body, operation.body, strict=typed)
        asked = converted("query", query or {}, operation.query)
        response = operation.does(_call_of(call, operation, path, body, made, asked))
    except Refused as refused:
        return _refused(refused, operation)
    except Exception as error:  # noqa: BLE001 - the same problems as the API answers; a bug of ours is logged there
        return _refused(call.web.problems.refusal_of(error), operation)
    return _acted(response, operation)


def acted_or_shown(
    call: Call,
    acted: Acted,
    *,
    to: str,
    template: str,
    form: Form | None = None,
    fields: Mapping[str, str] | None = None,
    **facts: object,
) -> Response:
    """303 to where one sees what was done, or the form again, with the problem at its field.

    to: a path, in which `{id}` and the like are of the answer. form: what was typed, if not all that was sent.
    fields: by name in the body, the form's name of it, where they differ.
    """
    if acted.ok:
        return sent_on(acted, to)
    assert acted.problem is not None
    form = form_of(call) if form is None else form
    name = (fields or {}).get(acted.field or "", acted.field)
    if name is not None:
        form = form.with_error(name, at_field(acted.problem))
    return page(call, template, status=acted.status, form=form, problem=acted.problem, **facts)


def sent_on(acted: Acted, to: str) -> Response:
    """303 to `to`, which says in its status line what became of the command."""
    try:
        where = to.format(**acted.answer)
    except (KeyError, IndexError):  # not decided yet: what it makes has no id that is known
        where = f"{WHERE}/commands/{acted.command}"
    if acted.command is not None:
        where += f"{'&' if '?' in where else '?'}command={acted.command}"
    return Response("", 303, {"Location": where})


def _call_of(
    call: Call, operation: Operation, path: Mapping[str, Any], body: Mapping[str, Any], made: Any, query: Any
) -> Call:
    """The call as a program would have made it, in the caller's session."""
    content = msgspec.json.encode(body)
    environ = {
        **call.request.environ,
        "REQUEST_METHOD": operation.method,
        "PATH_INFO": operation.path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
        "HTTP_ACCEPT": "application/json",
        "HTTP_PREFER": f"wait={WAIT_S}",
    }
    environ.pop("HTTP_IDEMPOTENCY_KEY", None)
    drawn = form_of(call).value(KEY_FIELD)
    if drawn:  # a second press of the same button is the same command; another form, or another wish, is not
        named = "\n".join((drawn, operation.name, *(f"{name}={path[name]}" for name in sorted(path))))
        environ["HTTP_IDEMPOTENCY_KEY"] = sha256_hex(named.encode() + content)
    if WHEN_GONE in call.request.environ:
        environ[WHEN_GONE] = call.request.environ[WHEN_GONE]
    request = Request(environ, populate_request=False)
    return Call(call.web, request, call.caller, call.caller_of, path, query, made, operation.kept_back)


def _need_path(operation: Operation, path: Mapping[str, Any]) -> None:
    """Raises 404 for what no address of the API could have in that place: a program could not even ask it."""
    for name in operation.parameters:
        pattern = _IN_PATHS.get(kind_of(name))
        if pattern is not None and re.fullmatch(pattern, str(path.get(name, ""))) is None:
            raise Refused(ProblemType.NOT_FOUND, f"there is none: `{name}` is not written as one is")


def _acted(response: Response, operation: Operation) -> Acted:
    status, command = response.status_code, response.headers.get("Fedyard-Command")
    content = response.get_data()
    if status >= 400:
        problem = msgspec.json.decode(content, type=Problem)
        return Acted(status, {}, problem, _field_of(problem, operation), command)
    is_json = response.mimetype == "application/json" and content
    answer = msgspec.json.decode(content) if is_json else {}
    return Acted(status, answer if isinstance(answer, dict) else {"items": answer}, command=command)


def _refused(refused: Refused, operation: Operation) -> Acted:
    problem = shown_problem(refused)
    return Acted(problem.status, {}, problem, _field_of(problem, operation))


def _field_of(problem: Problem, operation: Operation) -> str | None:
    """The field of the body that a problem is about, with dots: `tasks.0.rounds`."""
    if missing := _MISSING.search(problem.detail):
        return ".".join(filter(None, (_dotted(missing[2] or ""), missing[1])))
    if at := _AT.search(problem.detail):
        return _dotted(at[1])
    names = _names_of(operation)
    named = [name for name in _NAMED.findall(problem.detail) if name.split(".")[0] in names]
    if named:
        return str(named[0])
    field = _FIELDS.get(problem.type)
    return field if field is not None and field.split(".")[0] in names else None


def _dotted(path: str) -> str:
    """msgspec writes `tasks[0].rounds`, and `[...]` where it says no number."""
    return re.sub(r"\[(\d+)\]", r".\1", path).replace("[...]", "")


def _names_of(operation: Operation) -> frozenset[str]:
    if operation.body is None:
        return frozenset()
    found = inspect.type_info(operation.body)
    return frozenset(one.encode_name for one in found.fields) if isinstance(found, inspect.StructType) else frozenset()
