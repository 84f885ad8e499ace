"""Webhooks: where an organisation or a project is told of what happens; what was told, and what is told again."""

from __future__ import annotations

from typing import Literal, get_args

from flask import Response
from msgspec import UNSET, UnsetType

from domain.ids import Id, is_id
from domain.values import WebhookKind
from fedyard.look.forms import Form
from fedyard.wire.plurals import counted
from storage.views import people, projects
from storage.views import webhooks as views
from storage.views.resources import Webhook
from storage.views.sight import Paging
from web.api.table import operations
from web.http.bodies import Uuid
from web.http.calls import Call, given
from web.page.acting import Acted, act, acted_or_shown, sent_on
from web.page.forms import form_of
from web.page.links import href, utc_text
from web.page.plain import at_field
from web.page.rendering import WHERE, ShownList, page, shows, takes
from web.problems import not_found

_API = {one.name: one for one in operations()}
WEBHOOKS = f"{WHERE}/webhooks"
AT_ONCE = 200
KINDS: tuple[tuple[WebhookKind, str], ...] = (
    ("run.ended", "a run ended"),
    ("seat.left_out", "a seat was left out of a round"),
    ("round.failed", "a round of a project's own coordinator failed"),
    ("workload.failed", "a workload failed"),
    ("site.silent", "a site fell silent"),
    ("site.returned", "a silent site came back"),
    ("identity.conflict", "somebody saw two identities of one site"),
    ("dead_letter.found", "a command could not be decided (admins alone)"),
)
assert {kind for kind, _ in KINDS} == set(get_args(WebhookKind)), "each kind has its words"


class NewQuery(ShownList, frozen=True):
    owner: Uuid | UnsetType = UNSET


class DeliveriesQuery(ShownList, frozen=True):
    state: Literal["all", "waiting", "delivered", "failed"] = "all"


def listed(call: Call) -> Response:
    database = call.web.database
    found = views.seen(database, call.caller.subject, call.paging)
    disabled = sum(one.state == "disabled" for one in found.items)
    return page(
        call,
        "webhooks/webhooks.html",
        webhooks=found.items,
        owners=_owner_names(call, found.items),
        disabled=disabled,
        first=WEBHOOKS if call.paging.after else "",
        next=href(WEBHOOKS, after=found.next) if found.next else "",
        said_of=counted(len(found.items), "webhook"),
    )


def shown(call: Call) -> Response:
    return _webhook_page(call)


def _webhook_page(call: Call, form: Form | None = None, acted: Acted | None = None) -> Response:
    found, state, paging = _webhook(call), "all", Paging(50)
    if isinstance(call.query, DeliveriesQuery):
        state, paging = call.query.state, call.paging
    deliveries = views.deliveries(
        call.web.database, call.caller.subject, found.id, paging, None if state == "all" else state, newest_first=True
    )
    assert deliveries is not None, "who sees a webhook sees what it was told"
    here = f"{WEBHOOKS}/{found.id}"
    return page(
        call,
        "webhooks/webhook.html",
        status=200 if acted is None else acted.status,
        problem=None if acted is None else acted.problem,
        webhook=found,
        owner=_owner_names(call, [found]).get(found.owner_id, found.owner_id),
        words=dict(KINDS),
        deliveries=deliveries.items,
        state=state,
        form=form or Form.of(state=state),
        here=here,
        first=href(here, state=state) if paging.after else "",
        next=href(here, state=state, after=deliveries.next) if deliveries.next else "",
        may=call.caller.subject.role != "auditor",
    )


def new(call: Call) -> Response:
    chosen = _seen_organisation(call, given(call.query.owner))
    form = Form.of(owner=given(call.query.owner) or "", kinds=["run.ended"])
    return page(call, "webhooks/new.html", form=form, owners=_owners(call, chosen), kinds=KINDS)


def make(call: Call) -> Response:
    """The webhook, and its secret, which is shown now and never again."""
    form = form_of(call)
    owner = form.value("owner")
    projects_of = {ident for ident, _ in _projects(call)}
    kind = "project" if owner in projects_of else "organisation"
    body = {"url": form.value("url"), "kinds": list(form.all("kinds")), "description": form.value("description")}
    acted = act(call, _API[f"create_{kind}_webhook"], {f"{kind}_id": owner}, body)
    if acted.decided:
        return _secret_shown(call, acted, form.value("url"))
    return acted_or_shown(
        call,
        acted,
        to=WEBHOOKS,
        template="webhooks/new.html",
        owners=_owners(call, _seen_organisation(call, owner)),
        kinds=KINDS,
    )


