"""How a call becomes a page: the templates, what each of them is told, and what people read of a problem.

A page is read with its caller's rights, by the views that the API reads: what one may not see is a 404 here as well.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import quote

import msgspec
from flask import Request, Response
from jinja2 import Environment
from msgspec import UNSET, UnsetType

from config.clock import draw_id
from domain.values import Subject
from fedyard.look.rendering import NavItem, environment
from fedyard.look.states import Tone
from fedyard.wire.problems import Problem, ProblemType
from fedyard.wire.types import UUID_PATTERN
from storage.views import people
from storage.views.people import Bearer
from web.http import answers
from web.http.auth import PEOPLE
from web.http.bodies import PageQuery, Query, Uuid
from web.http.calls import Call, Web
from web.http.operations import Operation
from web.page import outcomes, sessions
from web.problems import Refused

WHERE = "/page"
"""Below it lies everything of the page but the entry and the files that it loads."""
SIGN_IN = f"{WHERE}/sign-in"
HTML = "text/html; charset=utf-8"
TEMPLATES = Path(__file__).parent / "templates"


IdOrNone: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^({UUID_PATTERN})?(?!\n)$", max_length=36)]
"""Empty, as a form sends it: of any. `Uuid | Literal[""]` would take no empty one: the pattern holds for all text."""


class Shown(Query, frozen=True):
    """The query of a page. command: what was done just now, whose outcome the page says."""

    command: Uuid | UnsetType = UNSET


class ShownList(PageQuery, frozen=True):
    """The query of a page with a list."""

    command: Uuid | UnsetType = UNSET


@dataclass(frozen=True)
class Way:
    """A page that the navigation names. roles: who finds something there."""

    path: str
    word: str
    group: str
    roles: frozenset[str] = frozenset({"admin", "member", "auditor"})


_OPERATORS = frozenset({"admin", "auditor"})
WAYS = (
    Way(f"{WHERE}/now", "Now", "Network"),
    Way(f"{WHERE}/projects", "Projects", "Network"),
    Way(f"{WHERE}/runs", "Runs", "Network"),
    Way(f"{WHERE}/sites", "Sites", "Network"),
    Way(f"{WHERE}/workloads", "Workloads", "Work"),
    Way(f"{WHERE}/streams", "Streams", "Work"),
    Way(f"{WHERE}/dead-letters", "Dead letters", "Work", _OPERATORS),
    Way(f"{WHERE}/audit", "Audit", "Hub"),
    Way(f"{WHERE}/people", "People", "Hub"),
    Way(f"{WHERE}/webhooks", "Webhooks", "Hub"),
    Way(f"{WHERE}/api", "API", "Hub"),
)


@functools.cache
def templates() -> Environment:
    """The hub's own, above those of both faces."""
    return environment([TEMPLATES])


def page(call: Call, template: str, *, status: int = 200, **facts: object) -> Response:
    """A whole page. facts: what the template shows.

    Besides, it is told: `nav`, `who` (name, role, id), `csrf` and `key` for its forms, `now` (microseconds), `said`
    (the outcome of `?command=`, if that is the caller's), `problem`, and what else `DEFAULTS` of the look names.
    """
    response = Response(_text(call.web, call.request, call.caller, template, facts, call), status, content_type=HTML)
    return sessions.kept(call, response)


def part(call: Call, template: str, **facts: object) -> Response:
    """A part of a page that renews itself: the template's text alone, told what `page` tells but for the way around."""
    told = {"csrf": sessions.csrf_of(call), "key": draw_id(), "now": call.web.hub.clock.now(), **facts}
    return Response(templates().get_template(template).render(told), 200, content_type=HTML)


def open_page(call: Call, template: str, *, status: int = 200, **facts: object) -> Response:
    """A page for whoever comes: who has a session is not asked for."""
    return Response(_text(call.web, call.request, None, template, facts, None), status, content_type=HTML)


def problem_page(web: Web, request: Request, refused: Refused) -> Response:
    """What people read of a problem. Who is not signed in is led there, and back."""
    status = refused.problem.status
    headers = {name: value for name, value in refused.headers.items() if name != "WWW-Authenticate"}
    asks_itself = "HX-Request" in request.headers
    if status == 401 and not asks_itself and not request.path.startswith(SIGN_IN):
        back = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else ""
        where = f"{SIGN_IN}?next={quote(back, safe='')}" if back else SIGN_IN
        return Response("", 303, {"Location": where}, content_type=HTML)
    caller = None if status == 401 else _signed_in(web, request)
    facts = {"problem": shown_problem(refused), "remedy": _REMEDIES.get(status, "")}
    text = _text(web, request, caller, "problem.html", facts, None)
    return Response(text, status, headers, content_type=HTML)


