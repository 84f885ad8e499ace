"""A write: the command goes to the broker, and its outcome comes back if the caller waits for it.

The command's id is the Idempotency-Key's where there is one, so that a repeat is the same command; its digest
tells a repeat from another request under the same key. Whether the caller may do it is for the decision to say.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
from flask import Response

from config.clock import draw_id
from domain.codec import digest_of
from domain.commands import AnyCommand, Envelope
from domain.ids import Id, derive
from domain.records import Outcome
from fedyard.wire.problems import MEDIA_TYPE, ProblemType
from storage.views import commands as outcomes
from storage.views import people
from web.http.answers import answer
from web.http.calls import Call
from web.http.parsing import idempotency_key, preferred_wait
from web.live.shares import is_kept_for
from web.live.waiters import Place
from web.problems import Refused

CONFIRM_WITHIN_S = 2.0
"""A decision that takes longer is waited for once the broker has confirmed the command."""
LOOK_AGAIN_S = 5.0
"""How long a lost announcement can hold up a writer."""
SECRET_WAIT_S = 10.0
"""How long a request for a secret waits by itself: the answer is the only place where the secret is shown."""


class Pending(msgspec.Struct, frozen=True):
    id: str
    state: str
    href: str


class Accepted(msgspec.Struct, frozen=True):
    """The command lies safely on the broker; `href` says what becomes of it."""

    command: Pending


@dataclass(frozen=True)
class Secret:
    """A secret that the hub drew; only its hash travels. Its repr does not show it."""

    text: str
    sha256: str

    def __repr__(self) -> str:
        return "Secret(...)"


def write(
    call: Call,
    command: AnyCommand,
    *,
    made: str | None = None,
    secret: Secret | None = None,
    identity: AnyCommand | None = None,
    shows_token: bool = False,
    name: str | None = None,
) -> Response:
    """Send the command and answer.

    made: path of what it makes, with `{id}`.
    shows_token: the answer has a `token`: the secret; null if the caller drew it, or an earlier request's is in force.
    name: names the command where the caller does not, so that the same finding is told once.
    identity: the command without what is drawn or read from the clock, so that its digest is the same for a repeat.
    """
    web = call.web
    key = idempotency_key(call.request)
    ident = _named(call.caller.subject.id, key, name)
    digest = digest_of(identity or command)
    patience = preferred_wait(call.request)
    if patience is None and secret is not None:
        patience = SECRET_WAIT_S
    with ExitStack() as stack:
        place = _place(call, stack, ident, patience, must=secret is not None)
        if key is not None and place is None:
            _refuse_reuse(outcomes.outcome(web.database, ident), digest)
        envelope = Envelope(
            id=ident,
            at=web.hub.clock.now(),
            by=call.caller.subject,
            command=command,
            waited=place is not None,
            digest=digest,
        )
        if place is None:
            _publish(call, envelope)
        else:
            outcome = _decided(call, envelope, place, patience or 0.0)
            if outcome is not None:
                _refuse_reuse(outcome, digest)
                return _answered(call, outcome, made, secret, shows_token=shows_token)
    href = f"/v1/commands/{ident}"
    return answer(Accepted(Pending(ident, "pending", href)), 202, {"Location": href, "Fedyard-Command": ident})


def _named(caller: Id, key: str | None, name: str | None) -> Id:
    if key is not None:
        return derive(caller, "key", key)
    return derive(caller, "finding", name) if name is not None else draw_id()


def _place(call: Call, stack: ExitStack, ident: Id, patience: float | None, *, must: bool) -> Place | None:
    """A place to wait, if the caller wants one. Where all are taken the write goes through unwaited, unless it must."""
    if not patience or call.web.waiters.closing:
        return None
    kept_back = call.kept_back or is_kept_for(call.caller.subject)
    try:
        return stack.enter_context(call.web.waiters.place(("command", ident), kept_back=kept_back))
    except Refused:
        if must:
            raise
        return None


def _publish(call: Call, envelope: Envelope) -> None:
    with call.web.metrics.publishing.time():
        call.web.hub.publisher.send([envelope])


def _decided(call: Call, envelope: Envelope, place: Place, patience: float) -> Outcome | None:
    """Publish, and the outcome if it is announced or found in the store in time.

    Decided means published, so the broker's confirm is waited for only where no decision has come; what cannot be
    published wakes the waiter.
    """
    web = call.web
    web.undecided.asked(envelope.id)
    try:
        with web.metrics.publishing.time():
            sending = web.hub.publisher.begin([envelope], lambda: web.waiters.wake(place))
        end = web.hub.clock.monotonic() + patience
        found = _look(call, envelope, place, min(patience, CONFIRM_WITHIN_S))
        if found is None:
            sending.wait()
            found = _outcome(call, envelope, place, end)
    except BaseException:
        web.undecided.answered(envelope.id)
        raise
    if found is not None:
        web.undecided.answered(envelope.id)
        web.metrics.decided(found.kind, envelope.at, found.decided_at, web.hub.clock.now())
    return found


def _outcome(call: Call, envelope: Envelope, place: Place, end: float) -> Outcome | None:
    """The outcome, if there is one by `end`."""
    web, clock = call.web, call.web.hub.clock
    while (left := end - clock.monotonic()) > 0 and not web.waiters.closing:
        found = _look(call, envelope, place, min(left, LOOK_AGAIN_S))
        if found is not None:
            return found
    return None


def _look(call: Call, envelope: Envelope, place: Place, seconds: float) -> Outcome | None:
    """The outcome, if it is there when this waiter is woken, or after `seconds`."""
    call.web.waiters.sleep(place, seconds)
    return _announced(envelope, place) or outcomes.outcome(call.web.database, envelope.id)


def _announced(envelope: Envelope, place: Place) -> Outcome | None:
    """What the announcement carried; an answer too long for it is left to be read."""
    decided = place.decided
    if decided is None or not decided.answer_json:
        return None
    return Outcome(
        id=envelope.id,
        kind=str(type(envelope.command).__struct_config__.tag),
        subject_kind=envelope.by.kind,
        subject_id=envelope.by.id,
        state=decided.state,
        status=decided.status,
        answer_json=decided.answer_json,
        digest=decided.digest,
        decided_at=decided.decided_at,
    )


def _refuse_reuse(outcome: Outcome | None, digest: str) -> None:
    if outcome is not None and outcome.digest != digest:
        raise Refused(
            ProblemType.IDEMPOTENCY_KEY_REUSED,
            f"this Idempotency-Key was used for command {outcome.id}, which is another request; use a new key",
        )


def _answered(call: Call, outcome: Outcome, made: str | None, secret: Secret | None, *, shows_token: bool) -> Response:
    headers = {"Fedyard-Command": outcome.id, "Preference-Applied": "wait"}
    if outcome.state != "accepted":
        return Response(outcome.answer_json, outcome.status, headers, content_type=MEDIA_TYPE)
    if made is not None and outcome.status == 201:
        headers["Location"] = made.format(**msgspec.json.decode(outcome.answer_json))
    if not shows_token:
        return Response(outcome.answer_json, outcome.status, headers, content_type="application/json")
    in_force = secret is not None and people.holds(call.web.database, secret.sha256)
    token = secret.text if secret is not None and in_force else None
    return answer({**msgspec.json.decode(outcome.answer_json), "token": token}, outcome.status, headers)
