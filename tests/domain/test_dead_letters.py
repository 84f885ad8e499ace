"""Dead letters: who may have them settled, what is put on record, and what the doer is told."""

from __future__ import annotations

import pytest

from domain import commands as c
from domain import records as r
from domain import results
from domain.codec import THE_HUB, envelope_of
from domain.decide import decide
from domain.decisions.draft import Decision, State
from domain.ids import Id, derive
from domain.rules import Rules
from domain.values import Role, Subject
from tests.domain.scenes import CAUSE, NOW, refusal, row
from tests.domain.scenes import written as of_kind

OWN, OTHER = derive("organisation", "own"), derive("organisation", "other")


def decide_on(command: c.AnyCommand, role: Role | None) -> Decision:
    """By an account of this role; None: by the hub."""
    account = row(r.Account, id=derive("account"), organisation_id=OWN, name="x", role=role or "admin")
    by = THE_HUB if role is None else Subject(kind="account", id=account.id, organisation_id=OWN, role=role)
    rows = [account, row(r.Organisation, id=OWN, name="own")]
    rows.append(row(r.Stream, id=OWN, kind="organisation"))
    return decide(State(rows), envelope_of(command, id=CAUSE, by=by, at=NOW), NOW, Rules())


@pytest.mark.parametrize("role", ["admin", None])
@pytest.mark.parametrize("purge", [False, True])
def test_an_admin_has_them_settled(role: Role | None, purge: bool) -> None:
    kind = c.PurgeDeadLetters if purge else c.ReplayDeadLetters
    decision = decide_on(kind(organisation_id=OWN, letter_ids=["a", "b"]), role)
    assert decision.answer == results.DeadLettersSettled(letter_ids=["a", "b"])
    assert [one.command for one in decision.follow_ups] == [c.SettleDeadLetters(letter_ids=["a", "b"], purge=purge)]
    (event,) = of_kind(decision, r.Event)
    assert (event.stream_id, event.kind, event.facts_json) == (
        OWN,
        "dead_letters_purged" if purge else "dead_letters_replayed",
        '{"letter_ids":["a","b"]}',
    )


@pytest.mark.parametrize(
    ("role", "organisation", "problem"),
    [("member", OWN, "forbidden"), ("auditor", OWN, "forbidden"), ("admin", OTHER, "not_found")],
)
def test_nobody_else_does(role: Role, organisation: Id, problem: str) -> None:
    decision = decide_on(c.ReplayDeadLetters(organisation_id=organisation, letter_ids=["a"]), role)
    assert refusal(decision)[1] == problem
    assert decision.follow_ups == ()
