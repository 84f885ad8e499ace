"""A write: the command goes to the broker, and its outcome comes back if the caller waits for it.

`write` is the order of it: name the command, take a place to wait, publish, wait and look up (awaiting.py), answer.
Whether the caller may do it is for the decision to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeAlias

import msgspec
from flask import Response

from config.clock import Micros, draw_id
from domain.codec import digest_of
from domain.commands import AnyCommand, Envelope
from domain.ids import Id, derive
from domain.records import Outcome
from domain.values import Subject
from fedyard.wire.problems import MEDIA_TYPE, ProblemType
from storage.views import commands as outcomes
from web.http.answers import answer
from web.http.awaiting import outcome_of, publish
from web.http.calls import Call, Web
from web.http.parsing import idempotency_key, preferred_wait
from web.live.shares import is_kept_for
from web.live.waiters import Place, Waiters
from web.problems import Refused

ACCEPTED = "accepted"
SECRET_WAIT_S = 10.0
"""How long a request for a secret waits by itself: the answer is the only place where the secret is shown."""


Shows: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, object]]


class Pending(msgspec.Struct, frozen=True):
    id: str
    state: str
    href: str


class Accepted(msgspec.Struct, frozen=True):
    """The command lies safely on the broker; `href` says what becomes of it."""

    command: Pending


class Asked(msgspec.Struct, frozen=True):
    """A command that somebody asks for, and how long they wait for its outcome.

    digest: tells a repeat from another request under the same key. keyed: its caller named it. patience_s: None or 0
    for who does not wait. kept_back: it may have a place that is kept back. must_wait: its answer is shown this once.
    """

    by: Subject
    command: AnyCommand
    id: Id
    digest: str
    keyed: bool
    patience_s: float | None
    kept_back: bool
    must_wait: bool

    def envelope(self, at: Micros, *, waited: bool) -> Envelope:
        return Envelope(id=self.id, at=at, by=self.by, command=self.command, waited=waited, digest=self.digest)


def write(
    call: Call,
    command: AnyCommand,
    *,
    made: str | None = None,
    identity: AnyCommand | None = None,
    shows: Shows | None = None,
    name: str | None = None,
    waits: bool = False,
) -> Response:
    """Send the command and answer.

    made: path of what it makes, with `{id}`.
    shows: what only this answer has beside what was decided, of which it is told; it lies in no store.
    name: names the command where the caller does not, so that the same finding is told once.
    waits: for an answer that is shown once, even if the caller does not ask for it.
    identity: the command without what is drawn or read from the clock, so that its digest is the same for a repeat.
    """
    web = call.web
    asked = asked_by(call, command, identity=identity, name=name, must_wait=waits)
    with ExitStack() as stack:
        place = place_for(asked, web.waiters, stack)
        if place is None:
            send_unwaited(web, asked)
            return pending_answer(asked.id)
        outcome = outcome_of(web, asked.envelope(web.hub.clock.now(), waited=True), place, asked.patience_s or 0.0)
        if outcome is None:
            return pending_answer(asked.id)
        refuse_reuse(outcome, asked.digest)
        return decided_answer(outcome, made, shows)


def asked_by(
    call: Call, command: AnyCommand, *, identity: AnyCommand | None, name: str | None, must_wait: bool
) -> Asked:
    """The command as this request asks for it. Raises 400 for an Idempotency-Key that is none."""
    by, key = call.caller.subject, idempotency_key(call.request)
    return Asked(
        by=by,
        command=command,
        id=id_of(call.caller.named_by, key, name),
        digest=digest_of(identity or command),
        keyed=key is not None,
        patience_s=patience_of(preferred_wait(call.request), must_wait=must_wait),
        kept_back=call.kept_back or is_kept_for(by),
        must_wait=must_wait,
    )


def id_of(caller: Id, key: str | None, name: str | None) -> Id:
    """The command's id: the same for every repeat of a caller's key, or of a finding's name; else drawn."""
    if key is not None:
        return derive(caller, "key", key)
    return derive(caller, "finding", name) if name is not None else draw_id()


def patience_of(preferred_s: float | None, *, must_wait: bool) -> float | None:
    return SECRET_WAIT_S if preferred_s is None and must_wait else preferred_s


def place_for(asked: Asked, waiters: Waiters, stack: ExitStack) -> Place | None:
    """A place to wait until the stack is left, if the caller wants one.

    Where all are taken the write goes through unwaited, unless it must wait: then it raises 503.
    """
    if not asked.patience_s or waiters.closing:
        return None
    try:
        return stack.enter_context(waiters.place(("command", asked.id), kept_back=asked.kept_back))
    except Refused:
        if asked.must_wait:
            raise
        return None


def send_unwaited(web: Web, asked: Asked) -> None:
    """Publish what nobody waits for. No outcome will be compared with it: a key that was used is looked up before."""
    if asked.keyed:
        refuse_reuse(outcomes.outcome(web.database, asked.id), asked.digest)
    publish(web, asked.envelope(web.hub.clock.now(), waited=False))


def refuse_reuse(outcome: Outcome | None, digest: str) -> None:
    """Raises 422 if the id is that of a command with another digest."""
    if outcome is not None and outcome.digest != digest:
        raise Refused(
            ProblemType.IDEMPOTENCY_KEY_REUSED,
            f"this Idempotency-Key was used for command {outcome.id}, which is another request; use a new key",
        )


def pending_answer(ident: Id) -> Response:
    """202: where to look."""
    href = f"/v1/commands/{ident}"
    return answer(Accepted(Pending(ident, "pending", href)), 202, {"Location": href, "Fedyard-Command": ident})


def decided_answer(outcome: Outcome, made: str | None, shows: Shows | None) -> Response:
    """What the decision answered, as it lies in the store; with what `shows` makes of it, if it was accepted."""
    headers = {"Fedyard-Command": outcome.id, "Preference-Applied": "wait"}
    if outcome.state != ACCEPTED:
        return Response(outcome.answer_json, outcome.status, headers, content_type=MEDIA_TYPE)
    if made is not None and outcome.status == 201:
        headers["Location"] = made.format(**msgspec.json.decode(outcome.answer_json))
    if shows is None:
        return Response(outcome.answer_json, outcome.status, headers, content_type="application/json")
    decided = msgspec.json.decode(outcome.answer_json)
    return answer({**decided, **shows(decided)}, outcome.status, headers)
