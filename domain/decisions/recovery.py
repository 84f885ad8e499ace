"""A site recovers: the hub's history went back, and the site says what it holds of the one before.

The two find the newest entry that both have, by the marks. What the hub has beyond it comes again under numbers that
neither side has ever used; what the site knew of keys and revocations is in force again; runs go on where they can.
docs/adr/0017 says why it is built so.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.chain import mark_of
from domain.decisions.access import find, forbidden, need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.keys import REVOKED_BEFORE, add_key, check_epochs, digest_of_key, revoke_key
from domain.decisions.limits import too_many
from domain.decisions.progress.runs import end
from domain.events import EventKind
from domain.ids import Id, sha256_hex
from domain.ledger import name_of_key
from domain.needs import Needs
from domain.states import DELIVERY, RUN_FINAL, DeliveryState, RunState, SeatState, Step, follow
from domain.sweeps import AcknowledgeEntries, QueueEntries, RevokeIssuedBy
from fedyard.wire import notices as n

GAP = 1000
"""Numbers left out by a recovery: more than one answer of the inbox carries, so that an answer of the lost history that
was still on its way had none of those that are given next."""
MOVED = "moved entries of a day"
MAX_MOVED = 20_000
"""What the claims of one site have the hub write anew in a day, after the first: a claim may say whatever it likes."""
_END = "recovered"
"""In place of an entry's kind, where a recovery is a link of the chain."""

_encoder = msgspec.json.Encoder()


def needs_of_recover_site(command: c.RecoverSite) -> Needs:
    site = command.site_id
    lowest = min((held.seq for held in command.marks), default=1)
    return Needs(
        recoveries={site},
        history={"history"},
        boxes={(site, lowest)},
        keyrings={site},
        tokens=set(command.revoked_tokens),
        retiring={site},
        logs={(seat.run_id, site) for seat in command.seats},
        revocations=keys_named(command),
        counts={(MOVED, site)},
    )


def recover_site(draft: Draft, command: c.RecoverSite) -> Decision:
    """Where to read on, and what the hub knows of the runs that the site holds seats in. Harmless when repeated."""
    site = find(draft, r.Site, "site", command.site_id)
    if draft.by.kind != "site" or draft.by.id != site.id:
        raise forbidden(f"only site {site.id} itself knows what it holds")
    history = next(iter(draft.every(r.History)))
    before, box = draft.get(r.Recovery, site.id), draft.have(r.Mailbox, site.id)
    claim = sha256_hex(_encoder.encode([command.last_seq, [[held.seq, held.mark] for held in command.marks[:1]]]))
    again = before is not None and (before.history_id, before.claim) == (history.history_id, claim)
    conflicting = _keys(draft, site, command)
    _tokens(draft, site, command)
    recovery = before if again else _read_on(draft, box, before, history, command, claim)
    assert recovery is not None
    if not again:
        _runs(draft, site, history, command, recovery)
        facts = {
            "history_id": history.history_id,
            "before": command.history_id,
            "last_seq": command.last_seq,
            "common_seq": recovery.common_seq,
            "read_after": recovery.read_after,
        }
        draft.event(("site", site.id), EventKind.SITE_RECOVERED, facts, site_id=site.id)
    return draft.accept(
        results.Recovered(
            history_id=history.history_id,
            common_seq=recovery.common_seq,
            read_after=recovery.read_after,
            mark=recovery.mark or None,
            seats=[_seat(draft, site, held) for held in command.seats],
            keys_conflicting=conflicting,
        )
    )


# the inbox


def _read_on(
    draft: Draft,
    box: r.Mailbox,
    before: r.Recovery | None,
    history: r.History,
    command: c.RecoverSite,
    claim: str,
) -> r.Recovery:
    """Entries behind the newest common one come again. Where the site has not gone beyond it nothing has to move."""
    common = _common(draft, box, before, command)
    recovery = r.Recovery(
        site_id=box.site_id,
        history_id=history.history_id,
        at=draft.now,
        claim=claim,
        common_seq=common,
        read_after=common,
        mark=_mark_at(draft, box, before, common),
    )
    if command.last_seq > common or (before is not None and common < before.read_after):
        recovery = _renumber(draft, box, before, recovery, command.last_seq)
    elif common < box.acknowledged_seq:  # the site lost what it had acknowledged: it comes again where it lies
        draft.change(box, acknowledged_seq=common)
        draft.sweep(QueueEntries(box.site_id, common))
    elif common > box.acknowledged_seq:
        draft.change(box, acknowledged_seq=common)
        draft.sweep(AcknowledgeEntries(box.site_id, common, draft.now))
    draft.put(recovery)
    return recovery


