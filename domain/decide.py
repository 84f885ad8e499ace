"""One command, one decision: by the table of commands."""

from __future__ import annotations

from collections.abc import Iterable

from domain import commands as c
from domain import records as r
from domain.commands import Envelope
from domain.decisions.access import forbidden
from domain.decisions.draft import Decision, Draft, Refused, State, rejected
from domain.decisions.telling import needs_of_act, record_act
from domain.needs import Needs
from domain.rules import Rules
from domain.table import TABLE
from domain.values import Micros


def needs_of(envelopes: Iterable[Envelope]) -> Needs:
    """What has to be known before these commands can be decided together."""
    together = Needs()
    for envelope in envelopes:
        needs = TABLE[type(envelope.command)].needs
        if needs is not None:
            together.add(needs(envelope.command))
        by = envelope.by
        if by.kind == "site":
            together.sites.add(by.id)
        elif by.kind == "enrolment":
            together.enrolments.add(by.id)
        elif by.kind == "account":
            together.accounts.add(by.id)
            together.add(needs_of_act(envelope))
    return together


OF_ONESELF = (c.OpenSession, c.EndSessions)
"""What an auditor may do, who changes nothing else: look at pages, and look at them no longer."""


def decide(state: State, envelope: Envelope, now: Micros, rules: Rules) -> Decision:
    """The decision on one command, given the state. Pure: nothing is read, sent or written.

    Raises `TooEarly` where the same command may well be accepted in a moment.
    """
    row = TABLE[type(envelope.command)]
    assert row.decision is not None, f"a command that is {row.kind} is never decided"
    draft = Draft(state, envelope, now, rules)
    try:
        _check_subject(draft)
        record_act(draft)
        return row.decision(draft, envelope.command)
    except Refused as refused:
        return rejected(refused.problem, refused.detail, **refused.members)


def _check_subject(draft: Draft) -> None:
    """Rights may have been lost between the web's check and now."""
    by = draft.by
    if by.kind == "site":
        site = draft.get(r.Site, by.id)
        if site is None or site.state == "retired":
            raise forbidden(f"site {by.id} has retired")
    elif by.kind == "account":
        account = draft.get(r.Account, by.id)
        if account is None or account.disabled_at is not None:
            raise forbidden(f"account {by.id} is disabled")
        if account.role == "auditor" and not isinstance(draft.envelope.command, OF_ONESELF):
            raise forbidden(f"account {by.id} is an auditor; auditors change nothing")
