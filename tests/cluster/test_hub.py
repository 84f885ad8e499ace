"""A whole hub on a cluster of Kubernetes, the tests' API server: what people ask for becomes pods that really run."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.settings import path_url
from devservers.ports import free_port
from fedyard.cluster import names
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.answers import Seat, Workload
from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.images import SHELL, Image
from tests.cluster.apiserver.server import ApiServer
from tests.cluster.programs import LIVES, SERVICE
from tests.cluster.test_fedota import PROGRAMS
from tests.fedyard.world import SiteProcess, World
from tests.ops.program import Program, create_account
from tests.waiting import until

WHERE = "kube"
COORDINATOR, SELECTOR = "fedyard.test/coordinator:1", "fedyard.test/selector:1"
RULES = f"""
prepare_image = "{SHELL}"
outside = "NodePort"
outside_host = "fl.example.org"
"""
MODEL = "small:Small"
SMALL = """
import numpy as np
from fedyard.tasks import Context, Result, Task

class Small(Task):
    def train(self, context: Context, model: object) -> Result:
        return Result({"total": np.array([1.0])}, {"samples": 1.0})

    def aggregate(self, context: Context, updates: object) -> Result:
        return Result({"total": sum(update.content["total"] for update in updates)}, {})
"""
LISTENS = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
TAKES_PART = f"""
echo "attempt $FEDYARD_WORKLOAD_ATTEMPT begins"
[ $FEDYARD_WORKLOAD_ATTEMPT != 1 ] || exec sleep 600
fedyard site init --hub "$FEDYARD_HUB_URL" --name any --join "$FEDYARD_PROJECT_ID" --coordinator "$0" --folder site
printf %s "$1" > site/small.py
sed -i 's/^allow = .*/allow = ["{MODEL}"]/' site/site.toml
exec fedyard --folder site site run
"""
"""Its first attempt goes nowhere. $0: whose project it is, in words. $1: the program of the model."""


AT_A_SITE = f"""
[cluster]
kind = "kubernetes"
kubeconfig = "kubeconfig"
context = "tests"
projects = ["*"]
images = ["{SHELL}"]
"""
ENDS_SOON = "echo up; sleep 1; echo over; exit 4"


class Hub:
    """A hub that may die, and comes again at its address."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self._settings = settings
        self._port = free_port()
        self.start()

    def start(self) -> None:
        arguments = ("embedded", "--data", self.folder / "hub", "--port", self._port)
        self._program = Program(self.folder / f"log-{time.monotonic_ns()}", *arguments, **self._settings)
        self.url = self._program.ready()

    def kill(self) -> None:
        self._program.end(signal.SIGKILL)

    def end(self) -> None:
        self._program.end()


@dataclass
class Yard:
    """A cluster and a hub that names it, and a site whose people ask for things."""

    server: ApiServer
    hub: Hub
    world: World
    site: SiteProcess

    def project(self, name: str, **options: object) -> str:
        task = {"name": "t", "model": MODEL, "rounds": 1}
        return self.site.client.create_project(
            f"{name} of {self.site.name}", [task], joining="open", sealed="optional", **options
        )

    def start(self, project: str, script: str, where: str = WHERE) -> str:
        asked: dict[str, object] = {"kind": "job", "image": SHELL, "command": ["sh", "-c", script], "grace_s": 2.0}
        return self.site.client.start_workload(project, "w", where, asked).id

    def workload(self, project: str, ident: str) -> Workload:
        return next(one for one in self.site.client.workloads(project) if one.id == ident)

    def reaches(self, project: str, ident: str, state: str) -> Workload:
        return until(lambda: (one := self.workload(project, ident)).state == state and one)

    def part(self, project: str, name: str) -> Workload:
        return next(one for one in self.site.client.workloads(project) if one.name == name)

    def archive(self, project: str) -> None:
        self.site.client.write("DELETE", f"/v1/projects/{project}", {}, dict, key=None)

    def pods(self, project: str) -> dict[str, str]:
        """Those of a place that are not over: their addresses, by name."""
        listed = self.server.api.list(r.PODS, names.place_name(project), {})["items"]
        return {
            pod["metadata"]["name"]: pod["status"].get("podIP", "")
            for pod in listed
            if pod["status"]["phase"] not in {"Succeeded", "Failed"}
        }

    def jobs(self, project: str) -> list[str]:
        listed = self.server.api.list(r.JOBS, names.place_name(project), {})["items"]
        return [one["metadata"]["name"] for one in listed]

    def has_namespace(self, project: str) -> bool:
        return self.server.api.find(r.NAMESPACES, "", names.place_name(project)) is not None


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("kube")
    rules = folder / "rules.toml"
    rules.write_text(RULES)
    with ApiServer() as server:
        shell = server.images[SHELL].environment
        for image, program in ((COORDINATOR, PROGRAMS["coordinator"]), (SELECTOR, PROGRAMS["selector"])):
            server.images[image] = Image(
                entrypoint=("python3", "-c"), command=(LISTENS + program + SERVICE,), environment=shell
            )
        config = server.kubeconfig(folder / "kubeconfig")
        hub = Hub(
            folder,
            FEDYARD_CLUSTERS=f"{WHERE}={path_url('kubeconfig', config)}?context=tests&rules={rules}",
            FEDYARD_WORKLOAD_IMAGES="fedyard.test/*",
            FEDYARD_TICK_EVERY_S="0.1",
            FEDYARD_HEARTBEAT_EVERY_S="5",
        )
        site = None
        try:
            world = World(hub.url, create_account(folder / "hub"), folder / "hub")
            (site,) = world.sites(tmp_path_factory.mktemp("sites"), "north")
            (site.path / "small.py").write_text(SMALL)
            settings = (site.path / "site.toml").read_text()
            (site.path / "site.toml").write_text(re.sub("(?m)^allow = .*", f'allow = ["{MODEL}"]', settings))
            yield Yard(server, hub, world, site.start())
        finally:
            if site is not None:
                site.kill()
            hub.end()


