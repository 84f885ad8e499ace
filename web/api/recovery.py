"""A site recovers: the hub's history went back, and the site says what it holds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Response

from domain import commands as c
from domain.results import Recovered
from domain.values import MAX_HELD, MAX_MARKS, Mark, Reason
from fedyard.wire.problems import ProblemType
from storage.views import sites
from web.api.signatures import signed
from web.http.auth import SITES
from web.http.bodies import Body, Count, Moment, Position, PublicKeyText, SignatureText, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found

COUNTS_AS = 200
"""Writes: each claim may move a whole inbox. A site makes two at once, and then one in a few seconds."""


class HeldMark(Body, frozen=True):
    """An inbox entry as the site holds it."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=9_000_000_000_000_000)]
    mark: Mark


class HeldSeat(Body, frozen=True):
    """report_seq: of the last report that the site made. state: live; ended (it saw the task or the run end); lost (it
    cannot go on, or say again what it reported)."""

    run_id: Uuid
    task_seq: Count
    report_seq: Position
    state: Literal["live", "ended", "lost"] = "live"


class HeldKey(Body, frozen=True):
    """One epoch of the site's sealing keys, as it was stated, and whether it is revoked."""

    epoch: Count
    public_key: PublicKeyText
    suite: Literal[1]
    created_at: Moment
    expires_at: Moment
    signature: SignatureText
    revoked: bool = False
    reason: Reason = ""


class Held(Body, frozen=True):
    """What a site holds of the hub's history as it knew it.

    history_id: that it knew. last_seq: of its newest inbox entry; marks: of its newest entries, newest first.
    revoked_tokens: ids of its own tokens that it was told are revoked. seats_cut: it has live seats that are not named.
    """

    last_seq: Position
    history_id: Uuid | None = None
    marks: Annotated[list[HeldMark], msgspec.Meta(max_length=MAX_MARKS)] = []
    seats: Annotated[list[HeldSeat], msgspec.Meta(max_length=MAX_HELD)] = []
    keys: Annotated[list[HeldKey], msgspec.Meta(max_length=MAX_HELD)] = []
    revoked_tokens: Annotated[list[Uuid], msgspec.Meta(max_length=MAX_HELD)] = []
    seats_cut: bool = False


def recover(call: Call) -> Response:
    """Keys are taken only as the site's identity has signed them, as everywhere."""
    body: Held = call.body
    site_id = call.id("site_id")
    site = sites.site(call.web.database, call.caller.subject, site_id)
    if site is None or site_id != call.caller.subject.id:
        raise not_found("site", site_id)
    call.counts_as(COUNTS_AS)
    for held in body.keys:
        if not signed(site.identity_key, site_id, held.epoch, held):
            raise Refused(
                ProblemType.BAD_SIGNATURE,
                f"key {held.epoch} is not signed by the identity key of site {site_id}: leave it out",
            )
    return write(
        call,
        c.RecoverSite(
            site_id=site_id,
            history_id=body.history_id,
            last_seq=body.last_seq,
            marks=[c.HeldMark(seq=held.seq, mark=held.mark) for held in body.marks],
            seats=[
                c.HeldSeat(run_id=held.run_id, task_seq=held.task_seq, report_seq=held.report_seq, state=held.state)
                for held in body.seats
            ],
            keys=[_key(held) for held in body.keys],
            revoked_tokens=body.revoked_tokens,
            seats_cut=body.seats_cut,
        ),
    )


def _key(held: HeldKey) -> c.HeldKey:
    return c.HeldKey(
        epoch=held.epoch,
        public_key=held.public_key,
        suite=held.suite,
        created_at=held.created_at,
        expires_at=held.expires_at,
        signature=held.signature,
        revoked=held.revoked,
        reason=held.reason,
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/sites/{site_id}/recovery",
        name="recover_site",
        about="The hub's history went back: what the site holds of the one before; answers where to read on",
        does=recover,
        who=SITES,
        scope="write",
        body=Held,
        write=True,
        answers={200: Recovered},
    ),
)
