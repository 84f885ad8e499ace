"""What people have done with commands that could not be carried out. Where these lie only the broker knows: the
decision puts on record who wants what, and the doer does it there."""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import find, need_admin
from domain.decisions.draft import Decision, Draft
from domain.events import EventKind
from domain.needs import Needs


def needs_of_replay_dead_letters(command: c.ReplayDeadLetters) -> Needs:
    return Needs(organisations={command.organisation_id})


def replay_dead_letters(draft: Draft, command: c.ReplayDeadLetters) -> Decision:
    return _settle(draft, command, EventKind.DEAD_LETTERS_REPLAYED, purge=False)


def needs_of_purge_dead_letters(command: c.PurgeDeadLetters) -> Needs:
    return Needs(organisations={command.organisation_id})


def purge_dead_letters(draft: Draft, command: c.PurgeDeadLetters) -> Decision:
    return _settle(draft, command, EventKind.DEAD_LETTERS_PURGED, purge=True)


def _settle(
    draft: Draft, command: c.ReplayDeadLetters | c.PurgeDeadLetters, event: EventKind, *, purge: bool
) -> Decision:
    need_admin(draft.by)
    organisation = find(draft, r.Organisation, "organisation", command.organisation_id)
    draft.follow_up(c.SettleDeadLetters(letter_ids=command.letter_ids, purge=purge))
    draft.event(("organisation", organisation.id), event, {"letter_ids": command.letter_ids})
    return draft.accept(results.DeadLettersSettled(letter_ids=command.letter_ids))
