"""Secrets of projects over HTTP: set, listed by name, never shown, and shut before anything is on its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.secret_box import Shut, secret_box
from config.settings import Settings
from domain.codec import encode
from domain.commands import SetSecret
from tests.web.network import Network
from tests.web.test_refusals import slug

CANARY = "correct horse battery staple"


def test_one_is_set_listed_and_deleted_and_shown_to_nobody(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    path = f"/v1/projects/{project}/secrets"
    assert oslo.ok("GET", path)["items"] == []
    made = oslo.ok("PUT", f"{path}/db.password", {"value": CANARY})
    assert made == {"project_id": project, "name": "db.password"}
    (one,) = oslo.ok("GET", path)["items"]
    assert one.keys() == {"name", "set_by", "set_at", "opens"}
    assert (one["name"], one["set_by"], one["opens"]) == ("db.password", oslo.id, True)
    auditor = net.account(net.organisation("auditors"), "auditor")
    assert auditor.ok("GET", path)["items"] == [one]
    assert bergen.get(path).status_code == 404
    (command,) = [each.command for each in net.publisher.sent if isinstance(each.command, SetSecret)]
    assert CANARY not in "".join(map(encode, net.publisher.sent))
    events = oslo.get(f"/v1/projects/{project}/events").get_data(as_text=True)
    assert "secret_set" in events
    assert CANARY not in events
    assert command.content
    oslo.ok("DELETE", f"{path}/db.password")
    assert oslo.ok("GET", path)["items"] == []
    assert oslo.call("DELETE", f"{path}/db.password").status_code == 404


def test_a_repeat_is_the_same_request_and_another_value_is_another(net: Network) -> None:
    oslo = net.site("oslo")
    path = f"/v1/projects/{net.project(oslo)}/secrets/db"
    keyed = {"headers": {"Idempotency-Key": "k"}}
    for _ in range(2):
        oslo.ok("PUT", path, {"value": "one"}, **keyed)
    assert slug(oslo.call("PUT", path, {"value": "two"}, **keyed), 422) == "idempotency_key_reused"


@pytest.mark.parametrize("name", ["DB", "1", "a" * 65, "..", "a/b", ""])
def test_a_name_that_is_none_is_no_path(net: Network, name: str) -> None:
    oslo = net.site("oslo")
    assert oslo.call("PUT", f"/v1/projects/{net.project(oslo)}/secrets/{name}", {"value": "x"}).status_code in (
        404,
        405,
    )


@pytest.mark.parametrize("body", [{}, {"value": ""}, {"value": "a\0"}, {"value": 1}, {"value": "x" * 32_769}])
def test_what_is_wrong_with_a_value_is_said_without_it(net: Network, body: dict[str, object]) -> None:
    oslo = net.site("oslo")
    refused = oslo.call("PUT", f"/v1/projects/{net.project(oslo)}/secrets/db", body)
    assert refused.status_code == 400
    assert "xxxx" not in refused.get_data(as_text=True)


def test_under_another_key_they_are_there_and_do_not_open(net: Network, tmp_path: Path) -> None:
    oslo = net.site("oslo")
    project = net.project(oslo)
    path = f"/v1/projects/{project}/secrets"
    oslo.ok("PUT", f"{path}/db", {"value": CANARY})
    (command,) = [each.command for each in net.publisher.sent if isinstance(each.command, SetSecret)]
    derived = secret_box(Settings(workload_key_file=f"{tmp_path}/workload.key"))
    assert derived.open(project, "db", Shut(command.key_id, command.content)) == CANARY
    own = Settings(secret_key_file=f"{tmp_path}/secret.key")
    assert secret_box(own).key_id == secret_box(own).key_id
    assert secret_box(own).key_id != derived.key_id
    assert CANARY not in repr(derived)
    assert repr(derived.key) not in repr(derived)
    with net.database.connection():
        net.database.execute("UPDATE project_secrets SET key_id = %s", (secret_box(own).key_id,))
    assert [one["opens"] for one in oslo.ok("GET", path)["items"]] == [False]
