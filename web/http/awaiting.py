"""A command's way to the broker, and its outcome's way back to who waits: announced, or looked up."""

from __future__ import annotations

from domain.commands import Envelope
from domain.records import Outcome
from storage.signals import Decided
from storage.views import commands as outcomes
from web.http.calls import Web
from web.live.waiters import Place

CONFIRM_WITHIN_S = 2.0
"""A decision that takes longer is waited for once the broker has confirmed the command."""
LOOK_AGAIN_S = 5.0
"""How long a lost announcement can hold up a writer."""


def publish(web: Web, envelope: Envelope) -> None:
    """Hand the command to the broker and wait for its confirm. Raises `BrokerUnavailable`, `TooLarge`."""
    with web.metrics.publishing.time():
        web.hub.publisher.send([envelope])


def outcome_of(web: Web, envelope: Envelope, place: Place, patience_s: float) -> Outcome | None:
    """Publish the command, and its outcome if it is announced or found in the store in time.

    place: where its announcement wakes. Raises as `publish` does.
    """
    web.undecided.asked(envelope.id)
    try:
        found = _published_and_awaited(web, envelope, place, patience_s)
    except BaseException:
        web.undecided.answered(envelope.id)
        raise
    if found is not None:
        web.undecided.answered(envelope.id)
        web.metrics.decided(found.kind, envelope.at, found.decided_at, web.hub.clock.now())
    return found


def _published_and_awaited(web: Web, envelope: Envelope, place: Place, patience_s: float) -> Outcome | None:
    """Decided means published, so the broker's confirm is waited for only where no decision has come; what cannot be
    published wakes the waiter."""
    with web.metrics.publishing.time():
        sending = web.hub.publisher.begin([envelope], lambda: web.waiters.wake(place))
    end = web.hub.clock.monotonic() + patience_s
    found = _look(web, envelope, place, min(patience_s, CONFIRM_WITHIN_S))
    if found is not None:
        return found
    sending.wait()
    return _looked_for(web, envelope, place, end)


def _looked_for(web: Web, envelope: Envelope, place: Place, end: float) -> Outcome | None:
    """The outcome, if there is one by `end`."""
    while (left := end - web.hub.clock.monotonic()) > 0 and not web.waiters.closing:
        found = _look(web, envelope, place, min(left, LOOK_AGAIN_S))
        if found is not None:
            return found
    return None


def _look(web: Web, envelope: Envelope, place: Place, seconds: float) -> Outcome | None:
    """The outcome, if it is there when this waiter is woken, or after `seconds`."""
    web.waiters.sleep(place, seconds)
    return announced(envelope, place.decided) or outcomes.outcome(web.database, envelope.id)


def announced(envelope: Envelope, decided: Decided | None) -> Outcome | None:
    """The outcome as its announcement carried it; an answer too long for that is left to be read."""
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
