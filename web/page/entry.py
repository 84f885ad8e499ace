"""What everybody sees: what this is and how it is, and the way in and out."""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from config.clock import draw_secret
from domain.commands import EndSessions, OpenSession
from domain.ids import HUB, Id, derive, sha256_hex
from domain.values import Subject
from fedyard.look.forms import Form
from fedyard.wire.problems import Problem
from storage.views.people import Bearer
from web.api.operators import readyz
from web.api.readiness import STOP_NOTHING, troubles
from web.api.results import Readiness
from web.http.auth import OPEN
from web.http.bodies import Query
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.page import sessions
from web.page.forms import form_of
from web.page.rendering import PAGE, SIGN_IN, WHERE, open_page, takes
from web.page.ways import HOME, place
from web.problems import Refused

WAY: sessions.SignIn = sessions.TokenSignIn()


class SignInQuery(Query, frozen=True):
    """next: where one wanted to go. code: a one-time code, from a link."""

    next: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


def entry(call: Call) -> Response:
    """What this is. Who has signed in goes on to what there is to see."""
    if _signed_in(call) is not None:
        return _to(HOME)
    found = msgspec.json.decode(readyz(call).get_data(), type=Readiness)
    down = sorted(part for part, state in found.parts.items() if state != "ok")
    return open_page(
        call,
        "entry/entry.html",
        well=found.status == "ready",
        down=[(part, part in STOP_NOTHING) for part in down],
        sign_in_href=SIGN_IN,
    )


def sign_in_form(call: Call) -> Response:
    """Where one says who one is; a link with a code only fills it in, so that nobody uses it up by looking."""
    where = place(given(call.query.next) or "")
    if _signed_in(call) is not None:
        return _to(where)
    return _form(call, Form.of(token=given(call.query.code) or "", next=where))


def sign_in(call: Call) -> Response:
    """Open a session of whoever proves an account: the decision looks at the proof once more, and uses a code up."""
    sessions.need_own_page(call.request)
    address = _address(call)
    try:
        _take_share(call, address.id)
    except Refused as refused:
        return _form(call, Form(), refused.detail, refused.problem.status)
    with call.web.shares.sign_ins.place(address):
        form = form_of(call)
    shown = form.value("token").strip()
    try:
        proved = WAY.proved(call.web, shown)
        secret = draw_secret()
        command = OpenSession(
            account_id=proved.subject.id, sha256=sha256_hex(secret.encode()), proof_sha256=sha256_hex(shown.encode())
        )
        response = write(dataclasses.replace(call, caller=proved), command, waits=True)
    except Refused as refused:
        return _form(call, form, refused.detail, refused.problem.status)
    if response.status_code == 202:
        return _form(call, form, _undecided(call), 503)
    if response.status_code != 201:
        problem = msgspec.json.decode(response.get_data(), type=Problem)
        return _form(call, form, problem.detail, problem.status)
    return sessions.begun(call.web, _to(place(form.value("next"))), secret)


def sign_out(call: Call) -> Response:
    """End this session, whatever its scopes are; the browser forgets it in any case."""
    write(call, EndSessions(account_id=call.caller.subject.id, session_id=call.caller.token_id))
    return sessions.ended(call.web, _to("/"))


def end_session(call: Call) -> Response:
    """One of one's other sessions, at another machine."""
    command = EndSessions(account_id=call.caller.subject.id, session_id=call.id("session_id"))
    sent = write(call, command, waits=True).headers["Fedyard-Command"]
    return _to(f"{WHERE}/sessions?command={sent}")


def sign_out_everywhere(call: Call) -> Response:
    write(call, EndSessions(account_id=call.caller.subject.id))
    return sessions.ended(call.web, _to("/"))


def _form(call: Call, form: Form, wrong: str = "", status: int = 200) -> Response:
    """The form again. What was pasted is shown to nobody; a code from a link is sent as it came."""
    where, code = place(form.value("next")), form.value("token") if not wrong else ""
    shown = Form.of(next=where)
    came_from_elsewhere = call.request.headers.get("Sec-Fetch-Site") == "cross-site" and not code
    return open_page(
        call,
        "entry/sign_in.html",
        status=status,
        form=shown.with_error("token", wrong) if wrong else shown,
        code=code,
        next_href=where if came_from_elsewhere else "",
        sign_in_href=SIGN_IN,
        safe="Sec-Fetch-Site" in call.request.headers,  # which browsers send to where they keep a Secure cookie alone
    )


def _address(call: Call) -> Subject:
    """Whoever signs in from one address, as one caller: nobody knows yet who it is."""
    return Subject(kind="account", id=derive(HUB, "signs in from", call.request.remote_addr or ""))


def _undecided(call: Call) -> str:
    """Why nobody can sign in now, and where one can look all the same: the API reads with a token that it knows."""
    down = ", ".join(part for part, trouble in troubles(call).items() if trouble and part not in STOP_NOTHING)
    if not down:
        return "the hub has not decided it in time; wait a moment, then sign in again"
    return (
        f"the hub cannot open a session now (down: {down}); until that is mended ask the API with this token: "
        "/readyz and /v1/concerns say what is wrong"
    )


def _take_share(call: Call, address: Id) -> None:
    """It has the share of writes of one caller, before anything that it sends is read. Raises 429, late to the
    impatient."""
    try:
        call.web.shares.writes.take(address)
    except Refused as refused:
        call.web.shares.tarpit.refused(address, float(refused.headers.get("Retry-After", 1)))
        raise


def _signed_in(call: Call) -> Bearer | None:
    try:
        return sessions.SESSION.caller(call.web, call.request)
    except Refused:
        return None


def _to(where: str) -> Response:
    return Response("", 303, {"Location": quote(where, safe="/?&=%#:,+-_.~")})


OPERATIONS = (
    Operation(
        method="GET",
        path="/",
        name="page_entry",
        about="What this is, whether it is well, and where to sign in",
        does=entry,
        kind=PAGE,
        authentication=OPEN,
        answers={200: None},
    ),
    Operation(
        method="GET",
        path=SIGN_IN,
        name="page_sign_in",
        about="Where one says who one is",
        does=sign_in_form,
        kind=PAGE,
        authentication=OPEN,
        query=SignInQuery,
        answers={200: None},
    ),
    Operation(
        method="POST",
        path=SIGN_IN,
        name="sign_in",
        about="Open a session with a token or a one-time code",
        does=sign_in,
        kind=PAGE,
        authentication=OPEN,
        answers={303: None},
    ),
    takes("sign-out", "sign_out", "End this session", sign_out),
    takes("sessions/{session_id}/end", "end_session", "End one of one's sessions", end_session),
    takes("sign-out-everywhere", "sign_out_everywhere", "End all sessions of one's account", sign_out_everywhere),
)
