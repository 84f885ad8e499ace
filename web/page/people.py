"""People: accounts and organisations, their tokens and sessions. A secret is shown once, in the answer that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from flask import Response
from msgspec import UNSET, UnsetType

from domain.ids import Id
from domain.values import Role, TokenKind
from fedyard.look.forms import Form
from fedyard.wire.times import SECOND, time_text
from storage.views import people as views
from storage.views import sites
from storage.views.resources import Account, Site, Token
from storage.views.sight import Paging, every
from web.api.table import operations
from web.http.bodies import Uuid
from web.http.calls import Call, given
from web.page.acting import Acted, act, acted_or_shown, sent_on
from web.page.forms import form_of
from web.page.links import href
from web.page.plain import at_field
from web.page.rendering import SIGN_IN, WHERE, ShownList, page, shows, takes
from web.page.ways import place
from web.problems import not_found

_API = {one.name: one for one in operations()}
PEOPLE = f"{WHERE}/people"
ORGANISATIONS = f"{WHERE}/organisations"
TOKENS = f"{WHERE}/tokens"
AT_ONCE = 200
SHOWN_OVER = 50
ROLES: Mapping[Role, str] = {
    "member": "member: acts for the sites of its organisation",
    "auditor": "auditor: reads every record, changes nothing",
    "admin": "admin: runs the network, for all organisations",
}
SCOPES = (("read write", "read and change"), ("read", "only read"))
LIVES = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("never", "until it is revoked"))
MAX_DAYS_DIGITS = 5
"""Of what is typed in place of one of them: more than anybody lives, and still a time."""
SIGN_IN_MIN = 10
"""How long a link that signs somebody in is good for."""


class PeopleQuery(ShownList, frozen=True):
    organisation: Uuid | UnsetType = UNSET


class TokensQuery(ShownList, frozen=True):
    owner: Uuid | UnsetType = UNSET


@dataclass(frozen=True)
class ShownToken:
    """A token as a table shows it. state: active, or why it is good for nothing. own: it is this very session's."""

    token: Token
    state: Literal["active", "expired", "revoked", "used"]
    owner: str
    own: bool


def listed(call: Call) -> Response:
    """Accounts and organisations that the caller may know of."""
    database, subject = call.web.database, call.caller.subject
    organisation = given(call.query.organisation)
    accounts = views.accounts(database, subject, call.paging, organisation)
    chosen = None if organisation is None else views.organisation(database, subject, organisation)
    if organisation is not None and chosen is None:
        raise not_found("organisation", organisation)
    names = views.names(database, [one.organisation_id for one in accounts.items])
    return page(
        call,
        "people/people.html",
        accounts=accounts.items,
        organisations=names,
        chosen=chosen,
        first=href(PEOPLE, organisation=organisation) if call.paging.after else "",
        next=href(PEOPLE, organisation=organisation, after=accounts.next) if accounts.next else "",
        may_add=subject.role == "admin",
    )


def organisations(call: Call) -> Response:
    found = views.organisations(call.web.database, call.caller.subject, call.paging)
    return page(
        call,
        "people/organisations.html",
        organisations=found.items,
        first=ORGANISATIONS if call.paging.after else "",
        next=href(ORGANISATIONS, after=found.next) if found.next else "",
        may_add=call.caller.subject.role == "admin",
    )


def shown(call: Call) -> Response:
    return _account_page(call, call.id("account_id"))


def own(call: Call) -> Response:
    """One's own account: where one is signed in, and with which tokens programs ask in one's name."""
    return _account_page(call, call.caller.subject.id)


def _account_page(call: Call, ident: Id, form: Form | None = None, acted: Acted | None = None) -> Response:
    account = _account(call, ident)
    tokens = _tokens(call, ident)
    told = {"status": acted.status, "problem": acted.problem} if acted is not None else {}
    return page(
        call,
        "people/account.html",
        account=account,
        organisation=views.organisation(call.web.database, call.caller.subject, account.organisation_id),
        tokens=[one for one in tokens if one.token.kind == TokenKind.TOKEN],
        sessions=[one for one in tokens if one.token.kind != TokenKind.TOKEN and one.state == "active"],
        places=sum(one.token.kind == TokenKind.SESSION and one.state == "active" for one in tokens),
        own=ident == call.caller.subject.id,
        may=call.caller.subject.role == "admin" or ident == call.caller.subject.id,
        is_admin=call.caller.subject.role == "admin",
        form=form,
        scopes=SCOPES,
        lives=LIVES,
        here=f"{PEOPLE}/{ident}",
        **told,  # type: ignore[arg-type]
    )


def new_account(call: Call) -> Response:
    chosen = given(call.query.organisation)
    form = Form.of(role="member", organisation_id=_shown_organisation(call, chosen))
    return page(call, "people/new_account.html", form=form, organisations=_choices(call), roles=ROLES.items())


