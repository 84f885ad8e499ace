"""Webhooks: where an organisation or a project wants to be told of what happens; and what was told."""

from __future__ import annotations

from typing import Literal

from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import CreateWebhook, DeleteWebhook, EnableWebhook, RedeliverWebhook, RotateWebhook
from domain.results import Made
from domain.values import Text, WebhookKinds, WebhookOwner, WebhookUrl
from domain.webhooks import secret_of, shown_secret
from fedyard.wire.problems import ProblemType
from storage.views import webhooks as views
from storage.views.resources import Webhook, WebhookDelivery
from storage.views.sight import Listed
from web.api.results import WebhookSecret
from web.api.secret import micros_of
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery, Time, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import Shows, write
from web.problems import Refused, not_found


class NewWebhook(Body, frozen=True):
    """kinds: of what to be told."""

    url: WebhookUrl
    kinds: WebhookKinds
    description: Text = ""


class Redelivery(Body, frozen=True):
    """Either one delivery, or all that failed and were made since then."""

    delivery_id: Uuid | None = None
    since: Time | None = None


class DeliveriesQuery(PageQuery, frozen=True):
    state: Literal["waiting", "delivered", "failed"] | UnsetType = UNSET
    order: Literal["oldest", "newest"] = "oldest"


def create_of_organisation(call: Call) -> Response:
    return _create(call, "organisation", call.id("organisation_id"))


def create_of_project(call: Call) -> Response:
    return _create(call, "project", call.id("project_id"))


def _create(call: Call, owner_kind: WebhookOwner, owner: str) -> Response:
    body: NewWebhook = call.body
    command = CreateWebhook(
        owner_kind=owner_kind,
        owner_id=owner,
        url=body.url,
        kinds=sorted(set(body.kinds)),
        description=body.description,
    )
    return write(call, command, made="/v1/webhooks/{id}", waits=True, shows=_secret(call))


def rotate(call: Call) -> Response:
    return write(call, RotateWebhook(webhook_id=call.id("webhook_id")), waits=True, shows=_secret(call))


def _secret(call: Call) -> Shows:
    """Derived when it is shown: the outcome of the command, which is stored, does not have it."""
    return lambda made: {"secret": shown_secret(secret_of(call.web.webhook_key, made["id"], made["version"]))}


def listed(call: Call) -> Response:
    return answer(views.seen(call.web.database, call.caller.subject, call.paging))


def list_of_organisation(call: Call) -> Response:
    return _listed(call, "organisation", call.id("organisation_id"))


def list_of_project(call: Call) -> Response:
    return _listed(call, "project", call.id("project_id"))


def _listed(call: Call, owner_kind: WebhookOwner, owner: str) -> Response:
    found = views.webhooks(call.web.database, call.caller.subject, owner_kind, owner, call.paging)
    if found is None:
        raise not_found(owner_kind, owner)
    return answer(found)


def read(call: Call) -> Response:
    found = views.webhook(call.web.database, call.caller.subject, call.id("webhook_id"))
    if found is None:
        raise not_found("webhook", call.id("webhook_id"))
    return answer(found)


def delete(call: Call) -> Response:
    return write(call, DeleteWebhook(webhook_id=call.id("webhook_id")))


def enable(call: Call) -> Response:
    return write(call, EnableWebhook(webhook_id=call.id("webhook_id")))


def redeliver(call: Call) -> Response:
    body: Redelivery = call.body
    if (body.delivery_id is None) == (body.since is None):
        raise Refused(ProblemType.IMPOSSIBLE, "name a delivery, or with `since` the time from which all failed ones go")
    return write(
        call,
        RedeliverWebhook(webhook_id=call.id("webhook_id"), delivery_id=body.delivery_id, since=micros_of(body.since)),
    )


def list_deliveries(call: Call) -> Response:
    state = given(call.query.state)
    newest = call.query.order == "newest"
    found = views.deliveries(
        call.web.database, call.caller.subject, call.id("webhook_id"), call.paging, state, newest_first=newest
    )
    if found is None:
        raise not_found("webhook", call.id("webhook_id"))
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/organisations/{organisation_id}/webhooks",
        name="create_organisation_webhook",
        about="Have an organisation told of what happens; the answer shows the secret (its members, admin)",
        does=create_of_organisation,
        who=PEOPLE,
        scope="write",
        body=NewWebhook,
        write=True,
        answers={201: WebhookSecret},
    ),
    Operation(
        method="GET",
        path="/v1/organisations/{organisation_id}/webhooks",
        name="list_organisation_webhooks",
        about="An organisation's webhooks (its members, admin, auditor)",
        does=list_of_organisation,
        who=PEOPLE,
        query=PageQuery,
        answers={200: Listed[Webhook]},
    ),
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/webhooks",
        name="create_project_webhook",
        about="Have a project's coordinator told of what happens; the answer shows the secret (coordinator, admin)",
        does=create_of_project,
        scope="write",
        body=NewWebhook,
        write=True,
        answers={201: WebhookSecret},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/webhooks",
        name="list_project_webhooks",
        about="A project's webhooks (coordinator, admin, auditor)",
        does=list_of_project,
        query=PageQuery,
        answers={200: Listed[Webhook]},
    ),
    Operation(
        method="GET",
        path="/v1/webhooks",
        name="list_webhooks",
        about="Every webhook that the caller may know of",
        does=listed,
        query=PageQuery,
        answers={200: Listed[Webhook]},
    ),
    Operation(
        method="GET",
        path="/v1/webhooks/{webhook_id}",
        name="read_webhook",
        about="A webhook, without its secret (who may change it, auditor)",
        does=read,
        answers={200: Webhook},
    ),
    Operation(
        method="DELETE",
        path="/v1/webhooks/{webhook_id}",
        name="delete_webhook",
        about="Tell it nothing more, and forget its address",
        does=delete,
        scope="write",
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/rotate",
        name="rotate_webhook",
        about="Another secret, which the answer shows, once; the one before it signs, too, for a day",
        does=rotate,
        scope="write",
        write=True,
        answers={200: WebhookSecret},
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/enable",
        name="enable_webhook",
        about="Tell one that was disabled of what happens from now on",
        does=enable,
        scope="write",
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/redeliver",
        name="redeliver_webhook",
        about="One delivery again, or all that failed since a time",
        does=redeliver,
        scope="write",
        body=Redelivery,
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="GET",
        path="/v1/webhooks/{webhook_id}/deliveries",
        name="list_deliveries",
        about="What a webhook was told, or is to be told: state, attempts, last answer (who may change it, auditor)",
        does=list_deliveries,
        query=DeliveriesQuery,
        answers={200: Listed[WebhookDelivery]},
    ),
)
