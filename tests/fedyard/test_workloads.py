"""Workloads at a site: its agent, the hub and real processes; over deaths of the agent."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedyard.agent.cluster import ClusterSettings, processes_of
from fedyard.agent.site import Folder, SiteError
from fedyard.cluster.processes import Processes
from tests.fedyard.world import World
from tests.ops.program import call, environment
from tests.prepared import SITE
from tests.waiting import until

CLUSTER = """
[cluster]
kind = "processes"
projects = ["*"]
max_workloads = 8
[cluster.images]
"local/sh" = ["/bin/sh", "-c"]
"""


class Place:
    """A site with a cluster of its own, and two projects of another one's."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.lead, self.site = world.sites(folder, "lead", "yard")
        with (self.site.path / "site.toml").open("a") as toml:
            toml.write(CLUSTER)
        self.projects = [self.project(f"{folder.name}-{name}") for name in ("a", "b")]

    def project(self, name: str) -> str:
        made = self.lead.client.create_project(name, [{"name": "t", "model": "mean:M"}], joining="open")
        self.site.join(made)
        return made

    def create(self, script: str, project: int = 0, **spec: Any) -> str:
        spec = {"kind": "job", "image": "local/sh", "arguments": [script], "grace_s": 0.5, **spec}
        body = {"name": "w", "where": f"site:{self.site.site_id}", "spec": spec}
        return str(self.ask(f"/v1/projects/{self.projects[project]}/workloads", body)["id"])

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = call(self.world.hub, path, self.lead.folder.token(), body, wait=20)
        assert status < 300, answer
        return answer

    def state(self, ident: str) -> tuple[str, str]:
        found = self.ask(f"/v1/workloads/{ident}")
        return found["state"], found["reason"]

    def log(self, ident: str) -> bytes:
        return base64.b64decode(self.ask(f"/v1/workloads/{ident}/log")["log"])

    def cleared(self) -> bool:
        """What a test that failed has left running goes."""
        cluster = Processes(processes_of(self.site.path), images={})
        gone = [cluster.remove_place(self.site.site_id, project) for project in self.projects]
        cluster.close()
        return all(gone)

    def gone(self, ident: str) -> bool:
        return all(one["gone_at"] for one in self.ask(f"/v1/workloads/{ident}/attempts")["items"])


