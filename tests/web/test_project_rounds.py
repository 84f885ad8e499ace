"""Rounds that a project's own coordinator leads, over HTTP: told with its own token, kept, and read by members."""

from __future__ import annotations

from typing import Any

import pytest

from domain.workloads import rounds_token_of
from tests.web.network import Caller, Network
from tests.web.test_artifacts import declaring, refusal, upload
from tests.web.test_problems import PARTS, Problem
from web.serving.app import web_of


class Led:
    """A problem whose coordinator is wanted at its own site, and who reports that coordinator's rounds."""

    def __init__(self, problem: Problem, **deadlines: float) -> None:
        self.problem = problem
        where = f"site:{problem.lead.id}"
        self.project = problem.made(infrastructure={**PARTS, "where": where, "deadlines": deadlines})
        problem.site.ok("PUT", f"/v1/projects/{self.project}/members/{problem.site.id}", {})
        self.path = f"/v1/projects/{self.project}/rounds"
        made = problem.setter.ok("POST", f"/v1/projects/{self.project}/infrastructure/start", {})
        self.workload = str(made["workloads"][0]["id"])
        self.coordinator = self.attempt(1)

    def attempt(self, number: int) -> Caller:
        return self.problem.net.stranger(
            rounds_token_of(web_of(self.problem.net.app).workload_key, self.workload, number)
        )

    def ended(self, attempt: int = 1) -> None:
        report = {"attempt": attempt, "phase": "failed", "uid": "u", "reason": "signalled", "log": ""}
        self.problem.lead.ok("POST", f"/v1/workloads/{self.workload}/report", report)

    def tell(self, number: int, stage: str, **more: Any) -> dict[str, Any]:
        return dict(self.coordinator.ok("POST", self.path, {"number": number, "stage": stage, **more}))

    def history(self) -> list[dict[str, Any]]:
        return list(self.problem.site.ok("GET", self.path)["items"])


@pytest.fixture(scope="module")
def problem(shared: Network) -> Problem:
    return Problem(shared)


@pytest.fixture
def led(problem: Problem) -> Led:
    return Led(problem)


def test_a_round_goes_through_its_stages_and_its_history_is_kept(led: Led) -> None:
    first = led.tell(0, "SELECTION", counts={"checkins": 1})
    assert first == {
        "project_id": led.project, "epoch": 1, "start": 0, "number": 0, "stage": "SELECTION", "state": "selection",
        "deadline_at": first["deadline_at"], "model_version": None,
    }  # fmt: skip
    assert led.tell(0, "SELECTION", counts={"checkins": 1}) == first, "a repeat"
    led.tell(0, "CONFIGURATION", counts={"checkins": 2})
    led.tell(0, "REPORTING", metrics={"loss": 0.5})
    done = led.tell(0, "COMPLETED", metrics={"loss": 0.25})
    assert (done["state"], done["deadline_at"]) == ("completed", None)
    led.tell(1, "CONFIGURATION")
    newest, oldest = led.history()
    assert (newest["number"], newest["state"]) == (1, "configuration")
    assert [one["stage"] for one in oldest["stages"]] == ["SELECTION", "CONFIGURATION", "REPORTING", "COMPLETED"]
    assert (oldest["counts"], oldest["metrics"]) == ({"checkins": 2}, {"loss": 0.25})
    assert led.problem.shown(led.problem.site)["round"] is None
    assert led.problem.site.ok("GET", f"/v1/projects/{led.project}")["round"] == newest
    joining = led.problem.site.ok("GET", f"/v1/projects/{led.project}/joining")
    assert joining["next_deadline_at"] == newest["deadline_at"] is not None