def _common(draft: Draft, box: r.Mailbox, before: r.Recovery | None, command: c.RecoverSite) -> int:
    """The newest number under which both sides have the same entry.

    Where no mark that the site still has is known here, what it had acknowledged is what is sure; then it may get some
    entries twice, and misses none.
    """
    same = [held.seq for held in command.marks if _mark_at(draft, box, before, held.seq) == held.mark]
    if same:
        return max(same)
    if command.last_seq == 0:
        return 0
    return min(box.acknowledged_seq, command.last_seq)


def _mark_at(draft: Draft, box: r.Mailbox, before: r.Recovery | None, seq: int) -> str:
    """What the hub has at this number; empty where it does not know (any more)."""
    if seq == box.last_seq:
        return box.mark
    if before is not None and seq == before.read_after:
        return before.mark
    entry = draft.get(r.InboxEntry, box.site_id, seq)
    return "" if entry is None or entry.state == DeliveryState.MOVED else entry.mark


def _renumber(
    draft: Draft, box: r.Mailbox, before: r.Recovery | None, recovery: r.Recovery, last_seq: int
) -> r.Recovery:
    """What the hub has beyond the common entry, under numbers above all that either side has used."""
    moving = [
        entry
        for entry in sorted(draft.every(r.InboxEntry), key=lambda entry: entry.seq)
        if entry.site_id == box.site_id
        and entry.seq > recovery.common_seq
        and (entry.state, Step.MOVE) in DELIVERY
        and entry.state in (DeliveryState.QUEUED, DeliveryState.ACKNOWLEDGED)
    ]
    there = draft.count(MOVED, box.site_id)
    if there and there + len(moving) > MAX_MOVED:
        raise too_many(MOVED, box.site_id, there, MAX_MOVED, "recover again when these are a day old")
    read_after = max(box.last_seq, last_seq, before.read_after if before is not None else 0) + GAP
    mark = mark_of(recovery.mark, read_after, draft.envelope.id, _END)
    recovery = msgspec.structs.replace(recovery, read_after=read_after, mark=mark)
    seq = read_after
    for entry in moving:
        seq += 1
        mark = mark_of(mark, seq, draft.envelope.id, entry.kind)
        draft.change(
            entry,
            kind=n.Moved.KIND,
            state=follow(DELIVERY, DeliveryState(entry.state), Step.MOVE),
            state_at=draft.now,
            message_id=None,
            facts_json=n.Moved(seq=seq).json(),
        )
        draft.put(msgspec.structs.replace(entry, seq=seq, mark=mark, state=DeliveryState.QUEUED, state_at=None))
        draft.add_to(MOVED, box.site_id)
    draft.change(box, last_seq=seq, mark=mark, acknowledged_seq=read_after)
    draft.sweep(AcknowledgeEntries(box.site_id, recovery.common_seq, draft.now))
    return recovery


# keys and tokens


def _keys(draft: Draft, site: r.Site, command: c.RecoverSite) -> list[int]:
    """Epochs that the hub lacks are put again, as far as the limits let it; revocations are in force again.

    Epochs that are other keys here, or were not put.
    """
    conflicting = []
    for held in sorted(command.keys, key=lambda held: held.epoch):
        known = draft.get(r.SiteKey, site.id, held.epoch)
        if known is not None and known.digest != digest_of_key(held):
            conflicting.append(held.epoch)
            continue
        if known is None:
            try:
                check_epochs(draft, site)
                known = add_key(draft, site, _put(site.id, held), recovering=True)
            except Refused:  # a gap below it, or too many: the site states its next key anew
                conflicting.append(held.epoch)
                continue
        if held.revoked:
            revoke_key(draft, site, known, held.reason or REVOKED_BEFORE)
    return conflicting


