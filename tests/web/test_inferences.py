"""Inferences over HTTP: started with a finished result, listed with how they go, stopped, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import stream_commands as sc
from domain.codec import THE_HUB, envelope_of
from domain.ids import derive
from tests import streams
from tests.web.network import Network, network
from tests.web.test_refusals import slug

ASKED = {"input_format": "RAW", "input_config": "{}", "input_topic": "in", "output_topic": "out"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = Path(tmp_path_factory.mktemp("inferences"))
    with streams.store_for(request, folder) as url:
        made = network(url, folder, streams=streams.settings_file(folder))
        yield made
        made.close()


def prepared(net: Network, inference: str) -> None:
    """As the doing actor reports it."""
    report = sc.ReportStream(purpose="inference", about_id=inference, attempt=1)
    net.publisher.send([envelope_of(report, id=derive(inference, "report"), by=THE_HUB, at=0)])


def test_one_from_its_start_to_its_end(net: Network) -> None:
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    streams.finished(net.database, project, number=7)
    path = f"/v1/projects/{project}/inferences"
    made = oslo.call("POST", path, {"result": 7, "asked": ASKED})
    assert made.status_code == 201
    one = f"{path}/{made.get_json()['id']}"
    assert made.headers["Location"] == one
    assert (made.get_json()["number"], made.get_json()["state"]) == (1, "preparing")
    prepared(net, made.get_json()["id"])
    shown = bergen.ok("GET", one)
    assert [shown] == bergen.ok("GET", path)["items"]
    assert (shown["state"], shown["workload_state"], shown["group_id"]) == ("serving", "wanted", "inf7-1")
    assert shown["asked"]["input_cluster"] == "cloud"
    workload = oslo.ok("GET", f"/v1/workloads/{shown['workload_id']}")
    assert (workload["name"], workload["state"]) == ("model-inference-1", "wanted")
    assert bergen.call("POST", f"{one}/stop").status_code == 403
    assert oslo.ok("POST", f"{one}/stop")["state"] == "stopped"
    assert slug(oslo.call("DELETE", one), 409) == "in_use"
    assert net.site("far").get(one).status_code == 404


def test_what_cannot_be_served_is_refused_with_what_to_do(net: Network) -> None:
    oslo = net.site("stavanger")
    project = net.project(oslo)
    streams.finished(net.database, project, number=17, state="deployed", model_artifact_id=None)
    path = f"/v1/projects/{project}/inferences"
    assert slug(oslo.call("POST", path, {"result": 17, "asked": ASKED}), 409) == "not_now"
    assert slug(oslo.call("POST", path, {"result": 18, "asked": ASKED}), 404) == "not_found"
    for asked in ({**ASKED, "replicas": -5}, {**ASKED, "input_topic": "a b"}, {**ASKED, "token": "secret"}):
        assert oslo.call("POST", path, {"result": 17, "asked": asked}).status_code == 400


def test_a_second_pytorch_one_on_its_topic_is_refused(net: Network) -> None:
    oslo = net.site("lillehammer")
    project = net.project(oslo)
    streams.finished(net.database, project, number=27, framework="pth")
    asked = {"result": 27, "asked": {**ASKED, "input_topic": "torch", "output_topic": "told"}}
    path = f"/v1/projects/{project}/inferences"
    first = oslo.ok("POST", path, asked)["id"]
    assert slug(oslo.call("POST", path, asked), 409) == "name_taken"
    oslo.ok("POST", f"{path}/{first}/stop")
    oslo.ok("DELETE", f"{path}/{first}")
    assert oslo.ok("POST", path, asked)["state"] == "preparing"


def test_a_topic_of_another_projects_is_refused(net: Network) -> None:
    oslo, bergen = net.site("hamar"), net.site("gjøvik")
    for number, site in ((37, oslo), (38, bergen)):
        project = net.project(site)
        streams.finished(net.database, project, number=number)
        asked = {"result": number, "asked": {**ASKED, "input_topic": f"only_{number}", "output_topic": "theirs"}}
        answer = site.call("POST", f"/v1/projects/{project}/inferences", asked)
        assert answer.status_code == 201 if site is oslo else slug(answer, 409) == "name_taken"