def make_account(call: Call) -> Response:
    """The account, and its first token, which is shown now and never again."""
    form = form_of(call)
    body = {name: form.value(name) for name in ("organisation_id", "name", "role")}
    named = views.organisation_named(call.web.database, call.caller.subject, body["organisation_id"])
    body |= {} if named is None else {"organisation_id": named.id}
    acted = act(call, _API["create_account"], {}, body)
    if not acted.decided:
        template = "people/new_account.html"
        return acted_or_shown(
            call, acted, to=PEOPLE, template=template, organisations=_choices(call), roles=ROLES.items()
        )
    to = f"{PEOPLE}/{acted.answer['id']}"
    return _shown_once(call, f"The account of {form.value('name')}", acted.answer.get("token"), to)


def new_organisation(call: Call) -> Response:
    return page(call, "people/new_organisation.html", form=Form())


def make_organisation(call: Call) -> Response:
    acted = act(call, _API["create_organisation"], {}, {"name": form_of(call).value("name")})
    return acted_or_shown(call, acted, to=f"{PEOPLE}?organisation={{id}}", template="people/new_organisation.html")


def issue(call: Call) -> Response:
    """A further token of the account, which is shown now and never again."""
    account, form = _account(call, call.id("account_id")), form_of(call)
    acted = act(call, _API["issue_token"], {}, _wanted(call, form, "account", account.id))
    if acted.decided:
        what = f"The token “{form.value('label')}” of {account.name}"
        return _shown_once(call, what, acted.answer.get("token"), f"{PEOPLE}/{account.id}")
    if acted.ok:
        return sent_on(acted, f"{PEOPLE}/{account.id}")
    assert acted.problem is not None
    return _account_page(call, account.id, form.with_error(_field_of(acted), at_field(acted.problem)), acted)


def issue_sign_in(call: Call) -> Response:
    """A link that signs the account in once, which is shown now and never again."""
    account = _account(call, call.id("account_id"))
    acted = act(call, _API["issue_sign_in"], {}, {"account_id": account.id, "for_s": SIGN_IN_MIN * 60})
    if not acted.decided:
        return _account_page(call, account.id, None, acted)
    code = acted.answer.get("token")
    link = None if code is None else f"{call.request.host_url.rstrip('/')}{SIGN_IN}?code={code}"
    return _shown_once(call, f"A sign-in link for {account.name}", link, f"{PEOPLE}/{account.id}", link=True)


def end_sessions(call: Call) -> Response:
    account = _account(call, call.id("account_id"))
    acted = act(call, _API["end_sessions"], {"account_id": account.id})
    return sent_on(acted, f"{PEOPLE}/{account.id}") if acted.ok else _account_page(call, account.id, None, acted)


def disable(call: Call) -> Response:
    account = _account(call, call.id("account_id"))
    acted = act(call, _API["disable_account"], {"account_id": account.id})
    return sent_on(acted, f"{PEOPLE}/{account.id}") if acted.ok else _account_page(call, account.id, None, acted)


def tokens(call: Call) -> Response:
    """Every token that is in force and that the caller may know of: also those of sites."""
    return _tokens_page(call, given(call.query.owner))


def issue_for_site(call: Call) -> Response:
    """A further token of a site, which is shown now and never again."""
    site, form = call.id("site_id"), form_of(call)
    found = _site(call, site)
    if found is None:
        raise not_found("site", site)
    acted = act(call, _API["issue_token"], {}, _wanted(call, form, "site", site))
    here = href(TOKENS, owner=site)
    if acted.decided:
        what = f"The token “{form.value('label')}” of the site {found.name}"
        return _shown_once(call, what, acted.answer.get("token"), here)
    if acted.ok:
        return sent_on(acted, here)
    assert acted.problem is not None
    return _tokens_page(call, site, acted, form.with_error(_field_of(acted), at_field(acted.problem)))


def _tokens_page(call: Call, owner: Id | None, acted: Acted | None = None, form: Form | None = None) -> Response:
    paging = call.paging if isinstance(call.query, TokensQuery) else Paging(AT_ONCE)
    found = views.tokens(
        call.web.database,
        call.caller.subject,
        paging,
        owner,
        kind=TokenKind.TOKEN,
        in_force_at=call.web.hub.clock.now(),
    )
    here, site = TOKENS, None if owner is None else _site(call, owner)
    told = {"status": acted.status, "problem": acted.problem} if acted is not None else {}
    return page(
        call,
        "people/tokens.html",
        tokens=_as_shown(call, found.items),
        here=href(here, owner=owner),
        site=site,
        form=form,
        scopes=SCOPES,
        lives=LIVES,
        first=href(here, owner=owner) if paging.after else "",
        next=href(here, owner=owner, after=found.next) if found.next else "",
        **told,  # type: ignore[arg-type]
    )


