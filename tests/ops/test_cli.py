"""The operator's commands: what they say, and what they say when something is wrong."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from config.clock import SystemClock
from domain import commands as c
from domain import records as r
from domain import stream_records as sr
from domain import values as v
from domain.ids import sha256_hex
from domain.rules import Rules
from domain.states import Report
from domain.values import Role
from fedyard.cluster.port import Phase, Reason
from fedyard.sealed.keys import words
from fedyard.wire.statements import hex_groups, hub_fingerprint
from ops import accounts, runs, workloads
from ops.cli.main import outcome
from ops.place import Whereabouts, remember
from storage.clocks import Reported, report
from storage.clusters import tell
from storage.database import Database, open_database
from storage.migrate import migrate
from storage.store import Changes
from storage.views import heads as views
from storage.views import people
from storage.views.resources import SignedHead
from storage.views.sight import Paging
from tests.domain.scenes import row
from tests.hub import QUICK, Hub
from tests.ops.program import ROOT, create_account, environment, fedyard
from web.live.signer import open_signer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hub's folder with an empty store, as if one had been started there."""
    urls = {"FEDYARD_BROKER_URL": f"embedded:///{tmp_path}/j", "FEDYARD_DATABASE_URL": f"sqlite:///{tmp_path}/store"}
    remember(tmp_path, Whereabouts(urls, "http://127.0.0.1:1"))
    migrate(store(tmp_path))
    return tmp_path


def store(folder: Path) -> Database:
    return open_database(f"sqlite:///{folder}/store")


