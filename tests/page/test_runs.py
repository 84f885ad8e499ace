"""Runs at the hub's page: what people do to them, and what renews itself."""

from __future__ import annotations

import csv
import gzip
import io
import threading
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from domain.ids import derive
from tests.page.callers import Browser, signed_in
from tests.page.scenes import Scene
from tests.web.network import Caller
from web.serving.app import web_of

PAST_ALL = 10**9


def looker(scene: Scene, who: str) -> Browser:
    return signed_in(scene.net.app, scene.tokens[who])


def api(scene: Scene) -> Caller:
    """The admin, by the API."""
    return Caller(scene.net.app, scene.tokens["admin"])


def state_of(scene: Scene, run: str) -> tuple[str, str]:
    found = api(scene).get(f"/v1/runs/{run}").get_json()
    return found["state"], found["detail"]


def led_to(response: TestResponse) -> str:
    assert response.status_code == 303, response.get_data(as_text=True)
    return urlsplit(response.headers["Location"]).path


def test_who_coordinates_stops_a_run_and_says_why(scene: Scene) -> None:
    run, browser = scene.names["run"], looker(scene, "coordinator")
    browser.get(f"/page/runs/{run}")
    done = browser.post(f"/page/runs/{run}/stop", {"reason": "labels are wrong"})
    assert led_to(done) == f"/page/runs/{run}"
    assert state_of(scene, run) == ("cancelled", "labels are wrong")
    shown = browser.get(done.headers["Location"]).get_data(as_text=True)
    assert "Done: stop run." in shown
    assert f'action="/page/runs/{run}/stop"' not in shown


def test_a_run_that_has_ended_is_not_stopped_and_the_page_says_so(scene: Scene) -> None:
    run, browser = scene.names["run_failed"], looker(scene, "coordinator")
    browser.get("/page/runs/start")
    refused = browser.post(f"/page/runs/{run}/stop", {})
    assert refused.status_code == 409
    assert "is finished: failed" in refused.get_data(as_text=True)


def test_nobody_else_is_offered_to_act_on_a_run_and_nobody_can(scene: Scene) -> None:
    run = scene.names["run"]
    for who, offered, status in (("member", False, 403), ("auditor", False, 403)):
        browser = looker(scene, who)
        shown = browser.get(f"/page/runs/{run}").get_data(as_text=True)
        assert (f'action="/page/runs/{run}/stop"' in shown) == offered
        assert browser.post(f"/page/runs/{run}/stop", {}).status_code == status
    assert state_of(scene, run)[0] == "running"


def test_a_run_is_started_and_a_form_that_is_sent_twice_starts_one(scene: Scene) -> None:
    browser = looker(scene, "coordinator")
    browser.get(f"/page/runs/start?project={scene.names['project']}")
    form = {"project_id": scene.names["project"], "queue": "true", "finish_within_h": "2.5"}
    once, twice = browser.post("/page/runs/start", form), browser.post("/page/runs/start", form)
    assert led_to(once) == led_to(twice)
    run = led_to(once).rpartition("/")[2]
    found = api(scene).get(f"/v1/runs/{run}").get_json()
    assert (found["state"], found["project_id"]) == ("created", scene.names["project"])
    began, deadline = (datetime.fromisoformat(found[name]) for name in ("created_at", "deadline_at"))
    assert deadline - began == timedelta(hours=2.5)


def test_a_run_is_started_with_parameters_of_its_own_and_put_beside_another(scene: Scene) -> None:
    browser = looker(scene, "coordinator")
    form = browser.get(f"/page/runs/start?project={scene.names['project']}").get_data(as_text=True)
    assert "What the tasks have now" in form
    own = {"parameters": "train.fresh = 0.1\ntrain.unit = mm", "rounds": "train = 7", "queue": "true"}
    started = browser.post("/page/runs/start", {"project_id": scene.names["project"], "finish_within_h": "2", **own})
    run = led_to(started).rpartition("/")[2]
    train = next(task for task in api(scene).get(f"/v1/runs/{run}").get_json()["tasks"] if task["name"] == "train")
    assert (train["spec"]["parameters"]["fresh"], train["spec"]["parameters"]["unit"]) == (0.1, "mm")
    assert train["spec"]["rounds"] == 7
    shown = browser.get(f"/page/runs/{run}").get_data(as_text=True)
    assert "3 of them are not as the project has them now" in shown
    beside = browser.get(f"/page/runs/{run}/compare?a={scene.names['run_succeeded']}").get_data(as_text=True)
    assert "In what they differ" in beside
    rows = beside.split("In what they differ")[1].split("</table>")[0]
    assert rows.count("<tr>") == 4  # headings, fresh, unit and rounds
    assert "<code>train.fresh</code>" in rows


