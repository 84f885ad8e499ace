"""Webhooks over HTTP: the secret is shown once, derived, and in no store; lists, states, limits of what is taken."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from config.key_files import webhook_key
from config.settings import SettingsError
from domain.webhooks import secret_of, shown_secret
from storage.views.webhooks import overview
from tests.web.network import Caller, Network

URL = "https://hooks.example.org/in?key=s3cret"
NEW = {"url": URL, "kinds": ["run.ended", "run.ended", "site.silent"]}


@pytest.fixture
def lead(shared: Network) -> Caller:
    return shared.site(f"a lead of webhooks {shared.made}")


def test_the_secret_is_shown_once_and_again_to_the_same_request_only(shared: Network, lead: Caller) -> None:
    project = shared.project(lead)
    path = f"/v1/projects/{project}/webhooks"
    first = lead.call("POST", path, NEW, headers={"Idempotency-Key": "one"}, wait=False)
    assert first.status_code == 201
    made = first.get_json()
    assert first.headers["Location"] == f"/v1/webhooks/{made['id']}"
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert lead.call("POST", path, NEW, headers={"Idempotency-Key": "one"}).get_json() == made
    other = lead.ok("POST", path, NEW)
    assert other["secret"] != made["secret"]
    turned = lead.ok("POST", f"/v1/webhooks/{made['id']}/rotate", wait=False)
    assert turned["version"] == 2
    assert turned["secret"] not in (made["secret"], other["secret"])
    command = lead.ok("GET", f"/v1/commands/{first.headers['Fedyard-Command']}")
    shown = [command, lead.ok("GET", path), lead.ok("GET", f"/v1/webhooks/{made['id']}")]
    assert "whsec_" not in str(shown)
    listed = {one["id"]: one for one in shown[1]["items"]}
    assert set(listed) == {made["id"], other["id"]}
    assert listed[made["id"]]["kinds"] == ["run.ended", "site.silent"]
    assert (listed[made["id"]]["url"], listed[made["id"]]["version"]) == (URL, 2)


def test_an_auditor_sees_where_a_webhook_leads_and_nothing_that_may_be_a_secret(shared: Network, lead: Caller) -> None:
    project = shared.project(lead)
    hook = lead.ok("POST", f"/v1/projects/{project}/webhooks", NEW)["id"]
    odd = lead.ok("POST", f"/v1/projects/{project}/webhooks", NEW | {"url": "https://[2606:4700::1]:8443/t0ken"})["id"]
    unfit = lead.ok("POST", f"/v1/projects/{project}/webhooks", NEW | {"url": "https://[.:.:]/t0ken"})["id"]
    auditor = shared.account(shared.organisation("of an auditor of webhooks"), "auditor")
    shown = [auditor.ok("GET", f"/v1/projects/{project}/webhooks")["items"]]
    shown += [[auditor.ok("GET", f"/v1/webhooks/{each}") for each in (hook, odd, unfit)]]
    for items in shown:
        assert [one["url"] for one in items] == [
            "https://hooks.example.org/",
            "https://[2606:4700::1]:8443/",
            "https://[.:.:]/",
        ]
    assert lead.ok("GET", f"/v1/webhooks/{hook}")["url"] == URL
    hosts = {one.host for one in overview(shared.database) if one.owner_id == project}
    assert hosts == {"hooks.example.org", "[2606:4700::1]:8443", "[.:.:]"}


def test_what_is_deleted_is_gone_and_a_time_or_a_delivery_has_to_be_named(shared: Network, lead: Caller) -> None:
    project = shared.project(lead)
    hook = lead.ok("POST", f"/v1/projects/{project}/webhooks", NEW)["id"]
    both = {"since": "2026-01-01T00:00:00Z", "delivery_id": hook}
    for body in ({}, both):
        refused = lead.call("POST", f"/v1/webhooks/{hook}/redeliver", body)
        assert (refused.status_code, refused.get_json()["type"]) == (422, "/problems/impossible")
    lead.ok("POST", f"/v1/webhooks/{hook}/redeliver", {"since": "2026-01-01T00:00:00Z"})
    assert lead.ok("GET", f"/v1/webhooks/{hook}/deliveries?state=failed") == {"items": [], "next": None}
    assert lead.ok("DELETE", f"/v1/webhooks/{hook}") == {"id": hook}
    for path in (f"/v1/webhooks/{hook}", f"/v1/webhooks/{hook}/deliveries"):
        assert lead.get(path).status_code == 404
    assert lead.ok("GET", f"/v1/projects/{project}/webhooks")["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"url": "https://me:word@hooks.example.org/", "kinds": ["run.ended"]},
        {"url": "gopher://hooks.example.org/", "kinds": ["run.ended"]},
        {"url": URL, "kinds": []},
        {"url": URL, "kinds": ["everything"]},
        {"url": URL},
    ],
)
def test_what_is_no_webhook_is_malformed(shared: Network, lead: Caller, body: dict[str, object]) -> None:
    refused = lead.call("POST", f"/v1/projects/{shared.project(lead)}/webhooks", body)
    assert refused.status_code == 400
    assert "word" not in refused.get_data(as_text=True)


def test_the_key_is_made_once_private_and_a_damaged_one_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "made" / "webhook.key"
    key = webhook_key(path)
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert webhook_key(path) == key
    assert shown_secret(secret_of(key, "6f7f1c2e-54f5-5c3f-9c0f-0d7f6a3c1b2a", 1)).startswith("whsec_")
    for damaged in ("", "AAAA", "not base64!"):
        path.write_text(damaged)
        with pytest.raises(SettingsError, match="FEDYARD_WEBHOOK_KEY_FILE"):
            webhook_key(path)
    with pytest.raises(SettingsError, match="FEDYARD_WEBHOOK_KEY_FILE"):
        webhook_key(Path("/proc/nowhere/webhook.key"))
