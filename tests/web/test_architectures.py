"""Architectures and configurations over HTTP: made, read by members, changed in versions, deleted."""

from __future__ import annotations

import pytest

from tests.web.network import Network
from tests.web.test_refusals import slug

KERAS = "model = tf.keras.Sequential()"
BODY = {"name": "cnn", "framework": "tf", "code": KERAS, "imports": "import tensorflow as tf"}


def test_an_architecture_from_its_first_version_to_its_end(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    path = f"/v1/projects/{project}/architectures"
    made = oslo.call("POST", path, BODY)
    assert made.status_code == 201
    one = f"{path}/{made.get_json()['id']}"
    assert made.headers["Location"] == one
    assert (made.get_json()["number"], made.get_json()["version"]) == (1, 1)
    shown = bergen.ok("GET", one)
    assert [shown] == bergen.ok("GET", path)["items"]
    assert (shown["name"], shown["framework"], shown["distributed"], shown["father_id"]) == ("cnn", "tf", False, None)
    assert bergen.ok("GET", f"{one}/versions/1")["code"] == KERAS
    assert bergen.call("PUT", one, BODY).status_code == 403
    assert oslo.ok("PUT", one, {**BODY, "code": f"{KERAS}\nmodel.compile()"})["version"] == 2
    assert oslo.ok("GET", f"{one}/versions/1")["code"] == KERAS
    assert oslo.get(f"{one}/versions/3").status_code == 404
    assert net.admin.ok("GET", f"{one}/versions/2")["code"] is None
    oslo.ok("DELETE", one)
    assert (oslo.get(one).status_code, oslo.ok("GET", path)["items"]) == (404, [])
    assert bergen.ok("GET", f"{one}/versions/2")["code"].endswith("compile()")
    assert net.site("far").get(path).status_code == 404


def test_a_configuration_of_a_chain(net: Network) -> None:
    oslo = net.site("oslo")
    project = net.project(oslo)
    architectures, path = f"/v1/projects/{project}/architectures", f"/v1/projects/{project}/configurations"
    part = {"framework": "tf", "code": "Model()", "distributed": True}
    cloud = oslo.ok("POST", architectures, {**part, "name": "cloud"})["id"]
    edge = oslo.ok("POST", architectures, {**part, "name": "edge", "father_id": cloud})["id"]
    refused = oslo.call("POST", architectures, {**part, "name": "fog", "father_id": cloud})
    assert slug(refused, 422) == "impossible"
    made = oslo.call("POST", path, {"name": "mnist", "architecture_ids": [cloud], "description": "digits"})
    one = f"{path}/{made.get_json()['id']}"
    assert (made.status_code, made.headers["Location"]) == (201, one)
    shown = oslo.ok("GET", one)
    assert (shown["architecture_ids"], shown["number"], shown["description"]) == ([cloud, edge], 1, "digits")
    assert slug(oslo.call("DELETE", f"{architectures}/{edge}"), 409) == "in_use"
    oslo.ok("PUT", one, {"name": "mnist", "architecture_ids": []})
    assert oslo.ok("GET", path)["items"][0]["architecture_ids"] == []
    oslo.ok("DELETE", f"{architectures}/{edge}")
    oslo.ok("DELETE", one)
    assert (oslo.get(one).status_code, oslo.ok("GET", path)["items"]) == (404, [])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"code": "model = ("}, "line 1"),
        ({"code": "net = 1"}, "model"),
        ({"framework": "pth"}, "loss_fn"),
        ({"imports": "import"}, "imports"),
    ],
)
def test_code_that_its_container_would_fail_at_is_told_at_once(net: Network, fields, says) -> None:
    oslo = net.site("oslo")
    refused = oslo.call("POST", f"/v1/projects/{net.project(oslo)}/architectures", BODY | fields)
    assert slug(refused, 422) == "unfit"
    assert says in refused.get_json()["detail"]


@pytest.mark.parametrize(
    "fields", [{"framework": "jax"}, {"name": ""}, {"code": ""}, {"code": "x" * 65_537}, {"father_id": "1"}]
)
def test_what_is_no_architecture_is_refused(net: Network, fields) -> None:
    oslo = net.site("oslo")
    refused = oslo.call("POST", f"/v1/projects/{net.project(oslo)}/architectures", BODY | fields)
    assert refused.status_code == 400