@pytest.mark.parametrize(
    ("form", "status", "sentence", "field"),
    [
        ({"parameters": "fresh", "finish_within_h": "2"}, 422, "train.learning_rate=0.1", "parameters"),
        ({"parameters": "trian.fresh=1", "finish_within_h": "2"}, 422, "begins with no task", "parameters"),
        ({"rounds": "many", "finish_within_h": "2"}, 422, "how many rounds", "rounds"),
        ({"initial": "trian", "queue": "true", "finish_within_h": "2"}, 422, "no task", None),
        ({"project_id": "", "finish_within_h": "2"}, 422, "Choose a project.", "project_id"),
        ({"finish_within_h": "soon"}, 400, "finish_within_s", "finish_within_h"),
        ({"finish_within_h": "2"}, 409, "start with queue: true", None),
    ],
)
def test_what_is_wrong_with_a_start_is_said_at_its_field(
    scene: Scene, form: dict[str, str], status: int, sentence: str, field: str | None
) -> None:
    browser = looker(scene, "coordinator")
    browser.get("/page/runs/start")
    refused = browser.post("/page/runs/start", {"project_id": scene.names["project"], **form})
    shown = refused.get_data(as_text=True)
    assert refused.status_code == status, shown
    assert sentence in shown
    assert (f'id="f-{field}-error"' in shown) == (field is not None)


def test_a_run_is_restarted_from_a_model_of_its_project(scene: Scene) -> None:
    run, browser = scene.names["run_succeeded"], looker(scene, "coordinator")
    for live in ("run", "run_queued"):
        api(scene).ok("POST", f"/v1/runs/{scene.names[live]}/stop", {})
    for one in api(scene).ok("GET", "/v1/runs?state=running")["items"]:
        api(scene).ok("POST", f"/v1/runs/{one['id']}/stop", {})
    browser.get(f"/page/runs/{run}/restart")
    form = {"start_from": "reached", "model_version": "3", "finish_within_h": "24"}
    done = browser.post(f"/page/runs/{run}/restart", form)
    again = led_to(done).rpartition("/")[2]
    found = api(scene).get(f"/v1/runs/{again}").get_json()
    assert (found["restart_of"], found["attempt"], found["state"]) == (run, 2, "running")
    train = found["tasks"][1]
    assert (train["state"], train["first_round"]) == ("active", 3)


def test_a_restart_that_cannot_be_shows_the_form_again(scene: Scene) -> None:
    run, browser = scene.names["run_succeeded"], looker(scene, "coordinator")
    browser.get(f"/page/runs/{run}/restart")
    refused = browser.post(f"/page/runs/{run}/restart", {"start_from": "reached", "finish_within_h": "24"})
    assert refused.status_code == 409
    assert 'name="start_from"' in refused.get_data(as_text=True)


def test_who_may_not_see_a_run_sees_nothing_of_it_in_any_way(scene: Scene) -> None:
    elsewhere = {"organisation_id": scene.names["organisation_islands"], "name": "somebody", "role": "member"}
    token = api(scene).ok("POST", "/v1/accounts", elsewhere)["token"]
    browser, run = signed_in(scene.net.app, token), scene.names["run"]
    for path in ("", "/events", "/restart", "/compare", "/metrics.csv", "/live?after=0"):
        assert browser.get(f"/page/runs/{run}{path}").status_code == 404, path
    assert run not in browser.get("/page/runs").get_data(as_text=True)
    mine = looker(scene, "coordinator").get(f"/page/runs/{run}/compare?a={derive(run, 'none')}")
    assert mine.status_code == 200