def test_a_job_leaves_its_log_before_it_is_removed_and_its_place_goes_with_its_project(yard: Yard) -> None:
    project = yard.project("a job")
    ident = yard.start(project, "echo hello; echo trouble >&2; exit 3")
    failed = yard.reaches(project, ident, "failed")
    assert (failed.reason, failed.exit_code) == ("exit_code", 3)
    left = yard.site.client.workload_log(ident)
    assert left.log is not None
    assert set(left.log.decode().splitlines()) == {"hello", "trouble"}
    assert any("Created pod" in one for one in left.events)
    until(lambda: not yard.jobs(project))
    lives = yard.start(project, LIVES)
    yard.reaches(project, lives, "running")
    yard.archive(project)
    yard.reaches(project, lives, "stopped")
    assert yard.site.client.workload_log(lives).log == b"up\n"
    until(lambda: not yard.has_namespace(project))


def test_a_seat_of_a_run_is_held_by_a_pod_and_taken_over_when_that_is_evicted(yard: Yard) -> None:
    whose = words(fingerprint(yard.site.folder.keyring().identity_key))
    spec = {
        "kind": "job",
        "image": SHELL,
        "command": ["sh", "-c", TAKES_PART, whose, SMALL],
        "grace_s": 5.0,
        "attempts": 3,
    }
    task = {
        "name": "train",
        "model": MODEL,
        "rounds": 1,
        "who": [yard.site.site_id],
        "workloads": [{"name": "worker", "where": WHERE, "spec": spec}],
    }
    project = yard.site.client.create_project(f"seats of {yard.site.name}", [task], joining="open")
    yard.site.serve(project)
    run = yard.site.client.start_run(project, finish_within_s=100).id

    def seats() -> list[Seat]:
        return yard.site.client.run(run).tasks[0].seats

    worker = yard.part(project, "worker")
    yard.reaches(project, worker.id, "running")
    (pod,) = yard.pods(project)
    yard.server.evict(names.place_name(project), pod)
    until(lambda: yard.part(project, "worker").attempt == 2)
    ended = until(lambda: (found := yard.site.client.run(run)).finished and found)
    assert ended.state == "succeeded", [task.seats for task in ended.tasks]
    out = {seat.state: seat.reason for seat in seats() if seat.site_id != yard.site.site_id}
    assert out == {"dropped": "workload_replaced", "done": "completed"}
    yard.reaches(project, worker.id, "stopped")
    first, second = (yard.site.client.workload_log(worker.id, attempt) for attempt in (1, 2))
    assert any("low on resource" in one for one in first.events)
    assert second.log is not None
    assert second.log.startswith(b"attempt 2 begins\n")
    assert not yard.pods(project)


