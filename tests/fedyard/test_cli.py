"""`fedyard` against a real hub, as people type it."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fedyard.actions.naming import run_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder, Settings
from fedyard.cli.common import client_of, state_told
from fedyard.cli.main import main
from fedyard.cli.site import joins_of
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.client.transfer import Transfer
from fedyard.sealed.keys import words
from fedyard.wire.answers import Infrastructure, Run, StageDeadlines
from tests.actors.test_archives import zipped
from tests.fedyard.world import ALLOWED, World
from tests.ops.program import ROOT, environment
from tests.waiting import until


@pytest.fixture
def site(world: World, tmp_path, capsys):
    """A new site by `init`; a function that runs a command as it and gives (exit code, output, complaints)."""

    def made(name: str):
        token = tmp_path / f"{name}.token"
        token.write_text(world.admin.create_enrolment(world.organisation_id).token or "")
        folder = str(tmp_path / name)
        full = f"{tmp_path.name}-{name}"

        def run(*arguments: str) -> tuple[int, str, str]:
            code = main(["--folder", folder, *arguments])
            said = capsys.readouterr()
            return code, said.out, said.err

        code, out, _ = run("site", "init", "--hub", world.hub, "--name", full, "--token-file", str(token))
        assert code == 0
        assert "enrolled as site" in out
        return run, full

    return made


SHOWN_TO_PROGRAMS = (
    "site whoami",
    "site inbox",
    "site egress",
    "site failures",
    "site receipts",
    "site consents",
    "site workloads",
    "site keys",
    "site fingerprint",
    "site heads",
    "project list",
    "project members {project}",
    "project tasks {project}",
    "project files {project}",
    "project parts {project}",
    "project rounds {project}",
    "project secret list {project}",
    "project architecture list {project}",
    "project configuration list {project}",
    "project inference list {project}",
    "workload list {project}",
    "deployment list {project}",
    "models {project}",
    "run show",
    "run matches {project}/1",
)
"""What answers with one JSON value."""
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def tasks_file(tmp_path, **more: object) -> str:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([{"name": "train", "model": ALLOWED[0], "rounds": 2, **more}]))
    return str(path)


def test_a_jobs_files_are_named_and_listed(site, tmp_path) -> None:
    north, _ = site("north")
    project = f"f {tmp_path.name}"
    north("project", "create", project, "--sealed", "optional", "--tasks", tasks_file(tmp_path))
    here = "site:" + re.search(r"\(([0-9a-f-]{36})", north("site", "whoami")[1])[1]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "job", "image": "i", "outputs": {"notes": {"required": False}}}))
    start = ["workload", "start", project, "w", "--spec", str(spec), "--where", here]
    assert "version 7" in north(*start, "--input", "start=7")[2]
    assert "artifact 1" in north(*start, "--input", f"start=1{here[6:]}")[2]
    assert "there is no file" in north(*start, "--input", f"start=@{tmp_path}/none")[2]
    (tmp_path / "rows.csv").write_text("1,2\n")
    code, out, err = north(*start, "--output", "model", "--input", f"start=@{tmp_path}/rows.csv")
    assert code == 0, err
    ident = re.search(r"\(([0-9a-f-]{36})\)", out)[1]
    code, out, _ = north("workload", "files", ident, "--to", str(tmp_path / "left"))
    assert (code, "outputs/" in out, (tmp_path / "left").exists()) == (0, False, False)
    assert "inputs/start" in out
    north(*start[:6], "--input", f"start=@{tmp_path}/rows.csv")  # at a cluster of the hub's, which here is none
    client = client_of(Folder(tmp_path / "north"))
    mine = client.artifacts(project_id=client.projects(name=project)[0].id)
    assert sorted((one.kind, one.size_bytes) for one in mine) == [("initial", 4), ("result", 4)]


def test_secrets_are_set_listed_and_deleted(site, tmp_path) -> None:
    north, name = site("north")
    project = f"s {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path))
    (tmp_path / "password").write_text("hush\n")
    assert north("project", "secret", "set", project, "db", "--file", str(tmp_path / "password"))[0] == 0
    code, out, err = north("project", "secret", "list", project)
    assert (code, "db" in out, name in out, "hush" in out) == (0, True, True, False), err
    assert north("project", "secret", "delete", project, "db")[0] == 0
    assert "db" not in north("project", "secret", "list", project)[1]


def test_architectures_and_configurations_are_put_by_name(site, tmp_path) -> None:
    north, _ = site("north")
    project = f"a {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path))
    code = tmp_path / "model.py"
    code.write_text("model = 1\n")
    put = ("project", "architecture", "put", project)
    assert "version 1" in north(*put, "cnn", str(code), "--framework", "tf")[1]
    code.write_text("model = 2\n")
    assert "version 2" in north(*put, "cnn", str(code), "--framework", "tf")[1]
    assert "model = 2" in north("project", "architecture", "show", project, "cnn")[1]
    assert "model = 1" in north("project", "architecture", "show", project, "cnn", "--version", "1")[1]
    code.write_text("Model()\n")
    assert north(*put, "cloud", str(code), "--framework", "tf", "--distributed")[0] == 0
    assert north(*put, "edge", str(code), "--framework", "tf", "--feeds", "cloud")[0] == 0
    assert "has no architecture 'fog'" in north(*put, "x", str(code), "--framework", "tf", "--feeds", "fog")[2]
    code.write_text("model = (")
    assert "line 1" in north(*put, "bad", str(code), "--framework", "tf")[2]
    assert "No such file" in north(*put, "bad", str(tmp_path / "none"), "--framework", "tf")[2]
    listed = north("project", "architecture", "list", project)[1]
    assert all(one in listed for one in ("cnn", "cloud", "edge"))
    both = ("project", "configuration", "put", project, "both")
    assert north(*both, "cnn", "cloud")[0] == 0
    listed = north("project", "configuration", "list", project)[1]
    assert "edge" in listed
    assert "both" in north("project", "architecture", "delete", project, "cnn")[2]
    assert north(*both, "cloud", "--description", "x")[0] == 0
    assert north("project", "architecture", "delete", project, "cnn")[0] == 0
    assert north("project", "configuration", "delete", project, "both")[0] == 0
    assert "has no configuration 'both'" in north("project", "configuration", "delete", project, "both")[2]


def test_inferences_are_of_results_that_are_there(site, tmp_path) -> None:
    north, _ = site("north")
    project = f"i {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path))
    start = ("project", "inference", "start", project, "7", "--from", "in", "--to", "out")
    code, _, err = north(*start)
    assert (code, "there is no result 7" in err) == (1, True)
    assert north("project", "inference", "list", project)[0] == 0
    for verb in ("stop", "delete"):
        assert "has no inference 3" in north("project", "inference", verb, project, "3")[2]


def test_workloads_from_start_to_stop(site, tmp_path) -> None:
    north, full = site("north")
    project = f"w {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path))
    here = "site:" + re.search(r"\(([0-9a-f-]{36})", north("site", "whoami")[1])[1]
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "service", "image": "i", "port": 80}))
    said = ["--env", "A=b=c", "--label", "team=oslo", "--object-name", "model-7"]
    code, out, err = north("workload", "start", project, "model", "--spec", str(spec), "--where", here, *said)
    assert (code, out.split(" (")[0]) == (0, f"workload {project}/model is wanted"), err
    ident = re.search(r"\(([0-9a-f-]{36})\)", out)[1]
    listed = north("workload", "list", project)[1]
    assert ident in listed
    assert here in listed
    by_name = north("workload", "start", project, "named", "--spec", str(spec), "--where", f"site:{full}")
    assert by_name[0] == 0, by_name[2]
    assert north("workload", "list", project)[1].count(here) == 2
    nowhere = north("workload", "start", project, "nowhere", "--spec", str(spec), "--where", "site:west")
    assert (nowhere[0], "site:west: no site of that name" in nowhere[2]) == (2, True)
    assert north("workload", "list", project, "--state", "running")[1].count("model") == 0
    named = f"{project}/model"
    assert north("workload", "scale", named, "3")[1] == f"workload {named} is to have 3 replicas\n"
    code, _, err = north("workload", "log", ident)
    assert (code, "has no log yet" in err, "--follow" in err) == (1, True, True)
    assert north("workload", "stop", named)[1] == f"workload {named} is wanted, and is to go\n"
    assert "wanted, stopping" in north("workload", "list", project)[1]
    assert north("workload", "stop", f"{project}/other")[0] == 2
    assert north("workload", "stop", "no-id")[0] == 2
    assert "--env A: " in north("workload", "start", project, "x", "--spec", str(spec), "--env", "A")[2]
    reserved = ["--label", "fedyard/owner=me"]
    assert "fedyard/owner" in north("workload", "start", project, "x", "--spec", str(spec), *reserved)[2]
    spec.write_text("[]")
    assert north("workload", "start", project, "x", "--spec", str(spec))[0] == 2
    assert north("workload", "start", project, "x", "--spec", str(tmp_path / "none"))[0] == 2


def test_from_init_to_a_stopped_and_restarted_run(site, tmp_path) -> None:
    (north, north_name), (east, east_name) = site("north"), site("east")
    project = f"p {tmp_path.name}"
    assert north("site", "whoami")[1].startswith(f"site {north_name} (")
    assert north("project", "create", project, "--tasks", tasks_file(tmp_path))[0] == 0
    code, _, complaint = east("project", "join", project, "--notes", "please")
    assert (code, "say whose project it is" in complaint) == (2, True)
    twelve = north("site", "fingerprint")[1].splitlines()[2].split()
    code, out, _ = east("project", "join", project, "--notes", "please", "--coordinator", *twelve)
    assert (code, out.splitlines()[0]) == (0, f"{project}: requested")
    assert north("project", "approve", project, east_name) == (0, f"{east_name}: active\n", "")
    assert "participant" in north("project", "members", project)[1]
    code, out, _ = north("run", "start", project)
    assert (code, out.startswith(f"run {project}/1 is running")) == (0, True)
    assert "waits for" in north("run", "show", f"{project}/1")[1]
    code, out, _ = north("run", "why", f"{project}/1")
    assert code == 0
    assert "waits for" in out.splitlines()[0]
    heard = r"; (never heard of|(silent, )?last heard of at \d{4}-\d\d-\d\dT[\d:]+\+00:00)"
    assert re.search(rf"(?m)^  waits for {east_name} \({UUID}\): (invited|preparing){heard}$", out)
    told = json.loads(north("run", "why", f"{project}/1", "--json")[1])
    assert re.match(r"\d{4}-\d\d-\d\dT", told["waits"][0]["until"])
    assert (told["waits"][0]["at_deadline"], told["requests_waiting"]) == ("fails", 0)
    assert [*told["waits"][0]["heard"]] == [ident for ident, *_ in told["waits"][0]["sites"]]
    assert "Other sites' seats are not yours to see" in east("run", "why", f"{project}/1")[1]
    assert north("run", "matches", f"{project}/1")[0] == 0
    assert "running" in east("run", "show")[1]
    for line in SHOWN_TO_PROGRAMS:
        code, out, _ = north(*(word.format(project=project) for word in line.split()), "--json")
        assert code == 0, line
        json.loads(out)
    secrets = {(tmp_path / "north" / name).read_text().strip() for name in ("token", "identity.key")}
    keys = {json.loads(file.read_text())["private"] for file in (tmp_path / "north" / "keys").glob("*.json")}
    for line in ("site keys", "site fingerprint", "site whoami"):
        out = north(*line.split(), "--json")[1]
        assert not any(secret in out for secret in secrets | keys), line
    assert north("run", "stop", f"{project}/1", "--reason", "lunch") == (0, f"run {project}/1 is cancelled\n", "")
    assert "attempt 2 of run 1 is running" in north("run", "restart", f"{project}/1")[1]
    assert north("run", "stop", f"{project}/1")[0] == 0
    code, out, _ = north("run", "watch", f"{project}/1")
    assert (code, "run 1, attempt 2: cancelled (stopped)" in out) == (1, True)
    assert "yes" in east("project", "list")[1]
    shown = east("site", "consents")[1]
    assert f"{project} (" in shown
    assert ", by people\n" in shown
    assert " ".join(twelve) in shown
    code, out, _ = east("project", "leave", project)
    assert (code, out.splitlines()) == (0, [f"{project}: this site does not serve it any more", f"{project}: left"])


def test_errors_are_one_line(site, tmp_path) -> None:
    north, _ = site("north")
    for arguments, code, told in [
        (("project", "join", "no such project"), 2, "there is no project"),
        (("run", "show", "no such project/1"), 2, "there is no project"),
        (("run", "stop", "0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e"), 1, "404"),
        (("project", "create", "p", "--tasks", str(tmp_path / "absent.json")), 2, "absent.json"),
        (("site", "init", "--hub", "http://127.0.0.1:1", "--name", "x"), 2, "enrolment token"),
        (("site", "inbox"), 2, "has not run here yet"),
    ]:
        found, _, complaint = north(*arguments)
        assert (found, complaint.count("\n")) == (code, 1), complaint
        assert told in complaint


def test_a_participant_cannot_start_a_run(site, tmp_path) -> None:
    (north, _), (east, _) = site("north"), site("east")
    project = f"q {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path), "--joining", "open")
    assert east("project", "join", project, "--coordinator", "unknown")[1].startswith(f"{project}: active\n")
    code, _, complaint = east("run", "start", project)
    assert code == 1
    assert "403" in complaint


def test_a_folder_without_a_site_says_how_to_make_one(tmp_path, capsys) -> None:
    assert main(["--folder", str(tmp_path), "site", "whoami"]) == 2
    assert "fedyard site init" in capsys.readouterr().err


@pytest.mark.parametrize("allowed", [False, True])
def test_a_token_goes_over_plain_http_only_if_the_site_allows_it(tmp_path, capsys, allowed: bool) -> None:
    (tmp_path / "enrolment").write_text("fyd_secret")
    there = (
        "--folder",
        str(tmp_path / "north"),
        "site",
        "init",
        "--hub",
        "http://hub.example",
        "--name",
        "north",
        "--later",
    )
    flag = ["--allow-plain-http", "hub.example"] if allowed else []
    code = main([*there, "--token-file", str(tmp_path / "enrolment"), *flag])
    told = capsys.readouterr().err
    assert (code, (tmp_path / "north" / "site.toml").exists()) == ((0, True) if allowed else (1, False))
    assert allowed or ("https" in told and "allow_plain_http" in told and told.count("\n") == 1)
    if allowed:
        site_toml = tmp_path / "north" / "site.toml"
        named = 'allow_plain_http = ["hub.example"]'
        assert named in site_toml.read_text()
        site_toml.write_text(site_toml.read_text().replace(named, "allow_plain_http = false"))
        assert main(["--folder", str(tmp_path / "north"), "site", "run"]) == 1
        assert "allow_plain_http" in capsys.readouterr().err
        site_toml.write_text(site_toml.read_text().replace("allow_plain_http = false", "allow_plain_http = true"))
        assert main(["--folder", str(tmp_path / "north"), "site", "run"]) == 2
        assert "name the machine a second time" in capsys.readouterr().err


def test_the_inbox_shows_what_came(site, tmp_path) -> None:
    north, name = site("north")
    project = f"r {tmp_path.name}"
    north("project", "create", project, "--tasks", tasks_file(tmp_path), "--joining", "open")
    program = [str(ROOT / "bin" / "fedyard"), "--folder", str(tmp_path / "north")]
    log = tmp_path / "agent.log"
    with log.open("wb") as output:
        agent = subprocess.Popen([*program, "site", "run"], env=environment(), stdout=output, stderr=output)
    try:
        north("run", "start", project)
        until(lambda: "run_ended" in log.read_text())
    finally:
        agent.terminate()
        assert agent.wait() == 0
    assert "invited" in north("site", "inbox")[1]
    listed = north("run", "show")[1]
    assert "failed" in listed  # this site allows no dotted models
    assert max(map(len, listed.splitlines())) > 80, "a pipe gets rows, not columns of a terminal that is none"
    run = re.search("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", listed)
    assert run is not None
    why = "this site does not know the model"
    for said in (f"{project}/1", run[0], run[0][:8], run[0][:13].upper()):
        assert why in north("run", "show", said)[1], said
    code, out, _ = north("run", "watch", run[0][:8])
    assert (code, out.count(why)) == (1, 1)
    first = (
        rf"(?m)^It failed after \d+ s: {name} failed in round 1 of task \w+: .*{why}.*; then: quorum_not_met: 1 seat is"
    )
    assert re.search(first, out)
    assert re.search(first, north("run", "why", run[0])[1])
    told = json.loads(north("run", "why", run[0], "--json")[1])
    assert (told["state"], told["cause"]["kind"], told["cause"]["round"]) == ("failed", "seat_failed", 1)
    shown = json.loads(north("run", "show", run[0], "--json")[1])
    assert (shown["id"], shown["why"]["cause"]) == (run[0], told["cause"])
    assert [one["id"] for one in json.loads(north("run", "show", "--json")[1])] == [run[0]]
    assert json.loads(north("run", "watch", run[0], "--json")[1].splitlines()[-1])["state"] == "failed"
    code, _, complaint = north("run", "show", "0000")
    assert (code, complaint) == (
        2,
        "fedyard: there is no run whose id begins with 0000, or this site may not see it\n",
    )
    code, _, complaint = north("run", "show", "none such")
    assert (code, "names no run" in complaint) == (2, True)
    assert name in log.read_text()


def test_init_says_which_of_its_data_are_not_there(tmp_path, capsys) -> None:
    (tmp_path / "enrolment").write_text("fyd_secret")
    (tmp_path / "train.csv").write_text("x\n1\n")
    data = ["--data", f"train={tmp_path / 'train.csv'}", "--data", f"test={tmp_path / 'nosuch.csv'}"]
    there = [
        "--folder",
        str(tmp_path / "north"),
        "site",
        "init",
        "--hub",
        "http://127.0.0.1:1",
        "--name",
        "north",
        "--later",
    ]
    assert main([*there, "--token-file", str(tmp_path / "enrolment"), *data]) == 0
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert f"test={tmp_path / 'nosuch.csv'}" in complaint


def test_the_words_of_a_coordinator_need_no_quotes() -> None:
    said = words(bytes(range(16))).split()
    assert joins_of(["p", "q"], said) == joins_of(["p", "q"], [" ".join(said)])
    assert [join.project for join in joins_of(["p", "q"], said)] == ["p", "q"]
    assert joins_of(["p", "q"], [" ".join(said), "unknown"])[1].coordinator == "unknown"
    with pytest.raises(UsageError, match="neither a site's id nor a fingerprint"):
        joins_of(["p"], said[:11])
    with pytest.raises(UsageError, match="2 --coordinator for 3 --join"):
        joins_of(["p", "q", "r"], ["unknown", " ".join(said)])


def test_joining_shows_the_projects_id_and_takes_it_in_place_of_the_name(site, tmp_path) -> None:
    (north, _), (east, _) = site("north"), site("east")
    name = f"by id {tmp_path.name}"
    _, out, _ = north("project", "create", name, "--tasks", tasks_file(tmp_path), "--joining", "open")
    project = out.split()[1]
    assert f"its id is {project}" in east("project", "join", project, "--coordinator", "unknown")[1]
    assert f"{name} ({project})" in east("site", "consents")[1]


def test_a_hub_that_is_away_is_named_with_its_address() -> None:
    with pytest.raises(Unavailable, match=r"no answer from http://127\.0\.0\.1:1 \(no connection\): is the hub up"):
        Client("http://127.0.0.1:1", "fyd_x", give_up_s=0.01).me()


@dataclass
class Shown:
    """What the hub shows of runs."""

    ids: list[str]

    def runs(self) -> list[Run]:
        return [
            Run(id=id, project_id=id, number=n, attempt=1, state="failed", version=1, coordinator_site_id=id)
            for n, id in enumerate(self.ids, 1)
        ]

    def run(self, id: str) -> Run:
        return next(run for run in self.runs() if run.id == id)


def test_a_beginning_that_several_ids_have_says_which_there_are() -> None:
    ids = [f"abcd{n:04x}-0000-4000-8000-000000000000" for n in range(12)]
    hub: Any = Shown([*ids, "abce0000-0000-4000-8000-000000000000"])
    assert run_named(hub, "abce").id == "abce0000-0000-4000-8000-000000000000"
    assert run_named(hub, ids[3][:8]).id == ids[3]
    with pytest.raises(UsageError) as caught:
        run_named(hub, "abcd")
    assert str(caught.value).startswith(f"the ids of 12 runs begin with abcd: {ids[0]} (number 1, attempt 1, failed), ")
    assert "and 2 more" in str(caught.value)
    with pytest.raises(UsageError, match="4 characters"):
        run_named(hub, "abc")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


@pytest.mark.parametrize("there", [False, True])
def test_a_refused_init_leaves_nothing_behind(world: World, tmp_path, capsys, there: bool) -> None:
    """A used token, then a good one in the same folder; what lay in the folder before stays."""
    folder = tmp_path / "north"
    if there:
        folder.mkdir()
        (folder / "train.csv").write_text("x\n1\n")
    before = files_in(folder)
    used, good = tmp_path / "used", tmp_path / "good"
    used.write_text("fyd_" + "0" * 43)
    good.write_text(world.admin.create_enrolment(world.organisation_id).token or "")
    command = ["--folder", str(folder), "site", "init", "--hub", world.hub, "--name", f"{tmp_path.name} north"]
    assert main([*command, "--token-file", str(used)]) == 1
    said = capsys.readouterr()
    assert (folder.is_dir(), files_in(folder), said.out, said.err.count("\n")) == (there, before, "", 1)
    assert main([*command, "--token-file", str(good)]) == 0
    assert {"site.id", "token", "identity.key", *before} <= set(files_in(folder))
    assert main([*command, "--token-file", str(good)]) == 2
    assert "holds a site already: choose another folder" in capsys.readouterr().err


def test_an_init_that_the_hub_does_not_answer_can_go_on(tmp_path, capsys) -> None:
    """The token may be used up: what was made is all that can prove that it was this site."""
    folder = Folder(tmp_path / "north")

    def unanswered() -> None:
        with folder.made_whole():
            folder.create(Settings(hub="http://127.0.0.1:1", name="n"), "fyd_once")
            raise Unavailable("no answer")

    with pytest.raises(Unavailable, match="`fedyard site run` enrols it there"):
        unanswered()
    assert {"site.toml", "enrolment.token"} <= set(files_in(folder.path))
    (tmp_path / "token").write_text("fyd_once")
    command = ["--folder", str(folder.path), "site", "init", "--hub", "http://127.0.0.1:1", "--name", "n"]
    assert main([*command, "--token-file", str(tmp_path / "token")]) == 2
    assert "it is not enrolled yet: `fedyard site run` does that" in capsys.readouterr().err


def test_tasks_that_are_none_are_refused_before_a_project_is_made(site, tmp_path) -> None:
    north, _ = site("north")
    file = tasks_file(tmp_path, rounds="two")
    code, out, complaint = north("project", "create", f"none {tmp_path.name}", "--tasks", file)
    assert (code, out, complaint.startswith(f"fedyard: --tasks {file}: ")) == (2, "", True)
    assert f"none {tmp_path.name}" not in north("project", "list")[1]


def test_a_model_that_the_coordinators_own_site_would_refuse_is_named_at_once(site, tmp_path) -> None:
    north, _ = site("north")
    name = f"typing error {tmp_path.name}"
    code, out, warned = north("project", "create", name, "--tasks", tasks_file(tmp_path, model="logistic_regresion"))
    assert (code, out.startswith("project "), warned.count("\n")) == (0, True, 1)
    assert warned.startswith("warning: this site does not know the model 'logistic_regresion': it knows kaplan_meier, ")
    good = tasks_file(tmp_path, model="logistic_regression")
    assert north("project", "tasks", name, "--set", good)[::2] == (0, "")
    toml = tmp_path / "north" / "site.toml"
    toml.write_text(toml.read_text().replace("allow = []", f"allow = {ALLOWED!r}"))
    assert north("project", "create", f"{name} 2", "--tasks", tasks_file(tmp_path))[::2] == (0, "")


def test_a_problem_of_fedota_is_made_and_changed_by_hand(site, tmp_path) -> None:
    north, _ = site("north")
    name = f"sentiments {tmp_path.name}"
    images = ("--coordinator-image", "c:1", "--selector-image", "s:1")
    for lacking in ((), ("--goal-count", "2"), images):
        code, _, complaint = north("project", "create", name, *lacking)
        assert (code, complaint.startswith("fedyard: say --tasks FILE, or --coordinator-image")) == (2, True)
    code, _, complaint = north("project", "create", name, "--goal-count", "2", "--selectors", "3")
    assert (code, "say --coordinator-image, too" in complaint) == (2, True)

    plain = ("--description", "d", "--data-format", "CSV", "--client-image", "f:1", "--sealed", "optional")
    assert north("project", "create", name, *images, "--goal-count", "2", *plain)[::2] == (0, "")
    assert north("project", "set", name, "--selectors", "3", "--require", "model.h5", "--goal-count", "4")[::2] == (
        0,
        "",
    )
    assert north("project", "set", name, "--deadline", "selection=60", "--deadline", "REPORTING=20")[::2] == (0, "")
    assert north("project", "set", name, "--deadline", "reporting=30")[::2] == (0, "")
    for wrong in ("reporting", "reporting=soon", "completed=5"):
        code, _, complaint = north("project", "set", name, "--deadline", wrong)
        assert (code, "in selection=3600" in complaint) == (2, True)
    assert north("project", "set", name, "--data-format", "TSV")[::2] == (0, "")
    assert north("project", "set", name)[0] == 2

    made = client_of(Folder(tmp_path / "north")).projects(name=name)[0]
    contract = made.tasks[0].contract
    assert (made.description, made.data_format, made.client_image, made.sealed) == ("d", "TSV", "f:1", "optional")
    assert (made.joining, contract.quorum, contract.quorum_of) == ("approval", 4, "count")
    parts = Infrastructure(
        coordinator_image="c:1",
        selector_image="s:1",
        selectors=3,
        required_files=["model.h5"],
        deadlines=StageDeadlines(selection_s=60, configuration_s=86_400, reporting_s=30),
    )
    assert made.infrastructure == parts
    assert "NO" not in north("project", "tasks", name)[1]  # the agent knows the tasks as its site's own


@pytest.mark.parametrize("state", ["wanted", "starting", "running", "succeeded", "failed", "stopped", "lost"])
def test_only_what_is_there_is_said_to_be_stopping(state: str) -> None:
    there = state in ("wanted", "starting", "running")
    assert state_told(state, None) == state
    assert state_told(state, datetime.now(UTC)) == (f"{state}, stopping" if there else state)


def test_a_projects_own_coordinator_and_selectors_from_start_to_stop(site, tmp_path) -> None:
    north, _ = site("north")
    name = f"parts {tmp_path.name}"
    here = ("--where", f"site:{Folder(tmp_path / 'north').site_id()}")
    images = ("--coordinator-image", "c:1", "--selector-image", "s:1")
    assert north("project", "create", name, *images, *here, "--goal-count", "2", "--sealed", "optional")[0] == 0
    assert "coordinator" not in north("project", "parts", name)[1]
    for _ in range(2):
        assert north("project", "start", name)[:2] == (0, f"{name}: coordinator wanted, selectors wanted\n")
    assert north("project", "scale", name, "3")[:2] == (0, f"{name}: 3 selectors\n")
    found = client_of(Folder(tmp_path / "north")).projects(name=name)[0]
    parts = client_of(Folder(tmp_path / "north")).project(found.id).parts or []
    assert [(one.part, one.state, one.replicas) for one in parts] == [
        ("coordinator", "wanted", 1),
        ("selector", "wanted", 3),
    ]
    assert all(one.workload_id in north("project", "parts", name)[1] for one in parts)
    code, told, _ = north("project", "rounds", name)
    assert (code, "epoch" in told, "SELECTION" in told) == (0, True, False)
    assert "there is no model 7" in north("project", "start", name, "--model", "7")[2]
    assert north("project", "stop", name, "--reason", "done")[:2] == (0, f"{name}: they are to go\n")
    assert north("project", "stop", name)[:2] == (0, f"{name}: none runs\n")
    assert north("project", "scale", name, "65")[0] == 2


def test_the_rounds_of_a_projects_own_coordinator_and_what_they_have_made(site, world: World, tmp_path) -> None:
    north, _ = site("north")
    name, folder = f"rounds {tmp_path.name}", Folder(tmp_path / "north")
    here = ("--where", f"site:{folder.site_id()}")
    images = ("--coordinator-image", "c:1", "--selector-image", "s:1")
    assert north("project", "create", name, *images, *here, "--goal-count", "2", "--sealed", "optional")[0] == 0
    assert north("project", "start", name)[0] == 0
    project = client_of(folder).projects(name=name)[0].id
    told = client_of(folder).read(f"/v1/sites/{folder.site_id()}/workloads", dict)["items"]
    (token,) = [one["spec"]["secrets"]["FEDYARD_TOKEN"] for one in told if one["spec"].get("companion")]
    coordinator = Client(world.hub, token)
    artifact = Transfer(coordinator).upload(b"weights", project_id=project, kind="model", key="checkpoint")
    for number, told in enumerate(
        (
            {"stage": "COMPLETED", "metrics": {"loss": 0.25}, "checkpoint_artifact_id": artifact},
            {"stage": "CONFIGURATION", "counts": {"checkins": 2}},
        )
    ):
        body = {"number": number, **told}
        coordinator.write("POST", f"/v1/projects/{project}/rounds", body, dict, key=f"round-{number}")

    code, out, _ = north("project", "rounds", name)
    assert code == 0
    assert re.search(r"1 .* 1 .* CONFIGURATION .* configuration .* checkins 2 ", out)
    assert re.search(r"1 .* 0 .* COMPLETED .* completed .* loss 0.25 .* 1 ", out)
    assert "COMPLETED" not in north("project", "rounds", name, "--last", "1")[1]
    assert re.search(r"1 .* epoch 1 .* 0 .* loss 0.25 ", north("models", name)[1])
    got = tmp_path / "got"
    assert north("models", name, "--get", "1", "--to", str(got))[1] == f"version 1 is in {got}: epoch 1, round 0\n"
    assert got.read_bytes() == b"weights"
    assert north("project", "start", name, "--model", "1")[0] == 0
    parts = client_of(folder).project(project).parts or []
    assert [one.model_version for one in parts] == [1, None]


def test_initial_files_are_looked_at_before_they_are_sent_and_told_of_afterwards(site, tmp_path) -> None:
    north, _ = site("north")
    name = f"files {tmp_path.name}"
    good, short = tmp_path / "good.zip", tmp_path / "short.tar"
    good.write_bytes(zipped(model__h5=b"m", fl_checkpoint=b"c"))
    short.write_bytes(zipped(model__h5=b"m"))
    made = ("project", "create", name, "--goal-count", "1", "--coordinator-image", "c:1", "--selector-image", "s:1")

    code, _, complaint = north(*made, "--file", str(good))
    assert (code, "say --sealed optional, too" in complaint) == (2, True)
    code, _, complaint = north(*made, "--sealed", "optional", "--file", str(short))
    assert (code, "the file fl_checkpoint is not at the top of the archive (missing)" in complaint) == (2, True)
    assert name not in north("project", "list")[1]

    code, out, _ = north(*made, "--sealed", "optional", "--file", str(good))
    assert (code, "good.zip: checked, version 1, 2 files; artifact " in out) == (0, True)
    artifact = out.rpartition(" ")[2].strip()
    shown = north("project", "files", name)[1]
    assert artifact in shown
    assert "checked" in shown
    assert "fl_checkpoint" in north("project", "files", name, "--of", artifact)[1]
    assert north("project", "set", name, "--file", str(good))[:2] == (
        0,
        f"good.zip: checked, version 1, 2 files; artifact {artifact}\n",
    )


def test_how_to_run_the_client_image_and_who_is_ready(site, tmp_path) -> None:
    north, _ = site("north")
    name = f"clients {tmp_path.name}"
    images = ("--coordinator-image", "c:1", "--selector-image", "s:1", "--client-image", "f:1", "--goal-count", "1")
    assert north("project", "create", name, *images)[0] == 0

    code, out, _ = north("project", "ready", name, "--for", "3600")
    assert (code, out.startswith(f"{name}: ready until "), out.endswith("; 1 member ready\n")) == (0, True, True)
    code, out, _ = north(
        "project", "joining", name, "--configuration", str(tmp_path / "c"), "--context", str(tmp_path / "t")
    )
    lines = out.splitlines()
    assert (code, lines[:2]) == (0, ["1 of 1 member ready, a round needs 1", "selectors: not known yet"])
    assert lines[2].startswith("docker run -it ")
    assert (tmp_path / "c").read_text().startswith("SELECTOR_ADDRESS: ")
    assert b"FROM f:1" in (tmp_path / "t").read_bytes()
    assert b"fyd_" not in (tmp_path / "t").read_bytes()

    config, old = tmp_path / "config.yaml", stat.S_IMODE((tmp_path / "c").stat().st_mode)
    assert old & 0o077, "it is no secret"
    code, out, _ = north("project", "joining", name, "--config", str(config), "--token", "--token-for", "3600")
    known = dict(line.split(": ", 1) for line in config.read_text().splitlines())
    assert (code, stat.S_IMODE(config.stat().st_mode)) == (0, 0o600)
    assert known["SELECTOR_ADDRESSES_OUTSIDE"] == "[]"
    hub, project, token = (json.loads(known[key]) for key in ("FEDYARD_HUB_URL", "FEDYARD_PROJECT_ID", "ACCESS_TOKEN"))
    taking_part = Client(hub, token, give_up_s=5)
    assert taking_part.joining(project).member_count == 1
    assert taking_part.say_ready(project, json.loads(known["FEDYARD_SITE_ID"])).ready_count == 1
    with pytest.raises(Refused, match="client's token"):
        taking_part.me()
    assert token not in out
    (ident,) = re.findall(r"^client's token (\S+): until ", out, re.MULTILINE)
    assert f"{ident} is revoked\n" in north("project", "joining", name, "--revoke", ident)[1]
    assert north("project", "joining", name, "--revoke", ident)[0] == 2
    with pytest.raises(Refused, match="revoked"):
        taking_part.joining(project)
    assert north("project", "joining", name, "--token")[0] == 2
    assert north("project", "joining", name, "--config", str(tmp_path), "--token")[0] == 2
    context = tmp_path / "again"
    assert north("project", "joining", name, "--context", str(context))[0] == 0
    assert context.read_bytes() == (tmp_path / "t").read_bytes()
    assert north("project", "ready", name, "--not")[1] == f"{name}: not ready; 0 members ready\n"
    assert north("project", "joining", name, "--context", str(tmp_path))[0] == 2