PAGE = dataclasses.replace(answers.PAGE, problem=problem_page)
"""The kind of everything that people read."""
PAGE_TO_COME_BACK_TO = dataclasses.replace(PAGE, headers={**PAGE.headers, "Cache-Control": "private, no-cache"})
"""What a form answers and people go back to: of an answer to a POST that it may not keep, a browser shows nothing on
the way back but the question whether to send it once more. Signing out has it forgotten (`sessions.ended`)."""
_REMEDIES = {
    403: "Somebody with another role can do it: your role stands beside your name.",
    404: "It may never have been there, be gone, or be none of yours to see: those look the same on purpose.",
    409: "It does not fit what is the case now. Look again at what it is about.",
    429: "You asked for more than your share: wait a moment, then load the page again.",
    503: "A part of the hub cannot be reached: wait a moment, then load the page again. Nothing is lost.",
}


def shows(
    path: str, name: str, about: str, does: object, *, query: type[Query] = Shown, long: bool = False
) -> Operation:
    """A page for who is signed in. path: below /page. name: the operation's, `page_runs`. query: a `Shown` or more."""
    return Operation(
        method="GET",
        path=f"{WHERE}/{path}",
        name=name,
        about=about,
        does=does,  # type: ignore[arg-type]
        kind=PAGE,
        authentication=sessions.SESSION,
        who=PEOPLE,
        query=query,
        long=long,
        answers={200: None},
    )


def takes(
    path: str, name: str, about: str, does: object, *, query: type[Query] = Query, kind: answers.AnswerKind = PAGE
) -> Operation:
    """What a form of a page is sent to: it changes something, so it counts as a write of its caller."""
    return Operation(
        method="POST",
        path=f"{WHERE}/{path}",
        name=name,
        about=about,
        does=does,  # type: ignore[arg-type]
        kind=kind,
        authentication=sessions.SESSION,
        who=PEOPLE,
        scope="write",
        other_scopes=("read",),  # which scope the command itself needs is asked in `act`
        query=query,
        write=True,
        answers={303: None},
    )


def is_below(path: str) -> bool:
    """Is a path one of the page's?"""
    return path == WHERE or path.startswith(f"{WHERE}/")


def shown_problem(refused: Refused) -> Problem:
    """A refusal as templates show it."""
    kind: ProblemType = refused.problem
    return Problem(type=kind.type, title=kind.title, status=kind.status, detail=refused.detail)


@dataclass(frozen=True)
class Who:
    name: str
    role: str
    id: str


@dataclass(frozen=True)
class Said:
    """What the last action came to."""

    tone: Tone
    text: str


def _text(
    web: Web, request: Request, caller: Bearer | None, template: str, facts: dict[str, object], call: Call | None
) -> str:
    told: dict[str, object] = {"now": web.hub.clock.now(), "key": draw_id(), "home": "/"}
    told["docs_href"] = "/openapi.json" if caller is None else f"{WHERE}/api"
    if caller is not None:
        subject = caller.subject
        call = call or Call(web, request, caller, sessions.SESSION.caller, {}, Query(), None)
        told |= {
            "nav": nav_of(subject, request.path),
            "who": Who(people.name_of(web.database, subject) or subject.id, subject.role or "", subject.id),
            "csrf": sessions.csrf_of(call),
            "account_href": f"{WHERE}/sessions",
            "sign_out_href": f"{WHERE}/sign-out",
            "said": said_of(call),
        }
    return templates().get_template(template).render({**told, **facts})


def nav_of(subject: Subject, path: str) -> list[NavItem]:
    """The ways on for who is signed in."""
    return [
        NavItem(way.path, way.word, current=path == way.path or path.startswith(f"{way.path}/"), group=way.group)
        for way in WAYS
        if subject.role in way.roles
    ]


def said_of(call: Call) -> Said | None:
    """What became of the command that the query names, if the caller sent it."""
    ident = getattr(call.query, "command", UNSET)
    return None if ident is UNSET else Said(*outcomes.said(call.web, call.caller.subject, str(ident)))


def _signed_in(web: Web, request: Request) -> Bearer | None:
    """Whose session it is, for the frame of a problem's page; None where that cannot be found out now."""
    try:
        return sessions.SESSION.caller(web, request)
    except Exception:  # noqa: BLE001 - one problem is shown already; a second one must not hide it
        return None