def test_a_participant_sees_its_own_seat_alone(scene: Scene) -> None:
    run, browser = scene.names["run"], looker(scene, "member")
    shown = browser.get(f"/page/runs/{run}").get_data(as_text=True)
    assert "Other sites' seats are not yours to see" in shown.replace("&#39;", "'")
    assert "west" not in shown
    text = browser.get(f"/page/runs/{run}/metrics.csv").get_data(as_text=True)
    assert {line["site"] for line in csv.DictReader(io.StringIO(text))} == {"", "east-radiology-pacs-node-02"}


def test_metrics_are_a_file_with_every_number(scene: Scene) -> None:
    run, browser = scene.names["run_succeeded"], looker(scene, "admin")
    answer = browser.get(f"/page/runs/{run}/metrics.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="run-1-1-metrics.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    of_models = [line for line in lines if not line["site"] and line["task"] == "train"]
    assert [
        (line["round"], line["metric"], float(line["value"])) for line in of_models if line["metric"] == "loss"
    ] == [
        ("1", "loss", 0.85),
        ("2", "loss", 0.425),
        ("3", "loss", 0.85 / 3),
    ]


def test_the_list_is_filtered_and_goes_on_from_new_to_old(scene: Scene) -> None:
    browser, project = looker(scene, "admin"), scene.names["project"]
    failed = browser.get(f"/page/runs?state=failed&project={project}").get_data(as_text=True)
    assert scene.names["run_failed"] in failed
    assert scene.names["run"] not in failed
    first = browser.get(f"/page/runs?limit=2&project={project}").get_data(as_text=True)
    assert scene.names["run_queued"] in first
    assert scene.names["run_succeeded"] not in first
    (further,) = [part.partition('"')[0] for part in first.split('href="') if "after=" in part.partition('"')[0]]
    second = browser.get(further.replace("&amp;", "&")).get_data(as_text=True)
    assert scene.names["run"] in second
    assert scene.names["run_queued"] not in second


def test_what_goes_on_is_answered_at_once_where_it_is_newer_and_drawn_once_for_all(scene: Scene) -> None:
    run, path = scene.names["run"], f"/page/runs/{scene.names['run']}/live?after=0"
    seen = looker(scene, "admin").get(path)
    again = looker(scene, "auditor").get(path)
    assert seen.status_code == 200
    assert seen.get_data() == again.get_data()
    assert f'data-live="/page/runs/{run}/live?after=' in seen.get_data(as_text=True)
    assert b"_csrf" not in seen.get_data()
    mine = looker(scene, "member").get(path)
    assert mine.get_data() != seen.get_data()
    packed = looker(scene, "admin").client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.get_data()) == seen.get_data()


def test_a_page_that_waits_is_told_when_its_run_changes_and_takes_no_place_from_sites(scene: Scene) -> None:
    web, run = web_of(scene.net.app), scene.names["run"]
    version = api(scene).get(f"/v1/runs/{run}").get_json()["version"]
    browser = looker(scene, "coordinator")
    answers: list[TestResponse] = []
    poll = threading.Thread(
        target=lambda: answers.append(browser.client.get(f"/page/runs/{run}/live?after={version}")), daemon=True
    )
    poll.start()
    while not web.watchers.open:
        poll.join(0.005)
        assert poll.is_alive(), answers
    assert web.waiters.open == 0
    api(scene).ok("POST", f"/v1/runs/{run}/stop", {"reason": "enough"})
    poll.join(10)
    (answer,) = answers
    shown = answer.get_data(as_text=True)
    assert "This run has ended while you looked." in shown
    assert "data-live" not in shown
    assert web.watchers.open == 0


def test_a_hub_that_stops_lets_pages_go_with_what_they_have(scene: Scene) -> None:
    web, run = web_of(scene.net.app), scene.names["run"]
    web.watchers.release()
    answer = looker(scene, "admin").get(f"/page/runs/{run}/live?after={PAST_ALL}")
    assert answer.status_code == 200