@pytest.fixture(scope="module")
def place(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(world, tmp_path_factory.mktemp("yard"))
    made.site.start()
    yield made
    made.site.kill()
    until(made.cleared)


def test_what_is_wanted_of_a_site_runs_there_as_processes_and_is_reported(place: Place) -> None:
    ends = place.create("echo here; echo $FEDYARD_PROJECT_ID; exit 3")
    other = place.create("echo there; echo $FEDYARD_PROJECT_ID", 1)
    strange = place.create("true", image="local/python")
    until(lambda: place.state(ends) == ("failed", "exit_code") and place.gone(ends))
    until(lambda: place.state(other) == ("succeeded", "") and place.gone(other))
    assert place.log(ends) == f"here\n{place.projects[0]}\n".encode()
    assert place.log(other) == f"there\n{place.projects[1]}\n".encode()
    until(lambda: place.state(strange) == ("failed", "image_unusable"))
    assert "[cluster]" in place.ask(f"/v1/workloads/{strange}")["detail"]


def test_workloads_outlive_their_agent_and_what_became_of_them_is_known_when_it_is_back(place: Place) -> None:
    gate, through = place.site.path / "gate", place.site.path / "through"
    ends = place.create(f"while [ ! -e {gate} ]; do sleep 0.05; done; echo through; touch {through}")
    stays = place.create("sleep 600")
    until(lambda: place.state(ends)[0] == place.state(stays)[0] == "running")
    place.site.kill()
    gate.touch()
    until(through.exists)
    assert place.state(ends) == ("running", "")
    place.site.start()
    until(lambda: place.state(ends) == ("succeeded", ""))
    assert place.log(ends) == b"through\n"
    assert place.site.end(signal.SIGTERM) == 0
    assert place.state(stays) == ("running", "")
    listed = SITE.run("--folder", place.site.path, "site", "workloads", environment=environment()).stdout
    assert stays in listed
    assert "running" in listed
    place.site.start()
    place.ask(f"/v1/workloads/{stays}/stop", {})
    until(lambda: place.state(stays) == ("stopped", "") and place.gone(stays))


def test_its_log_is_followed_from_afar_while_it_runs_until_it_has_ended(place: Place) -> None:
    gate = place.site.path / "go-on"
    ident = place.create(f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two; exit 3")
    path, told = f"/v1/workloads/{ident}/log?wait=10&after=", b""
    while told != b"one\n":
        told += base64.b64decode(place.ask(f"{path}{len(told)}")["log"])
    gate.touch()
    done = SITE.run("--folder", place.lead.path, "workload", "log", ident, "--follow", environment=environment())
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n"), done.stderr
    assert "exit_code" in done.stderr, "and how it is after its log"
    assert place.ask(f"{path}8")["over"]
    until(lambda: place.state(ident) == ("failed", "exit_code") and place.gone(ident))
    assert place.log(ident) == b"one\ntwo\n"


def test_what_an_archived_project_has_there_goes_and_the_hub_knows(place: Place) -> None:
    """The agent looks for that when it starts, and every few minutes."""
    name = f"{place.site.path.name} c"
    place.projects.append(place.project(name))
    ident = place.create("true", len(place.projects) - 1)
    until(lambda: place.state(ident) == ("succeeded", "") and place.gone(ident))
    project = place.projects[-1]
    folder = processes_of(place.site.path) / "places" / project
    assert folder.is_dir()
    place.lead.client.write("DELETE", f"/v1/projects/{project}", None, dict, key="over")
    assert place.site.end(signal.SIGTERM) == 0
    place.site.start()
    until(lambda: not folder.exists())

    def told() -> list[dict[str, str]]:
        events = place.ask(f"/v1/projects/{project}/events")["items"]
        return [one["facts"] for one in events if one["kind"] == "place_removed"]

    assert until(told) == [{"where": f"site:{place.site.site_id}"}]


def test_a_site_that_is_retired_ends_what_runs_there(place: Place) -> None:
    ident = place.create("sleep 600")
    until(lambda: place.state(ident)[0] == "running")
    place.world.admin.write("DELETE", f"/v1/sites/{place.site.site_id}", None, dict, key=None)
    until(lambda: not place.site.runs())
    assert place.site.end() == 1
    assert place.state(ident) == ("lost", "site_retired")
    cluster = Processes(processes_of(place.site.path), images={})
    assert cluster.observe(place.site.site_id) == []
    cluster.close()
    assert len(list((place.site.path / "workloads" / "left").iterdir())) == 1


# the settings


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('kind = "docker"', "kind"),
        ('kind = "processes"\nimages = ["sh"]', r"write \[cluster.images\]"),
        ('kind = "processes"\nin_cluster = true', "are for kind"),
        ('kind = "kubernetes"', "write in_cluster = true, or kubeconfig"),
        ('kind = "kubernetes"\nkubeconfig = "k"', "write in_cluster = true, or kubeconfig"),
        ('kind = "kubernetes"\nkubeconfig = "k"\ncontext = "c"\nin_cluster = true', "write in_cluster = true, or"),
        ('kind = "kubernetes"\nin_cluster = true\n[cluster.images]\n"x" = ["y"]', "are a list of names"),
        ('kind = "processes"\nmax_workloads = 0', "max_workloads"),
    ],
)
def test_what_is_wrong_with_the_cluster_is_said_before_the_agent_starts(
    tmp_path: Path, written: str, said: str
) -> None:
    (tmp_path / "site.toml").write_text(f'hub = "http://127.0.0.1:1"\nname = "n"\n[cluster]\n{written}\n')
    with pytest.raises(SiteError, match=said):
        Folder(tmp_path).settings()


def test_a_cluster_of_kubernetes_is_named_with_its_context(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'hub = "http://127.0.0.1:1"\nname = "n"\n[cluster]\nkind = "kubernetes"\nkubeconfig = "k"\ncontext = "c"\n'
        'images = ["registry.example/fed/*"]\nprojects = ["p"]\n'
    )
    assert Folder(tmp_path).settings().cluster == ClusterSettings(
        kind="kubernetes", kubeconfig="k", context="c", images=["registry.example/fed/*"], projects=["p"]
    )
