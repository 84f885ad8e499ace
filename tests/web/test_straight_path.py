"""A run from enrolment to its end, over HTTP calls only."""

from __future__ import annotations

import base64

from tests.web.network import Network
from tests.web.test_refusals import slug


def test_a_federated_run(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    run = net.run(oslo, project)
    update = base64.b64encode(b"weights").decode()
    seq = 0
    for number in (1, 2):
        invited = bergen.ok("GET", "/v1/inbox")["items"]
        assert "invited" in [entry["kind"] for entry in invited]
        for site in (oslo, bergen):
            assert net.report(site, run, "ready", seq + 1, number).status_code == 200
        for site in (oslo, bergen):
            reported = net.report(site, run, "submit", seq + 2, number, update=update, metrics={"loss": 0.5})
            assert reported.get_json()["state"] == "submitted"
        seq += 2
        inbox = oslo.ok("GET", "/v1/inbox?limit=200")
        updates = [entry["message"] for entry in inbox["items"] if entry["kind"] == "message"]
        assert {base64.b64decode(message["body"]) for message in updates} == {b"weights"}
        assert inbox["items"][-1]["kind"] == "aggregate"
        oslo.ok("PUT", "/v1/inbox/acknowledged", {"through": inbox["last_seq"]})
        model = base64.b64encode(b"model %d" % number).decode()
        done = oslo.ok("POST", f"/v1/runs/{run}/tasks/1/rounds/{number}/aggregated", {"model": model})
        assert done == {"state": "completed", "round": number}
    shown = oslo.ok("GET", f"/v1/runs/{run}")
    assert shown["state"] == "succeeded"
    assert [len(each["submissions"]) for each in shown["tasks"][0]["rounds"]] == [2, 2]
    assert [seat["site_name"] for seat in shown["tasks"][0]["seats"]] == ["bergen", "oslo"]
    assert {each["left_out"] for here in shown["tasks"][0]["rounds"] for each in here["submissions"]} == {None}
    kinds = [entry["kind"] for entry in bergen.ok("GET", "/v1/inbox?limit=200")["items"]]
    assert kinds[-1] == "run_ended"


def test_a_site_that_is_left_out_sees_why(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    contract = {"quorum": 1, "quorum_of": "count"}
    project = net.project(oslo, bergen, tasks=[{"name": "train", "model": "m", "contract": contract}])
    run = net.run(oslo, project)
    for seq, event in enumerate(("ready", "submit"), start=1):
        for site in (oslo, bergen):
            assert net.report(site, run, event, seq).status_code == 200
    path = f"/v1/runs/{run}/tasks/1/rounds/1/aggregated"
    one = {"site_id": bergen.id, "reason": "seal_damaged", "detail": "its update does not open"}
    for wrong in ({**one, "reason": "Not a code"}, {**one, "site_id": "bergen"}, {**one, "why": "x"}):
        assert oslo.call("POST", path, {"left_out": [wrong]}).status_code == 400
    unknown = oslo.call("POST", path, {"left_out": [{**one, "site_id": run}]})
    assert slug(unknown, 422) == "not_submitted"
    assert oslo.ok("POST", path, {"left_out": [one]}) == {"state": "completed", "round": 1}
    for site, shown in ((oslo, {oslo.id: None, bergen.id: "seal_damaged"}), (bergen, {bergen.id: "seal_damaged"})):
        task = site.ok("GET", f"/v1/runs/{run}")["tasks"][0]
        assert {each["site_id"]: each["left_out"] for each in task["rounds"][0]["submissions"]} == shown
    assert [(seat["state"], seat["reason"]) for seat in task["seats"]] == [("failed", "seal_damaged")]
    events = bergen.ok("GET", f"/v1/runs/{run}/events?limit=200")["items"]
    left_out = next(event for event in events if event["kind"] == "seat_left_out")
    assert (left_out["site_id"], left_out["facts"]["detail"]) == (bergen.id, "its update does not open")
