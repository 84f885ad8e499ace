"""A run from enrolment to its end, over HTTP calls only."""

from __future__ import annotations

import base64

from tests.web.network import Network


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
    kinds = [entry["kind"] for entry in bergen.ok("GET", "/v1/inbox?limit=200")["items"]]
    assert kinds[-1] == "run_ended"
