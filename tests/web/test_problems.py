"""A learning problem as in Fedota: a person sets it, with its files and with what its own coordinator is made of."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import msgspec
import pytest

from actors.archives import ArchiveDoer
from actors.doing import report_of
from domain.commands import CheckArchive
from domain.workloads import files_token_of, rounds_token_of
from tests.actors.test_archives import zipped
from tests.web.network import TASKS, Caller, Network
from tests.web.test_artifacts import refusal, upload
from web.api.fedota import configuration
from web.api.workloads import Seen
from web.serving.app import web_of

PARTS = {"coordinator_image": "fedota/fl-coordinator:1", "selector_image": "fedota/fl-selector:1"}
DEADLINES = {"selection_s": 604800.0, "configuration_s": 86400.0, "reporting_s": 86400.0}
WHOLE = {
    **PARTS,
    "selectors": 2,
    "where": "hub",
    "required_files": ["model.h5", "fl_checkpoint"],
    "deadlines": DEADLINES,
}
GOAL = [{"name": "train", "model": "fedota", "contract": {"quorum": 2, "quorum_of": "count"}}]


class Problem:
    """Its setter, the site that coordinates, one that takes part with a person of its organisation, and a stranger."""

    def __init__(self, net: Network) -> None:
        self.net = net
        house, other = net.organisation("setter"), net.organisation("data")
        self.lead, self.site = net.site(f"lead of {house}", house), net.site(f"data of {other}", other)
        self.setter, self.reader = net.account(house, "member"), net.account(other, "member")
        self.stranger = net.site(f"stranger to {house}")
        self.id = self.made(client_image="fedota/fl-client:1", infrastructure=PARTS)
        self.site.ok("PUT", f"/v1/projects/{self.id}/members/{self.site.id}", {})

    def made(self, **more: Any) -> str:
        self.net.made += 1
        said = {"name": f"problem {self.net.made}", "tasks": GOAL, "joining": "open", "sealed": "optional"}
        body = {**said, "coordinator_site_id": self.lead.id, "description": "Sentiments", "data_format": "CSV", **more}
        return str(self.setter.ok("POST", "/v1/projects", body)["id"])

    def shown(self, by: Caller | None = None) -> dict[str, Any]:
        return dict((by or self.setter).ok("GET", f"/v1/projects/{self.id}"))


@pytest.fixture(scope="module")
def problem(shared: Network) -> Problem:
    return Problem(shared)


def test_a_person_sets_it_with_all_of_its_fields(problem: Problem) -> None:
    shown = problem.shown(problem.reader)
    said = {
        "description": "Sentiments",
        "data_format": "CSV",
        "client_image": "fedota/fl-client:1",
        "sealed": "optional",
    }
    assert {name: shown[name] for name in said} == said
    assert shown["coordinator_site_id"] == problem.lead.id
    assert shown["tasks"][0]["contract"]["quorum"] == 2
    assert shown["infrastructure"] == WHOLE


def test_what_it_is_made_of_can_be_changed_and_is_left_as_it_is_otherwise(problem: Problem) -> None:
    path = f"/v1/projects/{problem.id}"
    changed = {**WHOLE, "selectors": 3, "where": f"site:{problem.site.id}", "required_files": ["model.h5"]}
    problem.setter.ok("PATCH", path, {"infrastructure": changed})
    problem.setter.ok("PATCH", path, {"description": "Sentiments"})
    assert problem.shown()["infrastructure"] == changed
    assert problem.net.project(problem.lead, name="none", tasks=TASKS)
    assert problem.lead.ok("GET", "/v1/projects?name=none")["items"][0]["infrastructure"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"selectors": 0},
        {"selectors": 65},
        {"where": "site:oslo"},
        {"where": "Hub"},
        {"coordinator_image": ""},
        {"selector_image": "a b"},
        {"required_files": ["../model.h5"]},
        {"required_files": ["/model.h5"]},
        {"nodes": 3},
    ],
)
def test_what_makes_no_sense_is_refused_at_the_edge(problem: Problem, wrong: dict[str, Any]) -> None:
    answer = problem.setter.call("PATCH", f"/v1/projects/{problem.id}", {"infrastructure": {**PARTS, **wrong}})
    assert refusal(answer) == (400, "malformed")


def checked(problem: Problem, artifact: str) -> dict[str, Any]:
    """What is known of an archive after the doer has read it."""
    publisher = problem.net.publisher
    hub = web_of(problem.net.app).hub
    asked = [one for one in publisher.done if isinstance(one.command, CheckArchive)]
    publisher.done.clear()
    for one in asked:
        publisher.send(
            [report_of(one, place, report, hub.clock) for place, report in enumerate(ArchiveDoer(hub.blobs)(one))]
        )
    return dict(problem.setter.ok("GET", f"/v1/artifacts/{artifact}/about"))


def test_a_person_uploads_its_files_and_sees_what_is_in_them(problem: Problem) -> None:
    project = problem.made(infrastructure=PARTS)
    problem.site.ok("PUT", f"/v1/projects/{project}/members/{problem.site.id}", {})
    wrong = upload(problem.setter, project, b"no archive", "initial")
    assert problem.setter.ok("GET", f"/v1/artifacts/{wrong}/about")["archive"]["state"] == "checking"
    about = checked(problem, wrong)
    assert about["archive"] == {"state": "refused", "version": None, "flaw": "not_an_archive"}
    assert about["detail"].startswith("this is no zip or tar archive")

    right = upload(problem.setter, project, zipped(model__h5=b"m", fl_checkpoint=b"c"), "initial")
    about = checked(problem, right)
    assert about["archive"] == {"state": "checked", "version": 1, "flaw": ""}
    assert [file["path"] for file in about["files"]] == ["fl_checkpoint", "model.h5"]

    for reader in (problem.setter, problem.reader, problem.site, problem.net.admin):
        shown = reader.ok("GET", f"/v1/projects/{project}")["initial_files"]
        assert [(one["id"], one["archive"]["state"]) for one in shown] == [(right, "checked"), (wrong, "refused")]
    assert problem.stranger.ok("GET", f"/v1/projects/{project}")["initial_files"] is None
    listed = problem.setter.ok("GET", f"/v1/artifacts?project={project}&kind=initial")["items"]
    assert [one["archive"]["state"] for one in listed] == ["refused", "checked"]
    record = problem.net.admin.ok("GET", f"/v1/artifacts/{right}/about")  # what is in it is not for who runs the hub
    assert (record["archive"]["state"], record["files"], record["detail"]) == ("checked", None, None)


def test_files_of_other_projects_are_no_archives_unless_they_say_so(problem: Problem) -> None:
    project = problem.made()
    plain = upload(problem.setter, project, b"weights", "initial")
    assert problem.setter.ok("GET", f"/v1/artifacts/{plain}/about")["archive"] is None
    said = upload(problem.setter, project, zipped(anything=b"1"), "initial", archive=True)
    assert checked(problem, said)["archive"]["state"] == "checked"


def test_members_say_that_they_are_ready(problem: Problem) -> None:
    project = problem.made(joining="approval")
    path = f"/v1/projects/{project}/members"
    ready, joining = f"{path}/{problem.site.id}/ready", f"/v1/projects/{project}/joining"

    def counts() -> tuple[int, int, int]:
        shown = problem.setter.ok("GET", joining)
        return shown["goal_count"], shown["member_count"], shown["ready_count"]

    assert refusal(problem.site.call("PUT", ready, {})) == (404, "not_found")  # no member yet
    problem.site.ok("PUT", f"{path}/{problem.site.id}", {})
    assert refusal(problem.site.call("PUT", ready, {})) == (404, "not_found")  # it has only asked
    problem.lead.ok("PUT", f"{path}/{problem.site.id}", {})
    assert counts() == (2, 2, 0)

    said = problem.reader.ok("PUT", ready, {"for_s": 3600})  # a person of its organisation
    assert (said["site_id"], said["ready_count"]) == (problem.site.id, 1)
    assert problem.site.ok("PUT", ready, {"for_s": 7200})["ready_count"] == 1
    own = f"{path}/{problem.lead.id}/ready"
    assert problem.setter.ok("PUT", own)["ready_count"] == 2
    assert counts() == (2, 2, 2)
    members = problem.lead.ok("GET", path)["items"]
    assert [one["ready_until"] is None for one in members] == [False, False]

    assert problem.lead.ok("PUT", own, {"ready": False}) | {"site_id": ""} == {
        "project_id": project, "site_id": "", "ready_until": None, "ready_count": 1,
    }  # fmt: skip
    assert refusal(problem.lead.call("PUT", ready, {"ready": False})) == (
        404,
        "not_found",
    )  # not the coordinator's to say
    problem.site.ok("DELETE", f"{path}/{problem.site.id}")
    assert counts() == (2, 1, 0)
    told = [e["kind"] for e in problem.lead.ok("GET", f"/v1/sites/{problem.lead.id}/events")["items"]]
    assert [kind for kind in told if "ready" in kind] == ["member_ready", "member_not_ready"]


def test_a_member_is_told_how_to_run_the_client(problem: Problem) -> None:
    path = f"/v1/projects/{problem.id}/joining"
    shown = problem.site.ok("GET", path)
    assert shown["command"] == (
        'docker run -it --network=host -v "$PWD/device_data":/device_data -v "$PWD/config.yaml":/client/config.yaml '
        f"--name fedyard-{problem.id} fedota/fl-client:1"
    )
    assert (shown["addresses"], shown["next_deadline_at"], shown["data_format"]) == ([], None, "CSV")
    assert shown["configuration"].startswith('SELECTOR_ADDRESS: ""  # not known yet')
    assert refusal(problem.stranger.call("GET", path)) == (404, "not_found")

    run = problem.net.run(problem.lead, problem.id)
    assert problem.site.ok("GET", path)["next_deadline_at"] is not None
    problem.lead.ok("POST", f"/v1/runs/{run}/stop", {})
    assert problem.site.ok("GET", path)["next_deadline_at"] is None


def test_a_client_takes_part_with_a_token_of_its_own_that_is_no_sign_of_life_of_the_site(problem: Problem) -> None:
    net, path = problem.net, f"/v1/projects/{problem.id}"
    made = problem.reader.ok("POST", f"{path}/members/{problem.site.id}/client-tokens", {"for_s": 3600})
    assert (made["project_id"], made["site_id"]) == (problem.id, problem.site.id)
    client = net.stranger(made["token"])
    first = upload(problem.setter, problem.id, b"weights", "initial")
    result = upload(problem.site, problem.id, b"result", "result")
    alike = {"Idempotency-Key": "the-sites-own"}
    client.ok("PUT", f"{path}/members/{problem.site.id}/ready", {}, headers=alike)
    problem.site.ok("POST", "/v1/tokens", {"label": "x", "sha256": "cd" * 32}, headers=alike)
    web_of(net.app).heartbeats.flush()
    net.publisher.beats.clear()
    shown = client.ok("GET", f"{path}/joining")
    assert [one["id"] for one in shown["initial_files"]] == [first]
    assert client.get(f"{path}/initial-files/{first}").data == b"weights"
    assert client.ok("PUT", f"{path}/members/{problem.site.id}/ready", {})["ready_count"] == 1
    assert refusal(client.get(f"{path}/initial-files/{result}")) == (404, "not_found")
    assert refusal(client.call("PUT", f"{path}/members/{problem.lead.id}/ready", {})) == (404, "not_found")
    assert refusal(client.get(path)) == (403, "scope_missing")
    web_of(net.app).heartbeats.flush()
    packs = net.publisher.beats
    assert {use.token_id for pack in packs for use in pack.token_uses} == {made["id"]}
    assert not [beat for pack in packs for beat in pack.beats]


def test_what_the_clients_image_is_built_from_is_the_same_each_time(problem: Problem) -> None:
    path = f"/v1/projects/{problem.id}/joining/context"
    first, second = problem.site.get(path), problem.reader.get(path)
    assert (first.status_code, first.content_type, first.data == second.data) == (200, "application/x-tar", True)
    with tarfile.open(fileobj=io.BytesIO(first.data)) as context:
        members = [(one.name, one.mtime, one.uid, one.gid, one.mode, one.uname) for one in context.getmembers()]
        texts = {one.name: context.extractfile(one).read().decode() for one in context.getmembers()}  # type: ignore[union-attr]
    assert members == [("Dockerfile", 0, 0, 0, 0o644, ""), ("config.yaml", 0, 0, 0, 0o644, "")]
    assert texts["Dockerfile"] == "FROM fedota/fl-client:1\nCOPY config.yaml /client/config.yaml\n"
    assert texts["config.yaml"] == problem.site.ok("GET", f"/v1/projects/{problem.id}/joining")["configuration"]
    assert refusal(problem.stranger.call("GET", path)) == (404, "not_found")


@pytest.mark.parametrize("image", ["", "--privileged", "image$(id)", "a;b", "$IMAGE"])
def test_what_is_no_name_of_an_image_is_not_run(problem: Problem, image: str) -> None:
    project = problem.made(client_image=image)
    assert problem.setter.ok("GET", f"/v1/projects/{project}/joining")["command"] is None
    assert refusal(problem.setter.get(f"/v1/projects/{project}/joining/context")) == (409, "no_client_image")


def test_the_addresses_of_selectors_stand_in_the_configuration() -> None:
    outside = ["hub.example.org:31000"]
    lines = configuration(*outside, inside=["selector.place.svc:50051", 'no: "address"'], outside=outside).splitlines()
    assert lines[:3] == [
        'SELECTOR_ADDRESS: "hub.example.org:31000"',
        'SELECTOR_ADDRESSES_OUTSIDE: ["hub.example.org:31000"]',
        'SELECTOR_ADDRESSES_INSIDE: ["selector.place.svc:50051"]',
    ]


def test_a_part_of_it_fetches_the_newest_checked_archive_with_its_own_token_alone(problem: Problem) -> None:
    hub = web_of(problem.net.app)
    parts = {**PARTS, "where": f"site:{problem.lead.id}"}
    project = problem.made(infrastructure=parts)
    made = problem.setter.ok("POST", f"/v1/projects/{project}/infrastructure/start", {})
    coordinator, selector = (one["id"] for one in made["workloads"])
    shown = problem.setter.ok("GET", f"/v1/projects/{project}")["parts"]
    assert [(one["part"], one["state"]) for one in shown] == [("coordinator", "wanted"), ("selector", "wanted")]
    told = problem.lead.ok("GET", f"/v1/sites/{problem.lead.id}/workloads")["items"]
    secrets = {one["spec"]["id"]: one["spec"].get("secrets") or {} for one in told}
    assert secrets[coordinator] == {
        "FEDYARD_FILES_TOKEN": files_token_of(hub.workload_key, coordinator, 1),
        "FEDYARD_TOKEN": rounds_token_of(hub.workload_key, coordinator, 1),
    }
    assert secrets[selector] == {}
    mine = problem.net.stranger(files_token_of(hub.workload_key, coordinator, 1))
    path = f"/v1/workloads/{coordinator}/archive"
    assert mine.get(path).status_code == 404
    archive = zipped(model__h5=b"model", fl_checkpoint=b"weights")
    artifact = upload(problem.setter, project, archive, "initial")
    checked(problem, artifact)
    answer = mine.get(path)
    assert (answer.status_code, answer.data) == (200, archive)
    assert mine.get(path, headers={"Range": "bytes=5-"}).data == archive[5:]
    assert mine.get(f"/v1/workloads/{selector}/archive").status_code == 401
    assert mine.get(f"/v1/projects/{project}").status_code == 401
    for other in (problem.setter, problem.site, problem.net.stranger(files_token_of(hub.workload_key, coordinator, 2))):
        assert other.get(path).status_code == 401


@pytest.mark.parametrize("address", ['x"\nMODEL_FILE: "../../secret', "x\n", '"', "a b", "\\x0a", "{a}"])
def test_what_a_site_calls_its_address_adds_nothing_to_the_configuration(address: str) -> None:
    """A site says where what runs there is dialled; others run their clients by it."""
    assert configuration(address) == configuration("")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"attempt": 1, "addresses": {"outside": address}}, Seen)