def revoke(call: Call) -> Response:
    """A token, or a session, of anybody's whose tokens the caller may revoke."""
    back = place(form_of(call).value("next"), TOKENS)
    acted = act(call, _API["revoke_token"], {"token_id": call.id("token_id")})
    return sent_on(acted, back) if acted.ok else _tokens_page(call, None, acted)


def _field_of(acted: Acted) -> str:
    """Of the form that issues a token, which asks for days in place of a time."""
    return {"expires_at": "days"}.get(acted.field or "", acted.field or "label")


def _site(call: Call, ident: Id) -> Site | None:
    return sites.site(call.web.database, call.caller.subject, ident)


def _wanted(call: Call, form: Form, kind: str, owner: Id) -> dict[str, object]:
    body: dict[str, object] = {
        "label": form.value("label"),
        "scopes": form.value("scopes", "read write").split(),
        "owner_kind": kind,
        "owner_id": owner,
    }
    if (days := form.value("days", "30")) != "never":
        now = datetime.fromtimestamp(call.web.hub.clock.now() // SECOND, UTC)
        counted = days.isdecimal() and len(days) <= MAX_DAYS_DIGITS
        body["expires_at"] = (now + timedelta(days=int(days))).isoformat() if counted else days
    return body


def _shown_once(call: Call, what: str, secret: object, to: str, *, link: bool = False) -> Response:
    return page(call, "people/shown_once.html", what=what, secret=secret, href=to, link=link, minutes=SIGN_IN_MIN)


def _account(call: Call, ident: Id) -> Account:
    found = views.account(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("account", ident)
    return found


def _choices(call: Call) -> list[tuple[Id, str]]:
    """The organisations to choose from; none where there are too many: then one is named."""
    found = views.organisations(call.web.database, call.caller.subject, Paging(AT_ONCE))
    return [] if found.next else [(one.id, one.name) for one in found.items]


def _shown_organisation(call: Call, ident: Id | None) -> str:
    """How a form begins: with its id where one chooses, with its name where one types it."""
    found = None if ident is None else views.organisation(call.web.database, call.caller.subject, ident)
    return "" if found is None else found.id if _choices(call) else found.name


def _tokens(call: Call, owner: Id) -> list[ShownToken]:
    """The account's tokens and sessions that are in force, and of the tokens that are over the newest; if the caller
    may know of them."""
    database, subject, now = call.web.database, call.caller.subject, call.web.hub.clock.now()
    in_force = every(lambda paging: views.tokens(database, subject, paging, owner, in_force_at=now), AT_ONCE)
    newest = views.tokens(database, subject, Paging(SHOWN_OVER), owner, kind=TokenKind.TOKEN, newest_first=True).items
    known = {one.id for one in in_force}
    over = [one for one in reversed(newest) if one.id not in known]
    return _as_shown(call, [*in_force, *over])


def _as_shown(call: Call, found: list[Token]) -> list[ShownToken]:
    now = time_text(call.web.hub.clock.now())
    names = views.names(call.web.database, [one.owner_id for one in found])
    return [
        ShownToken(one, _state(one, now), names.get(one.owner_id, one.owner_id), one.id == call.caller.token_id)
        for one in found
    ]


def _state(token: Token, now: str) -> Literal["active", "expired", "revoked", "used"]:
    if token.revoked_at is not None:
        return "used" if token.kind == TokenKind.SIGN_IN else "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "active"


OPERATIONS = (
    shows("people", "page_people", "Accounts and organisations", listed, query=PeopleQuery),
    shows("people/new", "page_new_account", "Who shall have an account", new_account, query=PeopleQuery),
    takes("people/new", "make_account", "Make an account", make_account),
    shows("people/{account_id}", "page_account", "An account, its tokens and sessions", shown),
    takes("people/{account_id}/tokens", "issue_account_token", "Issue a token of an account", issue),
    takes("people/{account_id}/sign-in", "issue_account_sign_in", "Make a link that signs in once", issue_sign_in),
    takes("people/{account_id}/sign-out", "end_account_sessions", "Sign an account out everywhere", end_sessions),
    takes("people/{account_id}/disable", "take_account_out", "Disable an account", disable),
    shows("sessions", "page_sessions", "One's own account: where one is signed in", own),
    shows("organisations", "page_organisations", "Organisations", organisations, query=ShownList),
    shows("organisations/new", "page_new_organisation", "Which organisation joins the network", new_organisation),
    takes("organisations/new", "make_organisation", "Make an organisation", make_organisation),
    shows("tokens", "page_tokens", "Tokens in force, of people and of sites", tokens, query=TokensQuery),
    takes("sites/{site_id}/tokens", "issue_site_token", "Issue a token of a site", issue_for_site),
    takes("tokens/{token_id}/revoke", "take_token_back", "Revoke a token, or end a session", revoke),
)
