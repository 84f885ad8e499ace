"""What docs/sites.md shows is what works."""

from __future__ import annotations

import inspect
import re
from typing import get_args

import msgspec

from fedyard import tasks
from fedyard.agent.cluster import ClusterSettings
from fedyard.agent.consents import Join
from fedyard.agent.lines import LogSettings
from fedyard.agent.policy import ProjectPolicy
from fedyard.agent.room import Messages
from fedyard.agent.site import Coordinator, Folder, Keys, Settings
from fedyard.sealed import errors
from fedyard.sealed.trust import TrustSettings
from fedyard.tasks import Task
from fedyard.tasks.jobs import Hook
from fedyard.tasks.registry import task_of
from fedyard.tasks.settings import Tasks
from fedyard.wire.answers import TaskSpec
from tests.fedyard.world import World
from tests.ops.program import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "sites.md").read_text()


def block(language: str, nth: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[nth])


def test_its_task_runs_at_a_site_that_allows_it(world: World, tmp_path) -> None:
    (north,) = world.sites(tmp_path, "north")
    (north.path / "mean_dose.py").write_text(block("python"))
    (north.path / "train.csv").write_text("age,dose\n1,10\n2,20\n3,60\n")
    settings = (north.path / "site.toml").read_text()
    settings = re.sub(r"allow = .*", block("toml").splitlines()[1], settings)
    (north.path / "site.toml").write_text(settings.replace("[data]", '[data]\ntrain = "train.csv"'))
    try:
        north.may_be_alone().start()
        specs = msgspec.json.decode(block("json", 1))
        project = north.client.create_project(f"docs {tmp_path.name}", specs, sealed="optional")
        north.serve(project)
        run_id = north.client.start_run(project).id
        run = until(lambda: (r := north.client.run(run_id)).finished and r)
        assert run.state == "succeeded", (north.path / "agent.log").read_text()
        assert run.tasks[0].rounds[0].metrics == {"mean": 30.0}
    finally:
        north.kill()


def test_its_tasks_file_is_one() -> None:
    (spec,) = msgspec.json.decode(block("json"), type=list[TaskSpec])
    task_of(spec.model, []).validate(spec.parameters)
    assert spec.contract.quorum == 0.8


def test_it_names_every_hook() -> None:
    hooks = [name for name, hook in vars(Task).items() if inspect.isfunction(hook)]
    assert re.findall(r"^\| `(\w+)\([\w, ]+\)`.* \| .+ \| .+ \|$", PAGE, re.MULTILINE) == hooks
    assert re.findall(r"^    (\w+)\([\w, ]+\) ", str(tasks.__doc__), re.MULTILINE) == hooks


def test_every_hook_of_a_job_is_the_tasks_and_asked_for_by_a_step() -> None:
    hooks = {name for name, hook in vars(Task).items() if inspect.isfunction(hook)}
    steps = "".join(path.read_text() for path in (ROOT / "fedyard" / "agent" / "steps").glob("*.py"))
    assert set(re.findall(r'hooks\.call\(\s*entry,\s*"(\w+)"', steps)) == set(get_args(Hook))
    assert hooks == {*get_args(Hook), "validate", "evaluate"}  # called before the first one, and after aggregate
    called = (ROOT / "fedyard" / "tasks" / "hooks.py").read_text()
    assert {hook for hook in hooks if f"task.{hook}(" in called} == hooks


def test_it_names_every_setting(tmp_path) -> None:
    names = [*Settings.__struct_fields__]
    parts = {"join": Join, "tasks": Tasks, "trust": TrustSettings, "keys": Keys, "coordinator": Coordinator}
    parts |= {"messages": Messages, "log": LogSettings, "cluster": ClusterSettings}
    names += [f"{part}.{name}" for part, kind in parts.items() for name in kind.__struct_fields__]
    missing = [name for name in names if name not in parts and f"`{name}`" not in PAGE]
    assert missing == []
    policy = (ROOT / "docs" / "policy.md").read_text()
    assert [name for name in ProjectPolicy.__struct_fields__ if f"| `{name}` |" not in policy] == []
    made = Folder(tmp_path / "x")
    made.create(Settings(hub="http://hub.example", name="x"), "one-time")
    assert made.settings() == Settings(hub="http://hub.example", name="x")


def test_every_code_of_a_payload_that_is_refused_is_explained() -> None:
    page = (ROOT / "docs" / "sealing.md").read_text()
    codes = {kind.slug for kind in vars(errors).values() if isinstance(kind, type)} - {"seal"}
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
