"""Sites: who is there and how they do, one site with its keys, and enrolling another one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from flask import Response

from domain.ids import Id
from domain.states import KeyState, SiteState
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.look.forms import Form
from fedyard.wire.times import time_text
from storage.views import events, keys, people, runs
from storage.views import projects as projects_views
from storage.views import sites as views
from storage.views.resources import Site, SiteKey
from storage.views.sight import Paging, sees_everything
from web.api import enrolments as enrolments_api
from web.api import keys as keys_api
from web.api import sites as api
from web.http.calls import Call
from web.page.acting import Acted, act, acted_or_shown
from web.page.fingerprints import fingerprint_of
from web.page.forms import form_of
from web.page.links import next_page
from web.page.plain import at_field
from web.page.qr import qr_of
from web.page.rendering import WHERE, IdOrNone, Shown, ShownList, page, shows, takes
from web.problems import not_found

LIST = f"{WHERE}/sites"
EVENTS_SHOWN = 20
PROJECTS_SHOWN = 50
RUNS_SHOWN = 20
CHOICES = 50
_API = {one.name: one for one in (*api.OPERATIONS, *keys_api.OPERATIONS, *enrolments_api.OPERATIONS)}
StateOrNone: TypeAlias = Literal["", "online", "silent", "retired"]
EXPIRES = ((86_400, "one day"), (604_800, "seven days"), (2_592_000, "thirty days"))


class SitesShown(ShownList, frozen=True):
    """Empty: of every state, every organisation, every project."""

    state: StateOrNone = ""
    organisation: IdOrNone = ""
    project: IdOrNone = ""


@dataclass(frozen=True)
class KeyShown:
    """A sealing key. Times are microseconds, as they were signed."""

    key: SiteKey
    current: bool


def listed(call: Call) -> Response:
    web, subject, query = call.web, call.caller.subject, call.query
    said = {"state": query.state, "organisation": query.organisation, "project": query.project}
    found = views.sites(
        web.database,
        subject,
        call.paging,
        state=query.state or None,
        organisation=query.organisation or None,
        project=query.project or None,
    )
    filtered = any(said.values())
    return page(
        call,
        "sites/list.html",
        sites=found.items,
        by_state=views.by_state(web.database, subject),
        health=views.health(web.database, subject, [one.id for one in found.items]),
        organisations=organisations(call, [one.organisation_id for one in found.items]),
        choices=choices(call),
        states=["", *SiteState],
        form=Form.of(**said),
        filtered=filtered,
        next=next_page(LIST, found.next, **said),
        first=LIST if call.paging.after is not None or filtered else "",
        may_enrol=subject.role == "admin",
    )


def read(call: Call) -> Response:
    return _shown(call, call.id("site_id"))


def _shown(call: Call, ident: Id, *, status: int = 200, **more: object) -> Response:
    web, subject = call.web, call.caller.subject
    site = _known(call, ident)
    told = keys.of_site(web.database, subject, ident, Paging(200))
    takes_part = projects_views.projects(
        web.database, subject, Paging(PROJECTS_SHOWN), name=None, coordinator=None, member=ident
    )
    may_see_events = views.may_see_site_events(web.database, subject, ident)
    facts: dict[str, object] = {
        "site": site,
        "finger": fingerprint_of(site.identity_key),
        "health": views.health(web.database, subject, [ident]).get(ident),
        "organisation": organisations(call, [site.organisation_id]).get(site.organisation_id),
        "keys": [KeyShown(one, one.state == KeyState.CURRENT) for one in reversed(told.items if told else [])],
        "projects": takes_part.items,
        "names": {one.id: one.name for one in takes_part.items},
        "more_projects": takes_part.next is not None,
        "runs": runs.runs(
            web.database,
            subject,
            Paging(RUNS_SHOWN),
            state=None,
            project=None,
            site=ident,
            live=True,
            newest_first=True,
        ).items,
        "events": events.newest(web.database, ident, EVENTS_SHOWN) if may_see_events else [],
        "may_see_events": may_see_events,
        "may_change": acts_for(call, site) or subject.role == "admin",
        "form": Form.of(description=site.description),
    }
    return page(call, "sites/site.html", status=status, **{**facts, **more})


def describe(call: Call) -> Response:
    ident, form = call.id("site_id"), form_of(call)
    body = {"description": form.value("description")}
    acted = act(call, _API["update_site"], {"site_id": ident}, body)
    return _seen_to(call, ident, acted, form)


def retire(call: Call) -> Response:
    ident = call.id("site_id")
    return _seen_to(call, ident, act(call, _API["retire_site"], {"site_id": ident}))


def revoke_key(call: Call) -> Response:
    ident = call.id("site_id")
    path = {"site_id": ident, "epoch": call.count("epoch")}
    return _seen_to(call, ident, act(call, _API["revoke_site_key"], path, form_of(call).body("reason")))


def _seen_to(call: Call, ident: Id, acted: Acted, form: Form | None = None) -> Response:
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{LIST}/{ident}", template="")
    assert acted.problem is not None
    more: dict[str, object] = {"problem": acted.problem}
    if form is not None:
        more["form"] = form.with_error(acted.field, at_field(acted.problem)) if acted.field else form
    return _shown(call, ident, status=acted.status, **more)


def enrol_form(call: Call) -> Response:
    return _enrolling(call, Form.of(expires_in_s=EXPIRES[0][0], organisation_id=call.caller.subject.organisation_id))


def _enrolling(call: Call, form: Form, *, status: int = 200, **more: object) -> Response:
    subject = call.caller.subject
    found = people.enrolments(call.web.database, Paging(200)) if sees_everything(subject) else None
    made = list(reversed(found.items)) if found else []
    return page(
        call,
        "sites/enrol.html",
        status=status,
        form=form,
        organisations=organisations(call, [one.organisation_id for one in made]),
        choices=choices(call),
        expires=EXPIRES,
        enrolments=made,
        may_enrol=subject.role == "admin",
        now_text=time_text(call.web.hub.clock.now()),
        **more,
    )


def enrol(call: Call) -> Response:
    """The token is in this answer alone: nobody can show it again."""
    form = form_of(call)
    body = form.body("note", "expires_in_s") | {"organisation_id": _chosen(call, form.value("organisation_id").strip())}
    acted = act(call, _API["create_enrolment"], body=body)
    if not acted.ok:
        assert acted.problem is not None
        form = form.with_error(acted.field, at_field(acted.problem)) if acted.field else form
        return _enrolling(call, form, status=acted.status, problem=acted.problem)
    token = acted.answer.get("token")
    command = command_of(hub_url(call), token) if token else ""
    return page(
        call,
        "sites/enrolled.html",
        decided=acted.decided,
        token=token,
        command=command,
        qr=qr_of(command) if command else None,
        expires_in_s=float(form.value("expires_in_s") or EXPIRES[0][0]),
    )


def revoke_enrolment(call: Call) -> Response:
    acted = act(call, _API["revoke_enrolment"], {"enrolment_id": call.id("enrolment_id")})
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{LIST}/enrol", template="")
    form = Form.of(expires_in_s=EXPIRES[0][0])
    return _enrolling(call, form, status=acted.status, problem=acted.problem)


# what several pages show


def command_of(hub: str, token: str) -> str:
    """The line for a shell with which a site enrols."""
    return f"{ENROLMENT_TOKEN}={shlex.quote(token)} fedyard site init --hub {shlex.quote(hub)} --name NAME"


def hub_url(call: Call) -> str:
    """Where the browser reaches this hub: what it says itself, as far as it speaks of the host that it asked."""
    said = urlsplit(call.request.headers.get("Origin", ""))
    if said.scheme in ("http", "https") and said.netloc == call.request.host:
        return f"{said.scheme}://{said.netloc}"
    return call.request.host_url.rstrip("/")


def organisations(call: Call, wanted: Iterable[Id]) -> Mapping[Id, str]:
    """Names of those of the organisations that the caller may know of."""
    subject = call.caller.subject
    known = set(wanted) if sees_everything(subject) else set(wanted) & {subject.organisation_id}
    return people.names(call.web.database, known)


def choices(call: Call) -> list[tuple[Id, str]]:
    """The organisations to choose from; none where there are too many: then one is named."""
    found = people.organisations(call.web.database, call.caller.subject, Paging(CHOICES))
    return [] if found.next else [(one.id, one.name) for one in found.items]


def _chosen(call: Call, said: str) -> str:
    """The id of the organisation that was chosen, or named; what names none stays as it is."""
    named = people.organisation_named(call.web.database, call.caller.subject, said) if said else None
    return said if named is None else named.id


def acts_for(call: Call, site: Site) -> bool:
    subject = call.caller.subject
    return subject.role in ("admin", "member") and subject.organisation_id == site.organisation_id


def _known(call: Call, ident: Id) -> Site:
    found = views.site(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("site", ident)
    return found


OPERATIONS = (
    shows("sites", "page_sites", "Sites, and how they do", listed, query=SitesShown),
    shows("sites/enrol", "page_enrol", "Enrol a site", enrol_form, query=Shown),
    takes("sites/enrol", "page_create_enrolment", "Enrol a site", enrol),
    takes("sites/enrol/{enrolment_id}/revoke", "page_revoke_enrolment", "Revoke an enrolment", revoke_enrolment),
    shows("sites/{site_id}", "page_site", "A site", read),
    takes("sites/{site_id}/describe", "page_describe_site", "Describe a site anew", describe),
    takes("sites/{site_id}/retire", "page_retire_site", "Retire a site", retire),
    takes("sites/{site_id}/keys/{epoch}/revoke", "page_revoke_key", "Revoke a sealing key", revoke_key),
)
