"""The models of a project over HTTP: listed as versions, read by members, and a restart from one."""

from __future__ import annotations

import base64

from tests.web.network import Caller, Network
from tests.web.test_refusals import slug


def complete(net: Network, run: str, sites: list[Caller], number: int) -> None:
    seq = 2 * number - 1
    for event in ("ready", "submit"):
        for site in sites:
            assert net.report(site, run, event, seq + (event == "submit"), number).status_code == 200
    model = {"model": base64.b64encode(b"model %d" % number).decode(), "metrics": {"accuracy": number / 10}}
    sites[0].ok("POST", f"/v1/runs/{run}/tasks/1/rounds/{number}/aggregated", model)


def test_models_are_listed_read_and_restarted_from(net: Network) -> None:
    sites = [net.site("oslo"), net.site("bergen")]
    stranger = net.site("stranger")
    project = net.project(*sites)
    run = net.run(sites[0], project)
    for number in (1, 2):
        complete(net, run, sites, number)
    path = f"/v1/projects/{project}/models"
    first, second = sites[1].ok("GET", path)["items"]
    assert (first["version"], first["run_id"], first["task_seq"], first["task"], first["round"]) == (
        1,
        run,
        1,
        "train",
        1,
    )
    assert (second["version"], second["metrics"], second["size_bytes"]) == (2, {"accuracy": 0.2}, 7)
    assert (second["artifact_id"], second["created_at"] > first["created_at"]) == (None, True)
    assert (first["begun_with"], second["begun_with"]) == (None, 1)
    message = sites[1].ok("GET", f"/v1/messages/{second['message_id']}")
    assert (base64.b64decode(message["body"]), message["sha256"]) == (b"model 2", second["digest"])
    page = sites[1].ok("GET", f"{path}?limit=1")
    assert sites[1].ok("GET", f"{path}?after={page['next']}")["items"] == [second]
    assert net.admin.ok("GET", path)["items"] == [first, second]
    assert slug(stranger.get(path), 404) == "not_found"

    restart = f"/v1/runs/{run}/restart"
    assert slug(sites[0].call("POST", restart, {"model_version": 3}), 404) == "not_found"
    assert slug(sites[0].call("POST", restart, {"model_version": 2}), 422) == "no_rounds_left"
    assert slug(sites[0].call("POST", restart, {"model_version": 0}), 400) == "malformed"
    again = sites[0].ok("POST", restart, {"model_version": 1})
    invited = [e for e in sites[1].ok("GET", "/v1/inbox?limit=200")["items"] if e["kind"] == "invited"][-1]
    assert (invited["run_id"], invited["round"], invited["message"]["id"]) == (again["id"], 2, first["message_id"])
    for event, seq in (("ready", 1), ("submit", 2)):
        for site in sites:
            assert net.report(site, again["id"], event, seq, 2).status_code == 200
    model = {"model": base64.b64encode(b"model 2 anew").decode()}
    sites[0].ok("POST", f"/v1/runs/{again['id']}/tasks/1/rounds/2/aggregated", model)
    made = sites[1].ok("GET", path)["items"][-1]
    assert (made["version"], made["run_id"], made["round"], made["begun_with"]) == (3, again["id"], 2, 1)