def test_what_the_hub_asks_of_its_cluster_is_counted_and_timed(yard: Yard) -> None:
    project = yard.project("counted")
    yard.reaches(project, yard.start(project, "exit 0"), "succeeded")

    def counted() -> bool:
        with urllib.request.urlopen(f"{yard.world.hub}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        verbs = {"missing", "ensure", "observe", "evidence", "stop"}
        return verbs <= set(re.findall(r'calls_total\{cluster="kube",outcome="ok",verb="(\w+)"\}', text)) and all(
            f'fedyard_cluster_call_seconds_count{{cluster="kube",verb="{verb}"}}' in text for verb in verbs
        )

    until(counted)


def test_a_projects_own_coordinator_and_selectors_are_started_scaled_stopped_and_archived(yard: Yard) -> None:
    parts = {"coordinator_image": COORDINATOR, "selector_image": SELECTOR, "selectors": 2, "where": WHERE}
    contract = {"quorum": 1, "quorum_of": "count"}
    task = {"name": "t", "model": "fedota", "rounds": 1, "contract": contract}
    project = yard.site.client.create_project(
        f"parts of {yard.site.name}", [task], joining="open", sealed="optional", infrastructure=parts
    )
    yard.site.client.start_infrastructure(project)

    def stands(*pods: str) -> bool:
        ready = [one.ready for one in yard.site.client.workloads(project) if one.state == "running"]
        return set(yard.pods(project)) == set(pods) and sum(ready) == len(pods)

    until(lambda: stands("coordinator-0", "selector-0", "selector-1"))
    place = names.place_name(project)
    until(lambda: yard.part(project, "selector").addresses.keys() == {"inside", "outside"})
    addresses = yard.part(project, "selector").addresses
    assert addresses["inside"] == f"selector.{place}.svc:50051"
    assert addresses["outside"].startswith("fl.example.org:3")
    assert yard.part(project, "coordinator").addresses == {"inside": f"coordinator.{place}.svc:50050"}
    yard.site.client.scale_selectors(project, 3)
    until(lambda: stands("coordinator-0", "selector-0", "selector-1", "selector-2"))
    (volume,) = (yard.server.kubelet.folder / "claims").iterdir()
    until(lambda: (volume / "initFiles" / "fl_checkpoint").read_text() == "selector-0 selector-1 selector-2")
    yard.site.client.stop_infrastructure(project)
    until(lambda: {one.state for one in yard.site.client.workloads(project)} == {"stopped"})
    assert not yard.pods(project)
    yard.archive(project)
    assert yard.has_namespace(project)
    assert (volume / "initFiles" / "fl_checkpoint").exists(), "a project's files are kept for a day"


def test_what_ends_while_the_api_server_is_away_is_known_when_it_is_back(yard: Yard) -> None:
    project = yard.project("away")
    ident = yard.start(project, ENDS_SOON)
    yard.reaches(project, ident, "running")
    yard.server.go_away()
    waits = yard.start(project, "exit 0")
    until(lambda: not yard.pods(project))
    assert yard.workload(project, ident).state == "running"
    yard.server.come_back()
    yard.reaches(project, waits, "succeeded")
    ended = yard.reaches(project, ident, "failed")
    assert (ended.reason, ended.exit_code) == ("exit_code", 4)
    assert yard.site.client.workload_log(ident).log == b"up\nover\n"


def test_a_hub_that_dies_while_it_makes_a_job_finds_it_made(yard: Yard) -> None:
    project = yard.project("dies")
    yard.reaches(project, yard.start(project, "exit 0"), "succeeded")  # its place is there
    until(lambda: not yard.jobs(project))
    go = yard.server.faults.hold("POST", "/jobs")
    posts = len(yard.server.asked("POST", "/jobs"))
    ident = yard.start(project, LIVES)
    until(lambda: len(yard.server.asked("POST", "/jobs")) > posts)
    yard.hub.kill()
    go.set()
    (made,) = until(lambda: yard.jobs(project))
    yard.hub.start()
    assert yard.reaches(project, ident, "running").attempt == 1
    assert yard.jobs(project) == [made]
    assert len(yard.pods(project)) == 1
    yard.site.client.stop_workload(ident)
    yard.reaches(project, ident, "stopped")


def test_what_ends_at_a_sites_own_cluster_while_its_agent_is_away_is_known_when_it_is_back(
    yard: Yard, tmp_path: Path
) -> None:
    (east,) = yard.world.sites(tmp_path, "east")
    yard.server.kubeconfig(east.path / "kubeconfig")
    with (east.path / "site.toml").open("a") as settings:
        settings.write(AT_A_SITE)
    project = yard.project("at a site")
    east.join(project)
    east.start()
    try:
        ident = yard.start(project, ENDS_SOON, where=f"site:{east.site_id}")
        yard.reaches(project, ident, "running")
        east.kill()
        until(lambda: not yard.pods(project))
        assert yard.workload(project, ident).state == "running"
        east.start()
        assert yard.reaches(project, ident, "failed").exit_code == 4
        assert yard.site.client.workload_log(ident).log == b"up\nover\n"
        until(lambda: not yard.jobs(project))
    finally:
        east.kill()