def test_the_first_account_works_and_its_token_is_not_kept(folder: Path) -> None:
    token = create_account(folder)
    bearer = people.bearers(store(folder), [sha256_hex(token.encode())])[0]
    assert bearer is not None
    assert bearer.subject.role == "admin"
    assert not any(token.encode() in path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_a_token_goes_into_a_file_of_its_owner(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    asked = ["account", "create", "--data", folder, "--organisation", "Ours", "--name", "ada", "--token-file", file]
    done = fedyard(*asked, "--role", "admin")
    token = file.read_text().strip()
    assert (done.returncode, token in done.stdout, file.stat().st_mode & 0o777) == (0, False, 0o600)
    assert people.bearers(store(folder), [sha256_hex(token.encode())])[0] is not None
    assert_told(fedyard(*asked, "--role", "admin"), "exists already")
    assert file.read_text().strip() == token


def test_a_token_that_was_drawn_elsewhere_makes_one_account_however_often_it_is_said(
    folder: Path, tmp_path: Path
) -> None:
    """As a container's start says it, which may be repeated."""
    file, token = tmp_path / "admin.token", "fyd_" + "Ab3-_" * 8 + "xyz"
    file.write_text(token + "\n")
    create_account(folder)
    database = store(folder)

    def make(role: Role) -> accounts.Made:
        return accounts.create_account(
            database, SystemClock(), name="first", organisation="Ours", role=role, token=token
        )

    asked = ["account", "create", "--data", folder, "--organisation", "Ours", "--name", "first", "--token-from", file]
    done = fedyard(*asked, "--role", "admin")
    assert (done.returncode, token in done.stdout) == (0, False)
    bearer = people.bearers(database, [sha256_hex(token.encode())])[0]
    assert bearer is not None
    assert bearer.subject.id in done.stdout
    assert make("admin").id == bearer.subject.id
    with pytest.raises(accounts.Rejected, match="known already"):
        make("member")
    with pytest.raises(accounts.Rejected, match="32 bytes"):
        accounts.create_account(
            database, SystemClock(), name="first", organisation="Ours", role="admin", token="fyd_hunter2"
        )


def test_no_token_file_is_left_by_an_account_that_was_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    asked = ["account", "create", "--data", folder, "--organisation", "Ours", "--name", "a" * 101, "--role", "admin"]
    assert_told(fedyard(*asked, "--token-file", file), "name")
    assert not file.exists()
    assert_told(fedyard(*asked, "--token-file", tmp_path / "nowhere" / "token"), "cannot be written")


def test_an_enrolment_lets_one_site_in_until_it_expires(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "site.token"
    asked = ["enrolment", "create", "--data", folder, "--organisation", "North", "--note", "for Kari", "--days", "3"]
    shown = fedyard(*asked)
    assert shown.returncode == 0, shown.stderr
    tokens = [shown.stdout.split("token")[-1].strip()]
    assert fedyard(*asked, "--token-file", file).returncode == 0
    tokens.append(file.read_text().strip())
    for token in tokens:
        bearer = people.bearers(store(folder), [sha256_hex(token.encode())])[0]
        assert bearer is not None
        assert bearer.subject.kind == "enrolment"
    page = people.enrolments(store(folder), Paging(10, None))
    assert [(one.note, one.used_at) for one in page.items] == [("for Kari", None)] * 2
    listed = fedyard("organisation", "list", "--data", folder)
    assert [line.split("  ")[1] for line in listed.stdout.splitlines()] == ["North"]
    for days in ("0", "366", "nan", "x"):
        assert fedyard(*asked[:-1], days).returncode == 2
    assert_told(fedyard(*asked, "--note", "n" * 5000), "note")


def test_a_link_signs_an_account_in_and_says_which_where_a_name_is_not_enough(folder: Path) -> None:
    create_account(folder, "ada")
    done = fedyard("sign-in", "ada", "--data", folder)
    path, _, code = done.stdout.strip().partition("?code=")
    assert (done.returncode, path.endswith("/page/sign-in"), code[:4]) == (0, True, "fyd_")
    made = people.bearers(store(folder), [sha256_hex(code.encode())])[0]
    assert made is not None
    assert (made.kind, made.subject.role) == ("sign_in", "admin")
    assert fedyard("sign-in", made.subject.id, "--data", folder).returncode == 0
    create_account(folder, "ada", "auditor")
    assert_told(fedyard("sign-in", "ada", "--data", folder), "by its id")
    assert_told(fedyard("sign-in", "grace", "--data", folder), "there is no account")
    for minutes in ("0", "61", "nan"):
        assert fedyard("sign-in", "ada", "--data", folder, "--minutes", minutes).returncode == 2


def test_an_organisation_is_created_once(folder: Path) -> None:
    create_account(folder, "ada")
    create_account(folder, "grace", "auditor")
    listed = fedyard("organisation", "list", "--data", folder)
    assert [line.split("  ")[1] for line in listed.stdout.splitlines()] == ["Ours"]


def test_an_odd_name_is_refused_without_a_trace(folder: Path) -> None:
    done = fedyard(
        "account", "create", "--data", folder, "--name", "a" * 101, "--organisation", "Ours", "--role", "member"
    )
    assert_told(done, "name")


def test_events_verify_finds_a_change(folder: Path) -> None:
    create_account(folder)
    assert fedyard("events", "verify", "--data", folder).returncode == 0
    database = store(folder)
    with database.connection():
        database.execute("UPDATE events SET facts_json = '{}' WHERE seq = 1")
    done = fedyard("events", "verify", "--data", folder)
    assert done.returncode == 1
    assert "event 1 was changed" in done.stdout


def test_events_verify_finds_a_cut_tail_by_the_signed_heads_that_a_site_has_kept(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(2)
    project = hub.project(sites)
    signer = open_signer(folder / "head.key", hub.clock)
    variables = {"FEDYARD_HEAD_KEY_FILE": str(folder / "head.key")}
    heads = signer.sign(views.of_site(hub.database, views.Wanted(sites[0].id, [project, sites[0].id])))
    assert len(heads) == 2
    kept = folder / "kept.jsonl"

    def verified(*lines: SignedHead) -> tuple[int, list[str]]:
        kept.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        done = fedyard("events", "verify", "--against", kept, "--data", folder, **variables)
        return done.returncode, done.stdout.splitlines()[:-1]

    assert verified(*heads) == (0, [])
    done = fedyard("events", "verify", "--against", kept, "--data", folder, **variables)
    assert f"all pass through the 2 heads in {kept}" in done.stdout
    kept.write_bytes(b"")
    assert_told(fedyard("events", "verify", "--against", kept, "--data", folder, **variables), "proves nothing")
    kept.write_bytes(b'{"no": "head"}\n')
    assert_told(fedyard("events", "verify", "--against", kept, "--data", folder, **variables), "line 1")
    (head,) = (one for one in heads if one.stream_id == project)
    code, faults = verified(msgspec.structs.replace(head, seq=head.seq + 5))
    assert (code, "was altered" in faults[0], len(faults)) == (1, True, 1)
    other = open_signer(folder / "other.key", hub.clock)
    code, faults = verified(*other.sign([views.Head(head.history_id, project, "project", head.seq, head.hash)]))
    assert (code, "another key" in faults[0], len(faults)) == (1, True, 1)
    first = next(event for event in hub.rows(r.Event, "stream_id = %s AND seq = 1", project))
    with hub.database.connection():
        hub.database.execute("DELETE FROM events WHERE stream_id = %s AND seq > 1", (project,))
        hub.database.execute("UPDATE streams SET last_seq = 1, last_hash = %s WHERE id = %s", (first.hash, project))
    assert fedyard("events", "verify", "--data", folder).returncode == 0
    code, faults = verified(*heads)
    assert (code, f"had event {head.seq}" in faults[0], len(faults)) == (1, True, 1)
    with hub.database.connection():
        hub.database.execute("UPDATE history SET history_id = %s", (head.stream_id,))
    assert "the hub was restored since" in verified(*heads)[1][0]
    shown = fedyard("events", "key", "--data", folder, **variables).stdout
    assert shown.splitlines() == [hex_groups(hub_fingerprint(signer.public)), words(hub_fingerprint(signer.public))]


def test_why_names_who_is_missing(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(3)
    run = hub.start(hub.project(sites), sites[0])
    hub.report(run, sites[1], Report.READY)
    told = runs.why(hub.database, run, hub.clock.now())
    assert told is not None
    text = "\n".join(told)
    assert "round 1 of 2: selecting" in text
    assert "1 ready of 3, quorum 3" in text
    assert re.findall(r"waits for (site \d)", text) == ["site 0", "site 2"]
    assert "or its task hangs" in text
    assert "fedyard run stop" in text
    assert "does not call" not in text
    hub.ready_all(run, [sites[0], sites[2]])
    hub.submit_all(run, sites)
    text = "\n".join(runs.why(hub.database, run, hub.clock.now()) or [])
    assert "waits for the coordinator's model: site site 0" in text
    assert "or its task hangs" in text
    hub.ok(c.StopRun(run_id=run), sites[0])
    text = "\n".join(runs.why(hub.database, run, hub.clock.now()) or [])
    assert "It ended" in text
    assert "cancelled" in text


def test_why_knows_a_deployment_by_its_own_number_too(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(3)
    project = hub.project(sites)
    task, deployed = hub.start(project, sites[0]), hub.start(project, sites[0], queue=True)
    about = {"number": 1, "project_id": project, "cluster": "cloud", "state": "training", "contract_json": "{}"}
    with hub.store.deciding() as transaction:
        transaction.write(Changes(rows={sr.Deployment: [row(sr.Deployment, run_id=deployed, **about)]}))
    with hub.database.connection():
        ((name,),) = hub.database.all("SELECT name FROM projects WHERE id = %s", project)
    assert [one.id for one in runs.named(hub.database, f"{name}/1")] == [task, deployed]
    assert [one.id for one in runs.named(hub.database, f"{name}/2")] == [deployed]
    assert runs.named(hub.database, f"{name}/3") == []


def test_why_says_first_that_a_worker_is_silent(folder: Path) -> None:
    """While no decider works, what the records say of sites is old, and no site is to blame."""
    hub = Hub(store(folder))
    sites = hub.sites(3)
    run = hub.start(hub.project(sites), sites[0])
    report(hub.database, Reported("decider@a:7", "decider", 0), hub.clock.now())
    hub.clock.sleep(45)
    told = runs.why(hub.database, run, hub.clock.now()) or []
    assert told[1].startswith("The hub is not well, which comes first: no decider reports; the last one, decider@a:7")
    assert "look whether it runs, is frozen" in told[1]
    report(hub.database, Reported("decider@a:8", "decider", 0), hub.clock.now())
    assert not [line for line in runs.why(hub.database, run, hub.clock.now()) or [] if "no decider" in line]


def test_why_says_what_failed_in_a_run_that_is_over(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(3)
    half = v.TaskSpec(name="train", model="logistic", contract=msgspec.structs.replace(QUICK, quorum=0.5))
    run = hub.start(hub.project(sites, name="hearts", tasks=[half]), sites[0])
    hub.report(run, sites[1], Report.FAIL, reason="train: a file is not there")
    told = runs.why(hub.database, run, hub.clock.now())
    assert any("out: site 1: failed" in line and "train: a file is not there" in line for line in told or [])
    hub.ok(c.StopRun(run_id=run), sites[0])
    done = fedyard("why", "hearts/1", "--data", folder)
    assert "site 1 failed in round 1: train: a file is not there" in done.stdout


def test_why_says_what_the_coordinator_said_of_a_model_that_it_did_not_make(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(2)
    run = hub.start(hub.project(sites, name="hearts"), sites[0])
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    hub.ok(c.ReportAggregated(run_id=run, task_seq=1, round=1, failure="the hook gave up"), sites[0])
    told = runs.why(hub.database, run, hub.clock.now())
    assert "  task train: failed in round 1: aggregation_failed: the hook gave up" in (told or [])


def test_why_says_what_a_workload_waits_for_that_holds_a_seat(folder: Path) -> None:
    hub = Hub(store(folder))
    hub.rules = Rules(clusters="hub=somewhere")
    (site,) = hub.sites(1)
    held = v.Holder(name="worker", spec=v.WorkloadSpec(kind="job", image="i", attempts=2))
    task = v.TaskSpec(name="train", model="m", who=[site.id], workloads=[held], contract=QUICK)
    run = hub.start(hub.project([site], name="hearts", tasks=[task]), site)
    (workload,) = hub.rows(r.Workload)

    def told() -> str:
        return "\n".join(runs.why(hub.database, run, hub.clock.now()) or [])

    assert "a workload holds it, and has not begun:" in told()
    assert "attempt 1, at hub: wanted since" in told()
    assert "It is on its way to its cluster" in told()
    tell(hub.database, {"hub": "nobody answers at 127.0.0.1:1"}, hub.clock.now())
    assert "The cluster hub is not looked after: nobody answers at 127.0.0.1:1" in told()
    tell(hub.database, {"hub": ""}, hub.clock.now())
    starts = c.ReportWorkload(workload_id=workload.id, attempt=1, phase=Phase.STARTING, uid="u")
    hub.ok(msgspec.structs.replace(starts, reason=Reason.UNSCHEDULABLE, detail="0/3 nodes have room"))
    hub.clock.sleep(40)
    assert re.search(r"attempt 1, at hub: starting since 40 s ago\.\n +unschedulable: 0/3 nodes have room\n", told())
    assert "What to do: ask for less, add a node" in told()
    assert "or its task hangs" in told()  # of the site beside it
    hub.ok(msgspec.structs.replace(starts, phase=Phase.FAILED, reason=Reason.SIGNALLED, exit_code=137))
    assert re.search(r"signalled 137\n +What to do: read its log.*\n +The next attempt begins in [45] s", told())
    hub.ok(msgspec.structs.replace(starts, attempt=2, phase=Phase.RUNNING, uid="u2"))
    (one,) = workloads.listed(hub.database, state=None)
    why = list(workloads.why(hub.database, one, hub.clock.now()))
    assert re.fullmatch(r"  Attempt 1: failed \d+ s ago, signalled 137", why[1]), why
    for said in ("hearts/worker", workload.id):
        done = fedyard("why", said, "--data", folder)
        assert done.stdout.startswith(f"workload worker ({workload.id}), attempt "), done.stderr


def test_why_says_of_a_workload_at_a_site_that_its_agent_is_away(folder: Path) -> None:
    hub = Hub(store(folder))
    lead, yard = hub.sites(2)
    project = hub.project([lead, yard], name="hearts")
    spec = v.WorkloadSpec(kind="job", image="i")
    made = hub.ok(c.CreateWorkload(project_id=project, name="w", where=f"site:{yard.id}", spec=spec), lead)
    found = workloads.named(hub.database, made["id"])
    assert found is not None
    told = list(workloads.why(hub.database, found, hub.clock.now()))
    assert told[1] == "The agent of site site 1 has not begun it: what its log says, and `fedyard site workloads`."
    hub.clock.sleep(700)
    hub.ok(c.MarkSitesSilent(site_ids=[yard.id]))
    told = list(workloads.why(hub.database, found, hub.clock.now()))
    assert re.fullmatch(
        r"Site site 1, whose agent starts it, is silent, last heard of (11 min ago|never): ask its people\.", told[1]
    ), told
    assert workloads.named(hub.database, "hearts/nothing") is None


def test_why_says_when_a_job_that_runs_is_ended_and_workloads_are_listed(folder: Path) -> None:
    hub = Hub(store(folder))
    hub.rules = Rules(clusters="hub=somewhere")
    (lead,) = hub.sites(1)
    spec = v.WorkloadSpec(kind="job", image="i", deadline_s=60)
    wanted = c.CreateWorkload(project_id=hub.project([lead], name="hearts"), name="w", where="hub", spec=spec)
    ident = hub.ok(wanted, lead)["id"]
    runs_now = c.ReportWorkload(workload_id=ident, attempt=1, phase=Phase.RUNNING, uid="u")
    hub.ok(runs_now)
    hub.clock.sleep(40)
    found = workloads.named(hub.database, "hearts/w")
    assert found is not None
    told = list(workloads.why(hub.database, found, hub.clock.now()))
    assert told[1:] == ["It is ended in 20 s if it has not by then (deadline_s)."]
    hub.clock.sleep(40)
    assert "Its deadline is over." in workloads.why(hub.database, found, hub.clock.now())
    done = fedyard("workloads", "list", "--data", folder)
    assert done.stdout.startswith(f"{ident}  hearts/w  at hub  running  attempt 1  since "), done.stderr
    hub.ok(c.StopWorkload(workload_id=ident), lead)
    assert "running, is to go  attempt" in fedyard("workloads", "list", "--data", folder, "--state", "running").stdout
    failed = msgspec.structs.replace(runs_now, phase=Phase.FAILED, reason=Reason.DEADLINE_PASSED, exit_code=137)
    hub.ok(failed)
    assert "stopped (deadline_passed 137)  attempt" in fedyard("workloads", "list", "--data", folder).stdout
    assert fedyard("workloads", "list", "--data", folder, "--state", "running").stdout == ""


def test_each_reason_says_what_to_do() -> None:
    assert set(workloads.REMEDIES) == set(Reason) - {Reason.NONE}


def test_a_run_may_be_said_in_short(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(2)
    project = hub.project(sites, name="hearts/lungs")
    run = hub.start(project, sites[0])
    hub.ok(c.StopRun(run_id=run), sites[0])
    for said in (run, run.upper(), run[:13], "hearts/lungs/1"):
        assert [one.id for one in runs.named(hub.database, said)] == [run], said
    for none in ("hearts/lungs/3", "hearts", "", "g" * 8, "0000", "/1", f"{run}0", run[:9] + "-"):
        assert runs.named(hub.database, none) == []


def test_of_runs_that_are_meant_alike_each_is_named(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    twin = run[:-1] + ("0" if run[-1] != "0" else "1")
    with hub.database.connection():
        columns = [row[1] for row in hub.database.all("PRAGMA table_info(runs)")]
        wanted = ", ".join({"id": f"'{twin}'", "number": "number + 1"}.get(name, name) for name in columns)
        hub.database.execute(f"INSERT INTO runs SELECT {wanted} FROM runs WHERE id = %s", (run,))
    short = fedyard("why", run[:8], "--data", folder)
    assert_told(short, f"{run[:8]} may mean each of 2 runs")
    assert all(one in short.stderr for one in (run, twin))


def test_runs_are_listed_by_state(folder: Path) -> None:
    hub = Hub(store(folder))
    sites = hub.sites(2)
    run = hub.start(hub.project(sites, name="hearts"), sites[0])
    done = fedyard("runs", "list", "--data", folder)
    assert done.stdout.startswith(f"{run}  hearts #1.1  running")
    assert fedyard("runs", "list", "--data", folder, "--state", "failed").stdout == ""
    assert fedyard("why", run, "--data", folder).returncode == 0


def test_many_organisations_are_all_listed(folder: Path) -> None:
    hub = Hub(store(folder))
    names = [f"o{number}" for number in range(accounts.AT_ONCE + 5)]
    for name in names:
        hub.organisation(name)
    assert [one.name for one in accounts.organisations(hub.database)] == names


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("why", "no-such-run"), {}, "there is no run"),
        (("runs", "list"), {"FEDYARD_HEARTBEAT": "1"}, "unknown variable FEDYARD_HEARTBEAT"),
        (("runs", "list"), {"FEDYARD_TICK_EVERY_S": "soon"}, "must be a number"),
        (("policies", "apply"), {}, "--management"),
        (("policies", "apply", "--management-file", "/no/such/file"), {}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    folder: Path, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    assert_told(fedyard(*arguments, "--data", folder, **variables), said)


@pytest.mark.parametrize(
    ("url", "said"), [("http://a:b@127.0.0.1:1", "management API"), ("http://127.0.0.1:1", "user:password")]
)
def test_a_management_that_is_none_is_told(folder: Path, tmp_path: Path, url: str, said: str) -> None:
    file = tmp_path / "management.url"
    file.write_text(f"{url}\n")
    assert_told(fedyard("policies", "apply", "--management-file", file, "--data", folder), said)


def test_an_odd_note_of_the_hub_is_told(folder: Path) -> None:
    (folder / "hub.json").write_text('{"env')
    assert_told(fedyard("runs", "list", "--data", folder), "was not written by a hub")


def test_a_folder_without_a_hub_is_told(tmp_path: Path) -> None:
    assert_told(fedyard("runs", "list", "--data", tmp_path / "nothing"), "no hub was started")


def test_a_schema_that_is_behind_is_told(tmp_path: Path) -> None:
    urls = {"FEDYARD_BROKER_URL": "embedded:///j", "FEDYARD_DATABASE_URL": f"sqlite:///{tmp_path}/empty"}
    assert_told(fedyard("runs", "list", "--data", tmp_path, **urls), "fedyard-hub migrate")
    assert fedyard("migrate", "--data", tmp_path, **urls).stdout.startswith("applied")
    assert fedyard("migrate", "--data", tmp_path, **urls).stdout == "the schema is up to date\n"
    assert fedyard("runs", "list", "--data", tmp_path, **urls).returncode == 0


def test_a_database_that_is_down_is_told(tmp_path: Path) -> None:
    urls = {
        "FEDYARD_BROKER_URL": "amqp://a:b@127.0.0.1:1/x",
        "FEDYARD_DATABASE_URL": "postgresql://a:hush@127.0.0.1:1/x",
    }
    done = fedyard("runs", "list", "--data", tmp_path, **urls)
    assert done.returncode == 2
    assert "Is PostgreSQL running" in done.stderr
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr


def test_secrets_stay_out_of_reprs() -> None:
    there = Whereabouts({"FEDYARD_BROKER_URL": "amqp://a:hush@h/v"}, "http://h", "http://a:hush@h")
    made = accounts.Made("1", "2", "hush")
    assert "hush" not in f"{there!r} {made!r}"


def test_what_is_remembered_is_the_owners_only(folder: Path) -> None:
    assert (folder / "hub.json").stat().st_mode & 0o077 == 0


def test_make_lists_its_targets() -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True, env=dict(os.environ))
    for target in ("demo", "up", "test", "check"):
        assert re.search(rf"^ +make {target} ", done.stdout, re.MULTILINE)


def assert_told(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert done.stderr.startswith("fedyard-hub: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr


ODD = {
    "hub.json is no file": (lambda folder: (folder / "hub.json").mkdir(), ["runs", "list"]),
    "the store is none": (lambda folder: (folder / "store").write_bytes(b"no database, " * 1000), ["runs", "list"]),
    "the store is a folder": (lambda folder: (folder / "store").mkdir(), ["organisation", "list"]),
    "the journal is none": (
        lambda folder: (folder / "j").write_bytes(b"none, " * 1000),
        ["dead-letters", "list"],
    ),
}


@pytest.mark.parametrize("which", ODD)
def test_what_is_not_as_it_should_be_is_a_sentence(tmp_path: Path, which: str) -> None:
    change, command = ODD[which]
    change(tmp_path)
    urls = {"FEDYARD_BROKER_URL": f"embedded:///{tmp_path}/j", "FEDYARD_DATABASE_URL": f"sqlite:///{tmp_path}/store"}
    done = fedyard(*command, "--data", tmp_path, **urls)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("fedyard-hub: ")
    assert not any(word in done.stderr for word in ("Traceback", ".py:", "Error("))


def test_what_nobody_expected_is_a_sentence_too(tmp_path: Path) -> None:
    code, said = outcome(KeyError("secret"))
    assert (code, said) == (70, "this is a fault of Fedyard's, please report it: KeyError at ")
    with Path("/dev/full").open("w") as full:
        program = [str(ROOT / "bin" / "fedyard-hub"), "organisation", "list", "--data", str(tmp_path / "none")]
        assert subprocess.run(program, env=environment(), stderr=full, check=False).returncode == 2