def rotate(call: Call) -> Response:
    found = _webhook(call)
    acted = act(call, _API["rotate_webhook"], {"webhook_id": found.id})
    return _secret_shown(call, acted, found.url) if acted.decided else _sent_or_shown(call, acted)


def enable(call: Call) -> Response:
    return _sent_or_shown(call, act(call, _API["enable_webhook"], {"webhook_id": call.id("webhook_id")}))


def delete(call: Call) -> Response:
    acted = act(call, _API["delete_webhook"], {"webhook_id": call.id("webhook_id")})
    return sent_on(acted, WEBHOOKS) if acted.ok else _webhook_page(call, None, acted)


def redeliver(call: Call) -> Response:
    """One delivery, or all that failed since a time."""
    form = form_of(call)
    delivery, since = form.value("delivery_id"), form.value("since")
    body = {"delivery_id": delivery} if delivery else {"since": utc_text(since)}
    acted = act(call, _API["redeliver_webhook"], {"webhook_id": call.id("webhook_id")}, body)
    return _sent_or_shown(call, acted, form)


def _sent_or_shown(call: Call, acted: Acted, form: Form | None = None) -> Response:
    if acted.ok:
        return sent_on(acted, f"{WEBHOOKS}/{call.id('webhook_id')}")
    assert acted.problem is not None
    if form is not None:
        form = form.with_error("since", at_field(acted.problem))
    return _webhook_page(call, form, acted)


def _secret_shown(call: Call, acted: Acted, url: str) -> Response:
    to = f"{WEBHOOKS}/{acted.answer['id']}"
    return page(call, "webhooks/secret.html", secret=acted.answer["secret"], url=url, href=to)


def _webhook(call: Call) -> Webhook:
    found = views.webhook(call.web.database, call.caller.subject, call.id("webhook_id"))
    if found is None:
        raise not_found("webhook", call.id("webhook_id"))
    return found


def _owner_names(call: Call, found: list[Webhook]) -> dict[Id, str]:
    database, subject = call.web.database, call.caller.subject
    ids = [one.owner_id for one in found]
    return {**people.names(database, ids), **projects.names_of(database, subject, ids)}


def _owners(call: Call, chosen: Id | None = None) -> list[tuple[Id, str]]:
    """Whom the caller may have told: organisations, and projects that it coordinates. chosen: one that is among them,
    however many there are."""
    database, subject = call.web.database, call.caller.subject
    organisations = people.organisations(database, subject, Paging(AT_ONCE)).items
    known = {one.id: one.name for one in organisations} | ({} if chosen is None else people.names(database, [chosen]))
    return [
        *known.items(),
        *((ident, f"the project {name}") for ident, name in _projects(call)),
    ]


def _seen_organisation(call: Call, ident: str | None) -> Id | None:
    found = people.organisation(call.web.database, call.caller.subject, ident) if ident and is_id(ident) else None
    return None if found is None else found.id


def _projects(call: Call) -> list[tuple[Id, str]]:
    """That the caller coordinates; of an admin the newest."""
    return views.projects_told(call.web.database, call.caller.subject, AT_ONCE)


OPERATIONS = (
    shows("webhooks", "page_webhooks", "Where somebody is told of what happens", listed, query=ShownList),
    shows("webhooks/new", "page_new_webhook", "Who shall be told of what", new, query=NewQuery),
    takes("webhooks/new", "make_webhook", "Have somebody told of what happens", make),
    shows("webhooks/{webhook_id}", "page_webhook", "A webhook and what it was told", shown, query=DeliveriesQuery),
    takes("webhooks/{webhook_id}/rotate", "rotate_secret", "Another secret", rotate),
    takes("webhooks/{webhook_id}/enable", "tell_again", "Tell a disabled webhook again", enable),
    takes("webhooks/{webhook_id}/delete", "tell_no_more", "Tell it nothing more", delete),
    takes("webhooks/{webhook_id}/redeliver", "redeliver", "Tell it once more", redeliver),
)
