"""Tokens for client images that take part in one project where a member's data are, as in Fedota.

Such a token lies in the client's configuration, beside programs that the member did not write. So it is narrow: with it
one sees how to take part and how the rounds go, reads the initial files, and says that the member is ready, in this
project alone. It always expires, and it goes with the membership, or when the project is archived.
"""

from __future__ import annotations

import math

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import known_project, missing, need_no_holder, own_site
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.people import add_token, issuer_of
from domain.decisions.telling import put_on_record
from domain.events import EventKind
from domain.ledger import names_of_secret
from domain.needs import Needs, those
from domain.states import MemberState
from domain.values import CLIENT_SCOPE
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND, time_text


def needs_of_issue_client_token(command: c.IssueClientToken) -> Needs:
    site = command.site_id
    return Needs(
        members_of={command.project_id},
        sites={site},
        token_hashes={command.sha256},
        tokens=those(command.issued_by),
        revocations=names_of_secret(command.sha256),
        counts={("tokens", site), ("tokens of a day", site)},
    )


def issue_client_token(draft: Draft, command: c.IssueClientToken) -> Decision:
    project = known_project(draft, command.project_id)
    site = own_site(draft, command.site_id)
    membership = draft.get(r.Membership, project.id, site.id)
    if membership is None or membership.state != MemberState.ACTIVE:
        raise missing("member", f"{site.id} of project {project.id}")
    need_no_holder(site)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: no client takes part in it")
    expires_at = _expires_at(draft, command)
    take_one(draft, "tokens", site.id, draft.rules.tokens_per_owner, "revoke one that nobody needs")
    remedy = "issue the next one tomorrow, and let it be valid for longer"
    take_one(draft, "tokens of a day", site.id, draft.rules.tokens_per_day, remedy)
    token = add_token(
        draft, "site", site.id, command.sha256, command.label, CLIENT_SCOPE, expires_at, command.issued_by
    )
    draft.change(token, project_id=project.id)
    told = n.TokenIssued(
        token_id=token.id, owner_id=site.id, label=token.label, scopes=CLIENT_SCOPE, expires_at=expires_at
    )
    draft.event(("organisation", site.organisation_id), EventKind.TOKEN_ISSUED, msgspec.to_builtins(told))
    put_on_record(draft, site, EventKind.TOKEN_ISSUED, told, project_id=project.id)
    return draft.accept(
        results.ClientTokenResult(
            id=token.id, project_id=project.id, site_id=site.id, expires_at=time_text(expires_at)
        ),
        201,
    )


def _expires_at(draft: Draft, command: c.IssueClientToken) -> int:
    """As asked for, or with the token that issues it, whichever is earlier. 403 where that one is not in force."""
    until = draft.now + math.ceil(command.for_s) * SECOND
    if command.issued_by is None:
        return until
    issuer = issuer_of(draft, command.issued_by)
    return until if issuer.expires_at is None else min(until, issuer.expires_at)