def test_pages_go_from_the_newest_round_to_the_oldest(led: Led) -> None:
    for number in range(5):
        led.tell(number, "COMPLETED")
    seen, after = [], ""
    while True:
        page = led.problem.site.ok("GET", f"{led.path}?limit=2{after}")
        seen += [one["number"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("number", "stage", "more"),
    [
        (0, "SELECTION", {}),
        (1, "SELECTION", {}),
        (0, "COMPLETED", {}),
    ],
)
def test_stages_and_numbers_only_go_forward(led: Led, number: int, stage: str, more: dict[str, Any]) -> None:
    led.tell(0, "CONFIGURATION")
    led.tell(1, "REPORTING")
    answer = led.coordinator.call("POST", led.path, {"number": number, "stage": stage, **more})
    assert refusal(answer) == (409, "round_over")
    body = answer.get_json()
    assert [body[name] for name in ("epoch", "start", "number", "stage", "state")] == [
        1,
        0,
        1,
        "REPORTING",
        "reporting",
    ]


def test_another_start_of_the_program_begins_with_round_0_again(led: Led) -> None:
    led.tell(0, "COMPLETED")
    led.tell(7, "REPORTING")
    again = led.tell(0, "CONFIGURATION", start=1)
    assert (again["epoch"], again["start"], again["number"]) == (2, 1, 0)
    assert led.tell(0, "REPORTING")["epoch"] == 2, "the newest start is meant"
    assert refusal(led.coordinator.call("POST", led.path, {"number": 8, "stage": "SELECTION", "start": 0})) == (
        409,
        "round_over",
    )
    assert [(one["epoch"], one["number"], one["state"], one["reason"]) for one in led.history()] == [
        (2, 0, "reporting", ""),
        (1, 7, "failed", "coordinator_restarted"),
        (1, 0, "completed", ""),
    ]


def test_coordinators_of_one_site_name_their_reports_alike_and_mean_their_own(led: Led, problem: Problem) -> None:
    other = Led(problem)
    said, key = {"number": 0, "stage": "SELECTION", "start": 218_000_000}, "round-218000000-0-SELECTION"
    problem.lead.ok("POST", "/v1/tokens", {"label": "x", "sha256": "ab" * 32}, headers={"Idempotency-Key": key})
    for one in (led, other):
        told = one.coordinator.call("POST", one.path, said, headers={"Idempotency-Key": key})
        assert (told.status_code, told.get_json()["project_id"]) == (200, one.project)
        assert (
            one.coordinator.call("POST", one.path, said, headers={"Idempotency-Key": key}).get_json() == told.get_json()
        ), "a repeat"


def test_an_attempt_that_was_replaced_reports_no_more_and_the_next_one_begins_with_round_0(led: Led) -> None:
    led.tell(3, "REPORTING")
    led.ended()
    (failed,) = led.history()
    assert (failed["state"], failed["reason"]) == ("failed", "coordinator_failed")
    old, led.coordinator = led.coordinator, led.attempt(2)
    assert refusal(old.call("POST", led.path, {"number": 3, "stage": "COMPLETED"})) == (401, "token_not_valid")
    assert led.tell(0, "SELECTION")["epoch"] == 2


def test_the_token_is_for_its_project_and_for_rounds_and_checkpoints_alone(led: Led, problem: Problem) -> None:
    body = {"number": 0, "stage": "SELECTION"}
    other = Led(problem)
    assert refusal(led.coordinator.call("POST", other.path, body)) == (403, "forbidden")
    for by in (problem.lead, problem.setter, problem.site):
        assert refusal(by.call("POST", led.path, body)) in ((403, "scope_missing"), (403, "forbidden"))
    assert refusal(led.attempt(2).call("POST", led.path, body)) == (401, "token_not_valid")
    assert refusal(problem.net.stranger("fyr_x").call("POST", led.path, body)) == (401, "token_not_valid")
    for method, path in (
        ("GET", led.path),
        ("GET", f"/v1/projects/{led.project}"),
        ("GET", "/v1/inbox"),
        ("POST", "/v1/tokens"),
        ("POST", f"/v1/projects/{led.project}/infrastructure/stop"),
    ):
        assert refusal(led.coordinator.call(method, path, {} if method == "POST" else None)) == (403, "scope_missing")
    for more in ({"kind": "result"}, {"kind": "initial"}, {"project": other.project}):
        said = {"project": led.project, "kind": "model", **more}
        answer = led.coordinator.call("POST", "/v1/artifacts", declaring(said["project"], b"x", said["kind"]))
        assert refusal(answer) == (403, "forbidden")
    mine = upload(problem.lead, led.project, b"mine", "result")
    assert refusal(led.coordinator.get(f"/v1/artifacts/{mine}/chunks")) == (403, "forbidden")
    assert refusal(problem.stranger.get(led.path)) == (404, "not_found")


def test_a_checkpoint_becomes_the_next_version_of_the_projects_models(led: Led) -> None:
    led.tell(0, "REPORTING")
    led.tell(0, "COMPLETED", metrics={"loss": 0.5})
    artifact = upload(led.coordinator, led.project, b"weights", "model")
    led.tell(1, "SELECTION")
    done = led.tell(0, "COMPLETED", checkpoint_artifact_id=artifact)
    assert done["model_version"] == 1, "though the next round has begun while it was uploaded"
    assert led.tell(0, "COMPLETED", checkpoint_artifact_id=artifact) == done
    second = upload(led.coordinator, led.project, b"other weights", "model")
    body = {"number": 0, "stage": "COMPLETED", "checkpoint_artifact_id": second}
    assert refusal(led.coordinator.call("POST", led.path, body)) == (409, "round_over")
    assert led.tell(1, "COMPLETED", checkpoint_artifact_id=second)["model_version"] == 2
    models = led.problem.site.ok("GET", f"/v1/projects/{led.project}/models")["items"]
    assert [(one["version"], one["epoch"], one["round"], one["artifact_id"], one["run_id"]) for one in models] == [
        (1, 1, 0, artifact, None),
        (2, 1, 1, second, None),
    ]
    assert (models[0]["metrics"], models[0]["message_id"]) == ({"loss": 0.5}, None)
    assert [one["begun_with"] for one in models] == [None, 1]
    assert led.problem.site.get(f"/v1/artifacts/{artifact}").data == b"weights"


def test_what_is_no_checkpoint_makes_no_version(led: Led, problem: Problem) -> None:
    result = upload(problem.lead, led.project, b"x", "result")
    unfinished = led.coordinator.ok("POST", "/v1/artifacts", declaring(led.project, b"x", "model"))["id"]
    for artifact, wanted in (
        (result, (422, "misplaced")),
        (unfinished, (409, "artifact_not_stored")),
        (problem.lead.id, (404, "not_found")),
    ):
        body = {"number": 0, "stage": "COMPLETED", "checkpoint_artifact_id": artifact}
        assert refusal(led.coordinator.call("POST", led.path, body)) == wanted
    body = {"number": 0, "stage": "REPORTING", "checkpoint_artifact_id": unfinished}
    assert refusal(led.coordinator.call("POST", led.path, body)) == (422, "impossible")
    assert led.history() == []


def begun_with(led: Led, version: int | None) -> list[tuple[str, int | None]]:
    """What the coordinator's parts are after a start with that version: workloads, and what they begin with."""
    body = {} if version is None else {"model_version": version}
    led.problem.setter.ok("POST", f"/v1/projects/{led.project}/infrastructure/start", body)
    shown = led.problem.setter.ok("GET", f"/v1/projects/{led.project}")["parts"]
    return [(one["workload_id"], one["model_version"]) for one in shown]


def test_the_coordinator_starts_with_an_older_checkpoint(led: Led, problem: Problem) -> None:
    for number, content in enumerate((b"first", b"second")):
        artifact = upload(led.coordinator, led.project, content, "model")
        led.tell(number, "COMPLETED", checkpoint_artifact_id=artifact)
    (before, none), (selector, _) = begun_with(led, None)
    assert (before, none) == (led.workload, None), "without a version what runs goes on"
    (coordinator, version), other = begun_with(led, 1)
    assert version == 1
    assert coordinator != before
    assert other == (selector, None), "the selectors are as they were"
    assert begun_with(led, 1) == begun_with(led, None) == [(coordinator, 1), (selector, None)]
    told = problem.lead.ok("GET", f"/v1/sites/{problem.lead.id}/workloads")["items"]
    (spec,) = [one["spec"] for one in told if one["spec"]["id"] == coordinator]
    assert spec["environment"]["FEDYARD_MODEL_VERSION"] == "1"
    unpacker = problem.net.stranger(spec["secrets"]["FEDYARD_FILES_TOKEN"])
    answer = unpacker.get(f"/v1/workloads/{coordinator}/model")
    assert (answer.status_code, answer.data) == (200, b"first")
    assert unpacker.get(f"/v1/workloads/{before}/model").status_code == 401
    led.tell(2, "REPORTING")  # it shall go, and does so in peace
    old, led.workload = led.coordinator, coordinator
    led.coordinator = led.attempt(1)
    assert led.tell(0, "SELECTION")["epoch"] == 2
    late = old.call("POST", led.path, {"number": 2, "stage": "COMPLETED"})
    assert refusal(late) == (409, "workload_ended")
    assert [(one["epoch"], one["number"], one["reason"]) for one in led.history()[:2]] == [
        (2, 0, ""),
        (1, 2, "coordinator_restarted"),
    ]
    third = upload(led.coordinator, led.project, b"third", "model")
    assert led.tell(0, "COMPLETED", checkpoint_artifact_id=third)["model_version"] == 3
    models = problem.site.ok("GET", f"/v1/projects/{led.project}/models")["items"]
    assert [(one["version"], one["begun_with"]) for one in models] == [(1, None), (2, 1), (3, 1)]


def test_what_is_no_checkpoint_any_more_or_was_none_starts_nothing(led: Led) -> None:
    artifact = upload(led.coordinator, led.project, b"first", "model")
    led.tell(0, "COMPLETED", checkpoint_artifact_id=artifact)
    path = f"/v1/projects/{led.project}/infrastructure/start"
    assert refusal(led.problem.setter.call("POST", path, {"model_version": 2})) == (404, "not_found")
    assert refusal(led.problem.setter.call("POST", path, {"model_version": 0})) == (400, "malformed")
    led.problem.setter.ok("DELETE", f"/v1/artifacts/{artifact}")
    assert refusal(led.problem.setter.call("POST", path, {"model_version": 1})) == (409, "model_expired")
    assert begun_with(led, None)[0] == (led.workload, None)
