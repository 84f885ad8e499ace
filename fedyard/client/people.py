"""Calls about people and what they look after: organisations, accounts, tokens, enrolments, sites, webhooks, events.

An agent asks for none of these; those that it asks for are the client's own (client.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from fedyard.client.calls import Calls, page_of
from fedyard.client.listed import Listed
from fedyard.wire import answers as a
from fedyard.wire import network_answers as n

Role = Literal["admin", "member", "auditor"]
DAY_S = 86_400.0


class PeoplesCalls(Calls):
    """What accounts may ask of the hub. Raises as `Calls` does. key: as drawn before, for a repeat after a restart."""

    # organisations and accounts

    def create_organisation(self, name: str, *, key: str | None = None) -> a.Created:
        """An admin's call."""
        return self.write("POST", "/v1/organisations", {"name": name}, a.Created, key=key)

    def organisation(self, organisation_id: str) -> a.Organisation:
        return self.read(f"/v1/organisations/{_part(organisation_id)}", a.Organisation)

    def create_account(
        self,
        organisation_id: str,
        name: str,
        role: Role,
        *,
        token_expires_at: datetime | None = None,
        key: str | None = None,
    ) -> a.Created:
        """A person's account, with its first token, which is shown this once. An admin's call."""
        body = {
            "organisation_id": organisation_id,
            "name": name,
            "role": role,
            "token_expires_at": token_expires_at,
        }
        return self.write("POST", "/v1/accounts", _said(body), a.Created, key=key)

    def accounts(self, *, organisation_id: str | None = None) -> list[n.Account]:
        return Listed(self.every("/v1/accounts", {"organisation": organisation_id}, n.Account))

    def account(self, account_id: str) -> n.Account:
        return self.read(f"/v1/accounts/{_part(account_id)}", n.Account)

    def disable_account(self, account_id: str, *, key: str | None = None) -> a.Changed:
        """Its tokens and sessions end with it."""
        return self.write("DELETE", f"/v1/accounts/{_part(account_id)}", None, a.Changed, key=key)

    def end_sessions(self, account_id: str, *, key: str | None = None) -> n.EndedSessions:
        """Sign an account out of the hub's page everywhere."""
        path = f"/v1/accounts/{_part(account_id)}/sessions"
        return self.write("DELETE", path, None, n.EndedSessions, key=key)

    def issue_sign_in(self, account_id: str | None = None, *, for_s: float = 600.0, key: str | None = None) -> n.SignIn:
        """A one-time code that signs in to the hub's page: for oneself, or as an admin for another account."""
        body = _said({"account_id": account_id, "for_s": for_s})
        return self.write("POST", "/v1/sign-ins", body, n.SignIn, key=key)

    # tokens and enrolments

    def issue_token(
        self,
        label: str,
        *,
        owner_kind: Literal["account", "site"] | None = None,
        owner_id: str | None = None,
        scopes: Sequence[Literal["read", "write"]] = ("read", "write"),
        expires_at: datetime | None = None,
        key: str | None = None,
    ) -> a.Created:
        """A further token, for oneself where no owner is named; its secret is shown this once."""
        body = {
            "label": label,
            "owner_kind": owner_kind,
            "owner_id": owner_id,
            "scopes": list(scopes),
            "expires_at": expires_at,
        }
        return self.write("POST", "/v1/tokens", _said(body), a.Created, key=key)

    def enrolments(self) -> list[n.Enrolment]:
        return Listed(self.every("/v1/enrolments", {}, n.Enrolment))

    def revoke_enrolment(self, enrolment_id: str, *, key: str | None = None) -> a.Changed:
        return self.write("DELETE", f"/v1/enrolments/{_part(enrolment_id)}", None, a.Changed, key=key)

    # sites

    def site(self, site_id: str) -> a.Site:
        return self.read(f"/v1/sites/{_part(site_id)}", a.Site)

    def update_site(self, site_id: str, description: str, *, key: str | None = None) -> a.Changed:
        return self.write("PATCH", f"/v1/sites/{_part(site_id)}", {"description": description}, a.Changed, key=key)

    def retire_site(self, site_id: str, *, key: str | None = None) -> a.Changed:
        """For good: its tokens and keys end, and it leaves every project."""
        return self.write("DELETE", f"/v1/sites/{_part(site_id)}", None, a.Changed, key=key)

    def site_events(self, site_id: str, *, after: int = 0) -> list[a.Event]:
        """The site's events after that number, a page at most."""
        return Listed(self.read(f"/v1/sites/{_part(site_id)}/events", page_of(a.Event), {"after": after}).items)

    # projects

    def archive_project(self, project_id: str, *, key: str | None = None) -> a.Changed:
        """For good: no run begins in it any more."""
        return self.write("DELETE", f"/v1/projects/{_part(project_id)}", None, a.Changed, key=key)

    def project_events(self, project_id: str, *, after: int = 0) -> list[a.Event]:
        """The project's events after that number, a page at most."""
        return Listed(self.read(f"/v1/projects/{_part(project_id)}/events", page_of(a.Event), {"after": after}).items)

    # webhooks

    def create_webhook(
        self,
        url: str,
        kinds: Sequence[str],
        *,
        project_id: str | None = None,
        organisation_id: str | None = None,
        description: str = "",
        key: str | None = None,
    ) -> n.WebhookSecret:
        """Of a project, or of an organisation: name one of them. kinds: of what to be told, as docs/api.md has them."""
        body = {"url": url, "kinds": list(kinds), "description": description}
        return self.write("POST", f"{_owner(project_id, organisation_id)}/webhooks", body, n.WebhookSecret, key=key)

    def webhooks(self, *, project_id: str | None = None, organisation_id: str | None = None) -> list[n.Webhook]:
        """Of a project, of an organisation, or all that the caller may see."""
        owner = _owner(project_id, organisation_id) if project_id or organisation_id else "/v1"
        return Listed(self.every(f"{owner}/webhooks", {}, n.Webhook))

    def webhook(self, webhook_id: str) -> n.Webhook:
        return self.read(f"/v1/webhooks/{_part(webhook_id)}", n.Webhook)

    def delete_webhook(self, webhook_id: str, *, key: str | None = None) -> a.Changed:
        return self.write("DELETE", f"/v1/webhooks/{_part(webhook_id)}", None, a.Changed, key=key)

    def rotate_webhook(self, webhook_id: str, *, key: str | None = None) -> n.WebhookSecret:
        """Its next secret."""
        return self.write("POST", f"/v1/webhooks/{_part(webhook_id)}/rotate", None, n.WebhookSecret, key=key)

    def enable_webhook(self, webhook_id: str, *, key: str | None = None) -> a.Changed:
        return self.write("POST", f"/v1/webhooks/{_part(webhook_id)}/enable", None, a.Changed, key=key)

    def redeliver_webhook(
        self,
        webhook_id: str,
        *,
        delivery_id: str | None = None,
        since: datetime | None = None,
        key: str | None = None,
    ) -> a.Changed:
        """Either one delivery, or all that failed and were made since then."""
        body = _said({"delivery_id": delivery_id, "since": since})
        return self.write("POST", f"/v1/webhooks/{_part(webhook_id)}/redeliver", body, a.Changed, key=key)

    def deliveries(self, webhook_id: str, *, state: str | None = None) -> list[n.WebhookDelivery]:
        """state: waiting, delivered or failed."""
        path = f"/v1/webhooks/{_part(webhook_id)}/deliveries"
        return Listed(self.every(path, {"state": state}, n.WebhookDelivery))

    # what happened

    def audit(
        self,
        *,
        subject: str | None = None,
        about: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[a.Event]:
        """Events everywhere, as far as the caller may see them. subject: who did it. about: the project, site,
        organisation or run. since: 30 days before `until`, if nobody says so."""
        query = {"subject": subject, "about": about, "kind": kind, "since": _time(since), "until": _time(until)}
        return Listed(self.every("/v1/events", query, a.Event))

    def verify_events(self, *, after: str | None = None) -> n.Verification:
        """Whether a part of the chains of events is whole; `after`: the `next` of the part before."""
        return self.read("/v1/events/verification", n.Verification, {"after": after})

    def concerns(self) -> list[n.Concern]:
        """What needs somebody: this list has no pages."""
        return Listed(self.read("/v1/concerns", page_of(n.Concern)).items)


def _owner(project_id: str | None, organisation_id: str | None) -> str:
    if project_id is not None and organisation_id is None:
        return f"/v1/projects/{_part(project_id)}"
    if organisation_id is not None and project_id is None:
        return f"/v1/organisations/{_part(organisation_id)}"
    raise TypeError("a webhook is of a project or of an organisation: name one of them")


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _said(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}


def _part(text: str) -> str:
    return quote(text, safe="")
