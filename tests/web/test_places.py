"""What archived projects have at a site's cluster: told to the site itself, and reported once."""

from __future__ import annotations

from tests.web.network import Network
from tests.web.test_artifacts import refusal

SPEC = {"kind": "service", "image": "registry.example.org/i@sha256:1", "port": 80}


def test_a_site_is_told_what_shall_go_and_says_when_it_has(shared: Network) -> None:
    lead, host = shared.site("lead of a place"), shared.site("host of a place")
    project = shared.project(lead, name="with a place", joining="open")
    host.ok("PUT", f"/v1/projects/{project}/members/{host.id}", {})
    where = f"site:{host.id}"
    made = lead.ok("POST", f"/v1/projects/{project}/workloads", {"name": "w", "where": where, "spec": SPEC})
    lead.ok("DELETE", f"/v1/projects/{project}")
    places, gone = f"/v1/sites/{host.id}/places", f"/v1/sites/{host.id}/places/{project}/gone"
    assert host.ok("GET", places)["items"] == []  # an attempt may be there
    assert refusal(host.call("PUT", gone)) == (404, "not_found")
    host.ok("POST", f"/v1/workloads/{made['id']}/report", {"attempt": 1, "gone": True})
    host.ok("POST", f"/v1/workloads/{made['id']}/report", {"attempt": 1, "gone": True})
    assert host.ok("GET", places)["items"] == [{"project_id": project}]
    assert refusal(lead.call("GET", places)) == (404, "not_found")
    assert refusal(lead.call("PUT", gone)) == (404, "not_found")
    assert host.ok("PUT", gone) == {"id": project}
    assert host.ok("GET", places)["items"] == []
    assert refusal(host.call("PUT", gone)) == (404, "not_found")
    told = [(one["kind"], one["facts"]) for one in lead.ok("GET", f"/v1/projects/{project}/events")["items"]]
    assert [facts for kind, facts in told if kind == "place_removed"] == [{"where": where}]