def _put(site_id: Id, held: c.HeldKey) -> c.PutSiteKey:
    return c.PutSiteKey(
        site_id=site_id,
        epoch=held.epoch,
        public_key=held.public_key,
        suite=held.suite,
        created_at=held.created_at,
        expires_at=held.expires_at,
        signature=held.signature,
    )


def keys_named(command: c.RecoverSite) -> set[str]:
    """The names under which the ledger would have the site's keys."""
    return {name_of_key(command.site_id, held.epoch, digest_of_key(held)) for held in command.keys}


def _tokens(draft: Draft, site: r.Site, command: c.RecoverSite) -> None:
    """Tokens of the site that it was told are revoked. Others' are not its to name."""
    for token_id in sorted(set(command.revoked_tokens)):
        token = draft.get(r.Token, token_id)
        if token is None or token.owner_id != site.id or token.revoked_at is not None:
            continue
        draft.change(token, revoked_at=draft.now)
        draft.sweep(RevokeIssuedBy(token.id, draft.now))
        facts = {"token_id": token.id, "reason": REVOKED_BEFORE}
        draft.event(("organisation", site.organisation_id), EventKind.TOKEN_REVOKED, facts)


# runs


def _runs(draft: Draft, site: r.Site, history: r.History, command: c.RecoverSite, recovery: r.Recovery) -> None:
    """Runs and seats that cannot go on come to their end; the others do, by reports that the site sends again.

    A participant's word ends a run for all only where the hub itself knows that its history went back since the run
    began; otherwise it costs that site's seat, and the contract says whether the run goes on.
    """
    held = {seat.run_id for seat in command.seats}
    over: set[Id] = set()
    for seat in command.seats:
        run = draft.get(r.Run, seat.run_id)
        if run is None or RunState(run.state) in RUN_FINAL or seat.state == "live" or run.id in over:
            continue
        over.add(run.id)
        saw = "has seen its end" if seat.state == "ended" else "has lost what the hub waits for"
        detail = f"the hub's history went back, and site {site.name} {saw}"
        goes_back = history.changes > 0 and run.created_at <= history.since
        if run.coordinator_site_id == site.id or (seat.state == "ended" and goes_back):
            draft.follow_up(c.EndRestored(run_id=run.id, detail=detail), "end", run.id)
        else:
            _drop(draft, site, run.id, detail)
    if command.seats_cut:
        return
    told = {e.run_id for e in draft.every(r.InboxEntry) if e.site_id == site.id and e.seq > recovery.read_after}
    for site_id, run_id in sorted(set(draft.state.seated)):
        if site_id == site.id and run_id not in held and run_id not in told:
            _drop(draft, site, run_id, f"the hub's history went back, and site {site.name} does not know its seat")


def _drop(draft: Draft, site: r.Site, run_id: Id, detail: str) -> None:
    drop = c.DropSeats(run_id=run_id, site_id=site.id, reason="hub_restored", detail=detail)
    draft.follow_up(drop, "drop", run_id)


def _seat(draft: Draft, site: r.Site, held: c.HeldSeat) -> results.RecoveredSeat:
    """What the hub knows of a seat: the state of its run (None if it knows none), and the seat's, if it has one."""
    run = draft.get(r.Run, held.run_id)
    task = next((t for t in draft.group(r.TaskRun, held.run_id) if t.seq == held.task_seq), None)
    seat = None if task is None else draft.get(r.Seat, task.id, site.id)
    return results.RecoveredSeat(
        run_id=held.run_id,
        task_seq=held.task_seq,
        run_state=None if run is None or seat is None else RunState(run.state),
        state=None if seat is None else SeatState(seat.state),
        round=None if seat is None else seat.round,
        report_seq=0 if seat is None else seat.report_seq,
    )


def needs_of_end_restored(command: c.EndRestored) -> Needs:
    return Needs(runs={command.run_id})


def end_restored(draft: Draft, command: c.EndRestored) -> Decision:
    """The run fails for everybody, unless it has ended meanwhile."""
    need_hub(draft.by)
    run = draft.get(r.Run, command.run_id)
    ended = run is not None and RunState(run.state) not in RUN_FINAL
    if run is not None and ended:
        end(draft, run, Step.FAIL, "hub_restored", command.detail)
    return draft.accept(results.EndedRestored(ended=ended))
