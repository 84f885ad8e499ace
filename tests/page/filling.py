"""What lies in the hubs of tests/page/scenes.py, told as commands."""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from broker.dead_letters import DeadLetter
from domain import commands as c
from domain import stream_records as sr
from domain import values as v
from domain.commands import AnyCommand
from domain.ids import Id, derive, sha256_hex
from domain.states import Report
from domain.values import Subject
from fedyard.cluster.port import Phase
from fedyard.cluster.port import Reason as ClusterReason
from fedyard.wire.times import SECOND
from storage import stream_states
from storage.clocks import Reported, report_all
from storage.database import Database
from storage.due import Due
from storage.vitals import BackupReading, DiskReading, QueueReading, Sampled, tell, write_samples
from tests.domain.scenes import row
from tests.hub import Hub
from tests.streams import announced, finished, quarantined, sending, serving, write

MINUTE, HOUR, DAY = 60, 3600, 86_400
LONG_CONTRACT = v.Contract(quorum=0.5, select_within_s=2 * HOUR, train_within_s=DAY, silent_within_s=30 * DAY)
PATIENT = v.Contract(select_within_s=2 * HOUR, train_within_s=DAY, silent_within_s=30 * DAY)
ORGANISATIONS = {
    "north": "Radboud universitair medisch centrum, Nijmegen",
    "east": "Charité \N{EN DASH} Universitätsmedizin Berlin, Klinik für Radiologie und Nuklearmedizin (Campus Virchow)",
    "south": "Ospedale Maggiore Policlinico",
    "west": "NHS Lothian",
    "islands": "Sjúkrahúsið á Akureyri",
}
SITE_NAMES = {
    "north": "north",
    "east": "east-radiology-pacs-node-02",
    "south": "south",
    "west": "west",
    "islands": "islands",
}
WEBHOOK_URL = "https://hooks.example.org/fedyard/9c4f6a1e-radiology-on-call?channel=night"
Dress = Callable[[str], str]
"""What is made of each text that somebody else writes."""


class Filling:
    """A hub that is being filled: its accounts' tokens, and the names by which paths find what is there."""

    def __init__(self, database: Database, dress: Dress) -> None:
        self.hub = Hub(database)
        self.dress = dress
        self.names: dict[str, Id] = {}
        self.tokens: dict[str, str] = {}
        self.sites: dict[str, Subject] = {}
        self.people: dict[str, Subject] = {}

    def organisation(self, name: str) -> Id:
        return self.hub.organisation(self.dress(name))

    def account(self, who: str, organisation: Id, role: v.Role, name: str) -> None:
        """who: as views name whoever looks; the token is made of it."""
        token = f"fyd_{sha256_hex(who.encode())[:43]}"
        command = c.CreateAccount(
            organisation_id=organisation, name=self.dress(name), role=role, token_sha256=sha256_hex(token.encode())
        )
        made = self.hub.ok(command)["id"]
        self.tokens[who] = token
        self.people[who] = Subject(kind="account", id=made, organisation_id=organisation, role=role)
        self.names[who] = made

    def site(self, name: str, organisation: Id, description: str = "") -> Subject:
        hub = self.hub
        secret, expires = sha256_hex(f"enrolment {name}".encode()), hub.clock.now() + HOUR * SECOND
        enrolling = c.CreateEnrolment(
            organisation_id=organisation, sha256=secret, note=self.dress(f"for {name}"), expires_at=expires
        )
        by = Subject(kind="enrolment", id=hub.ok(enrolling)["id"], organisation_id=organisation)
        token = f"fyd_site_{name}"
        self.tokens[name] = token
        identity = b64encode(bytes.fromhex(sha256_hex(f"identity of {name}".encode()))).decode()
        command = c.EnrolSite(
            name=self.dress(name),
            description=self.dress(description),
            identity_key=identity,
            token_sha256=sha256_hex(token.encode()),
        )
        site = Subject(kind="site", id=hub.ok(command, by)["id"], organisation_id=organisation)
        self.sites[name] = site
        self.names[f"site_{name}"] = site.id
        return site

    def all_ok(self, commands: Sequence[tuple[AnyCommand, Subject]]) -> None:
        """Many commands of one moment in one transaction."""
        envelopes = [self.hub.envelope(command, by) for command, by in commands]
        for at in range(0, len(envelopes), 400):
            for outcome in self.hub.batch(envelopes[at : at + 400]).decided:
                assert outcome.state == "accepted", outcome.answer_json
        self.hub.drain()

    def beat(self, seconds_ago: float, *sites: Subject) -> None:
        now = self.hub.clock.now() - int(seconds_ago * SECOND)
        versions = [c.AgentVersion(one.id, "0.3.0", now) for one in sites]
        self.hub.store.record_heartbeats([c.Beat(site_id=one.id, seen_at=now) for one in sites], [], versions)


def fill_empty(scene: Filling) -> None:
    """A hub on its first day: somebody who may do everything, and an auditor."""
    operators = scene.organisation("operators")
    scene.names["organisation_operators"] = operators
    scene.account("admin", operators, "admin", "admin")
    scene.account("auditor", operators, "auditor", "auditor")


def fill_small(scene: Filling) -> None:
    """Five hospitals and a project: a run that ended well, others that did not, one that waits for a site."""
    fill_empty(scene)
    hub = scene.hub
    for name, title in ORGANISATIONS.items():
        scene.names[f"organisation_{name}"] = scene.organisation(title)
    for name in ORGANISATIONS:
        hub.clock.sleep(HOUR)
        text = f"What the department of radiology ({name}) lets others learn from."
        scene.site(SITE_NAMES[name], scene.names[f"organisation_{name}"], text)
        scene.names[f"site_{name}"] = scene.sites[SITE_NAMES[name]].id
    scene.account("coordinator", scene.names["organisation_north"], "member", "Ada van den Berg")
    scene.account("member", scene.names["organisation_east"], "member", "Grace O'Brien-Åström")
    scene.account("left", scene.names["organisation_north"], "member", "somebody who left")
    hub.ok(c.DisableAccount(account_id=scene.names["left"]), scene.people["admin"])
    scene.names |= {"site": scene.names["site_east"], "organisation": scene.names["organisation_north"]}
    north, east, south, west, islands = (scene.sites[SITE_NAMES[name]] for name in ORGANISATIONS)
    for site in (north, east, south, west):
        hub.ok(hub.key(site), site)
    hub.ok(hub.key(east, 2, expires_at=hub.clock.now() + 40 * DAY * SECOND), east)
    old = scene.site("old-cluster", scene.names["organisation_west"], "Its machine was given back.")
    hub.ok(c.RetireSite(site_id=old.id), scene.people["admin"])
    scene.names["site_old"] = old.id
    _people(scene)
    project = _project(scene, north, (east, south, west), islands)
    webhook = c.CreateWebhook(
        owner_kind="organisation",
        owner_id=scene.names["organisation_north"],
        url=WEBHOOK_URL,
        kinds=["run.ended", "seat.left_out", "site.silent"],
        description=scene.dress("Whoever is on call at night"),
    )
    scene.names["webhook"] = hub.ok(webhook, scene.people["coordinator"])["id"]
    _runs(scene, project, north, (east, south, west))
    _workloads(scene, project, north)
    _streams(scene, project)
    _silence(scene, north, east, south, west, islands)
    _deliveries(scene)
    _vitals(scene)


def fill_busy(scene: Filling) -> None:
    """Beside that, twenty-five hospitals more and forty runs of ten projects."""
    fill_small(scene)
    hub = scene.hub
    organisation = scene.organisation("Netzwerk Universitätsmedizin")
    more = [scene.site(f"clinic-{number:02}", organisation) for number in range(1, 26)]
    tasks = [v.TaskSpec(name="train", model="efficientnet-b4", rounds=3, contract=LONG_CONTRACT)]
    projects = []
    for number in range(10):
        members = [more[(number * 2 + place) % len(more)] for place in range(12)]
        name = scene.dress(f"Study {number + 1}: segmentation of organs at risk in abdominal CT")
        project = c.CreateProject(
            coordinator_site_id=members[0].id,
            name=name,
            tasks=tasks,
            joining="open",
            sealed="optional",
            max_live_runs=2,
        )
        made = hub.ok(project, members[0])["id"]
        projects.append((made, members))
    scene.all_ok(
        [(c.PutMember(project_id=made, site_id=one.id), one) for made, members in projects for one in members[1:]]
    )
    for turn in range(4):
        hub.clock.sleep(2 * HOUR)
        runs = [(hub.start(made, members[0]), members) for made, members in projects]
        for number in range(1, 4):
            _round_of_all(scene, runs, number, whole=turn < 3 or number < 2)
            if turn == 3:
                break
    scene.beat(5, *more)
    _vitals(scene)


def _round_of_all(scene: Filling, runs: Sequence[tuple[Id, Sequence[Subject]]], number: int, *, whole: bool) -> None:
    """The next round of each. whole: else it waits for its last site."""
    hub = scene.hub
    hub.clock.sleep(3 * MINUTE)
    scene.all_ok(
        [(hub.reporting(run, site, Report.READY, number=number), site) for run, members in runs for site in members]
    )
    for place in range(len(runs[0][1]) - (0 if whole else 1)):
        hub.clock.sleep(40 + 7 * place)
        reports: list[tuple[AnyCommand, Subject]] = []
        for run, members in runs:
            metrics = {"loss": 1.1 / (number + 0.1 * place), "dice": 0.5 + 0.1 * number + 0.01 * place}
            site = members[place]
            submit = hub.reporting(run, site, Report.SUBMIT, number=number, update=b"update", metrics=metrics)
            reports.append((submit, site))
        scene.all_ok(reports)
    if whole:
        hub.clock.sleep(MINUTE)
        for run, members in runs:
            metrics = {"loss": 1.0 / number, "dice": 0.55 + 0.1 * number}
            command = c.ReportAggregated(run_id=run, task_seq=1, round=number, model=b"model", metrics=metrics)
            hub.ok(command, members[0])


def _people(scene: Filling) -> None:
    """Tokens and enrolments that are open, used and over."""
    hub = scene.hub
    secret = sha256_hex(b"notebook")
    token = c.IssueToken(
        owner_kind="account",
        owner_id=scene.names["coordinator"],
        sha256=secret,
        label=scene.dress("notebook"),
        scopes=["read"],
        expires_at=hub.clock.now() + 30 * DAY * SECOND,
    )
    scene.names["token"] = hub.ok(token, scene.people["coordinator"])["id"]
    lost = c.IssueToken(
        owner_kind="account",
        owner_id=scene.names["coordinator"],
        sha256=sha256_hex(b"lost"),
        label=scene.dress("laptop that was lost"),
        scopes=["read", "write"],
    )
    hub.ok(c.RevokeToken(token_id=hub.ok(lost, scene.people["coordinator"])["id"]), scene.people["coordinator"])
    enrolment = c.CreateEnrolment(
        organisation_id=scene.names["organisation_north"],
        sha256=sha256_hex(b"outstanding"),
        note=scene.dress("the new GPU machine in the basement"),
        expires_at=hub.clock.now() + 14 * DAY * SECOND,
    )
    scene.names["enrolment"] = hub.ok(enrolment, scene.people["admin"])["id"]


def _project(scene: Filling, coordinator: Subject, members: Sequence[Subject], asking: Subject) -> Id:
    hub, dress = scene.hub, scene.dress
    parameters: dict[str, object] = {"learning_rate": 0.001, "optimizer": dress("adamw"), "batch_size": 16}
    tasks = [
        v.TaskSpec(name="normalise", model=dress("intensity statistics"), rounds=1, contract=PATIENT),
        v.TaskSpec(
            name="train",
            model=dress("densenet-121"),
            rounds=3,
            parameters=parameters,
            contract=PATIENT,
            score_every=2,
            best=v.Best("auroc"),
        ),
        v.TaskSpec(name="calibrate", model=dress("temperature"), after=["train"], contract=PATIENT),
        v.TaskSpec(name="validate", model=dress("auroc by site"), after=["train"], aggregate=False, contract=PATIENT),
    ]
    command = c.CreateProject(
        coordinator_site_id=coordinator.id,
        name=dress("Chest X-ray triage"),
        tasks=tasks,
        description=dress("Which of tonight's chest X-rays should a radiologist see first?\nSecond line; € and < & >."),
        data_format=dress("DICOM (CR, DX), one study a folder; labels.csv with columns study, finding, reader"),
        client_image="registry.example.org/triage/client:2.1",
        joining="approval",
        max_live_runs=2,
        sealed="optional",
    )
    project = hub.ok(command, coordinator)["id"]
    scene.names["project"] = project
    for site in members:
        hub.ok(c.PutMember(project_id=project, site_id=site.id, notes=dress("We have 40,000 studies.")), site)
        hub.ok(c.PutMember(project_id=project, site_id=site.id), coordinator)
    notes = dress("A small hospital: 900 studies a year. May we take part? Call +354 463 0100.")
    hub.ok(c.PutMember(project_id=project, site_id=asking.id, notes=notes), asking)
    other = c.CreateProject(
        coordinator_site_id=coordinator.id, name=dress("Fracture detection (nobody has joined)"), tasks=tasks[1:2]
    )
    scene.names["project_new"] = hub.ok(other, coordinator)["id"]
    gone = c.CreateProject(coordinator_site_id=coordinator.id, name=dress("Pilot of 2025"), tasks=tasks[:1])
    scene.names["project_archived"] = hub.ok(gone, coordinator)["id"]
    hub.ok(c.ArchiveProject(project_id=scene.names["project_archived"]), coordinator)
    return project


def _runs(scene: Filling, project: Id, coordinator: Subject, members: Sequence[Subject]) -> None:
    """run_succeeded, run_failed, run_cancelled; run: live in its second round, which waits for one site; run_queued."""
    hub, dress = scene.hub, scene.dress
    everybody = [coordinator, *members]
    east, south, west = members
    hub.clock.sleep(DAY)
    done = scene.names["run_succeeded"] = hub.start(project, coordinator)
    _round(scene, done, everybody, 1, task=1)
    for number in (1, 2, 3):
        _round(scene, done, everybody, number, task=2, score=number > 1)
    _round(scene, done, everybody, 1, task=3)
    _round(scene, done, everybody, 1, task=4, aggregate=False)
    hub.clock.sleep(HOUR)
    failed = scene.names["run_failed"] = hub.start(project, coordinator)
    _round(scene, failed, everybody, 1, task=1)
    hub.clock.sleep(MINUTE)
    for site in everybody:
        hub.report(failed, site, Report.READY, task=2)
    hub.report(failed, west, Report.FAIL, task=2, reason=dress("CUDA out of memory: tried to allocate 2.00 GiB"))
    hub.clock.sleep(HOUR)
    stopped = scene.names["run_cancelled"] = hub.start(project, coordinator)
    for site in (east, south):
        hub.report(stopped, site, Report.READY)
    hub.ok(c.StopRun(run_id=stopped, reason=dress("wrong labels at south: start again on Monday")), coordinator)
    hub.clock.sleep(DAY)
    live = scene.names["run"] = hub.start(project, coordinator)
    _round(scene, live, everybody, 1, task=1)
    _round(scene, live, everybody, 1, task=2)
    hub.clock.sleep(MINUTE)
    for site in everybody:
        hub.report(live, site, Report.READY, task=2, code=("cd" if site is west else "ab") * 32)
    hub.report(live, east, Report.WAIT, task=2, waits_for="approval")
    for place, site in enumerate((coordinator, south, west)):
        hub.clock.sleep(MINUTE * (1 + place))
        metrics = {"loss": round(0.61 - 0.02 * place, 4), "auroc": round(0.83 + 0.01 * place, 4)}
        hub.report(live, site, Report.SUBMIT, task=2, update=b"update" * 2000, metrics=metrics)
    piece = dress("epoch 2/5: loss 0.6103\nepoch 3/5: loss 0.5871\n").encode()
    hub.ok(c.WriteLog(run_id=live, task_seq=2, site_id=east.id, seq=1, pieces=[piece], round=2), east)
    hub.start(project, coordinator)
    queued = hub.ok(c.StartRun(project_id=project, queue=True), coordinator)["id"]
    scene.names["run_queued"] = queued
    message = c.NewMessage(project_id=project, to="participants", body=b"new labels are there", kind="message")
    hub.ok(c.PostMessages(sender_site_id=coordinator.id, messages=[message]), coordinator)


def _round(
    scene: Filling,
    run: Id,
    sites: Sequence[Subject],
    number: int,
    *,
    task: int,
    aggregate: bool = True,
    score: bool = False,
) -> None:
    """A whole round, in which the last site takes longest. score: its model is scored, and one site cannot."""
    hub = scene.hub
    hub.clock.sleep(20)
    for site in sites:
        hub.report(run, site, Report.READY, task=task)
    for place, site in enumerate(sites):
        hub.clock.sleep(35 + 60 * place)
        metrics = {"loss": round(0.9 / number - 0.02 * place, 4), "auroc": round(0.7 + 0.05 * number + 0.01 * place, 4)}
        hub.report(run, site, Report.SUBMIT, task=task, update=b"update" * 2000, metrics=metrics)
    if aggregate:
        hub.clock.sleep(12)
        metrics = {"loss": 0.85 / number, "auroc": 0.72 + 0.05 * number}
        command = c.ReportAggregated(run_id=run, task_seq=task, round=number, model=b"model" * 4000, metrics=metrics)
        hub.ok(command, sites[0])
    for place, site in enumerate(sites if score else ()):
        hub.clock.sleep(8)
        metrics = {"auroc": round(0.7 + 0.04 * number + 0.02 * place, 4), "samples": 1200.0 + 300 * place}
        last = place + 1 == len(sites)
        why = {"reason": scene.dress("score: no test data here")} if last else {"metrics": metrics}
        hub.report(run, site, Report.SCORED, task=task, **why)


def _workloads(scene: Filling, project: Id, coordinator: Subject) -> None:
    """A service that runs, a job that failed with its log's tail, one that cannot be placed."""
    hub, dress = scene.hub, scene.dress

    def made(name: str, **spec: Any) -> Id:
        asked = v.WorkloadSpec(image="registry.example.org/triage/trainer:2.1", **spec)
        return hub.ok(c.CreateWorkload(project_id=project, name=name, where="hub", spec=asked), coordinator)["id"]

    running = scene.names["workload"] = made("tensorboard", kind="service", replicas=2, port=6006)
    failed = scene.names["workload_failed"] = made("preprocess", kind="job", arguments=[dress("--all")])
    waiting = scene.names["workload_waiting"] = made("train-on-gpu", kind="job")
    hub.clock.sleep(30)
    hub.ok(c.ReportWorkload(workload_id=running, attempt=1, phase=Phase.RUNNING, uid="a1", ready=1))
    log = dress("Traceback (most recent call last):\n  File “/app/pre.py”, line 7\nFileNotFoundError: labels.csv\n")
    events = [dress("Scheduled on node-3"), dress("Back-off restarting failed container")]
    failure = c.ReportWorkload(
        workload_id=failed,
        attempt=1,
        phase=Phase.FAILED,
        uid="b1",
        reason=ClusterReason.EXIT_CODE,
        detail=dress("container main exited with code 1"),
        exit_code=1,
        log=log.encode(),
        events=events,
    )
    hub.ok(failure)
    stuck = c.ReportWorkload(
        workload_id=waiting,
        attempt=1,
        phase=Phase.STARTING,
        uid="c1",
        reason=ClusterReason.UNSCHEDULABLE,
        detail=dress("0/5 nodes are available: 5 Insufficient nvidia.com/gpu"),
    )
    hub.ok(stuck)


def _streams(scene: Filling, project: Id) -> None:
    """What streams brought, as rows: records that nobody understood, data, a result and its inference."""
    database, dress = scene.hub.database, scene.dress
    now = scene.hub.clock.now()
    key = quarantined(database, value=dress("{not json").encode(), taken_at=now, state_at=now)
    scene.names["quarantined"] = key
    quarantined(database, value=b"\xff\xfe binary", reason="not_utf8", taken_at=now, state_at=now)
    result = scene.names["result"] = finished(database, project, created_at=now)
    scene.names["data_source"] = source = announced(database, project, run_id=scene.names["run_cancelled"])
    scene.names["inference"] = serving(database, project, result, created_at=now, state_at=now)
    scene.names["sending"] = sending(database, project, source)
    model = row(
        sr.ArchitectureVersion,
        architecture_id=derive(project, "net"),
        version=1,
        framework="pth",
        code=dress("class Net: ..."),
        created_by=project,
    )
    write(database, model)
    _federated(scene, project)


def _federated(scene: Filling, project: Id) -> None:
    """A federated model, and data that it was matched with: the worker runs at the hub."""
    dress, now, run = scene.dress, scene.hub.clock.now(), scene.names["run"]
    announcement = row(
        sr.ModelAnnouncement,
        id=derive(project, "federated model"),
        cluster="cloud",
        topic="models",
        string_id=dress("fed-triage"),
        restriction_json="{}",
        framework="pth",
        announced_at=now,
        taken_at=now,
        state="live",
        state_at=now,
        run_id=run,
    )
    stream = derive(project, "stream of data")
    data = row(
        sr.DataSource,
        id=derive(project, "federated data"),
        cluster="cloud",
        topic="data",
        purpose="data",
        stream_id=stream,
        data_topic=dress("chest-x-rays"),
        input_format="RAW",
        input_config_json="{}",
        restrictions_json="{}",
        body=b"{}",
        state="live",
        taken_at=now,
        state_at=now,
    )
    match = row(
        sr.Match,
        id=derive(project, "match"),
        run_id=run,
        project_id=project,
        model_id=announcement.id,
        source_id=data.id,
        stream_id=stream,
        cluster="cloud",
        data_cluster="cloud",
        string_id=announcement.string_id,
        client_id="7",
        location="hub",
        state="started",
        state_at=now,
        created_at=now,
        workload_id=scene.names["workload"],
    )
    write(scene.hub.database, announcement)
    write(scene.hub.database, data)
    write(scene.hub.database, match)


def _silence(scene: Filling, north: Subject, east: Subject, *others: Subject) -> None:
    """The live run waits for east, which was heard of a quarter of an hour ago."""
    hub = scene.hub
    scene.beat(0, north, east, *others)
    hub.clock.sleep(14 * MINUTE)
    hub.ok(c.MarkSitesSilent(site_ids=[east.id]))
    hub.clock.sleep(20)
    scene.beat(3, north, *others)


def _vitals(scene: Filling) -> None:
    """What the hub's processes said of themselves, and what they sampled and read in the last half hour."""
    database, now = scene.hub.database, scene.hub.clock.now()
    hosts = {"decider": "yard-a", "doer": "yard-b", "relay": "yard-a", "web": "yard-b.hospital-network.example.org"}
    said = [
        Reported(f"{role}@{hosts[role]}:{pid}", role, pid * 100, "0.3.0", now - DAY * SECOND, None)
        for pid, role in enumerate(hosts, 4100)
    ]
    leads = {True: "yard-a", False: "yard-b"}
    said += [
        Reported(f"{role}@{host}:{4200 + place}", role, 0, "0.3.0", now - HOUR * SECOND, led)
        for place, (role, (led, host)) in enumerate(itertools.product(("reconciler", "ticker"), leads.items()))
    ]
    report_all(database, said, now - 4 * SECOND)
    report_all(database, [Reported("doer@yard-c:77", "doer", 0, "0.1.9", now - DAY * SECOND)], now - 95 * SECOND)
    for place in range(180):
        pace = {Sampled.DECIDED: 40.0 + place % 30, Sampled.WAIT_P50: 0.004 + place % 7 / 1000}
        pace[Sampled.WAIT_P99] = 0.03 + place % 11 / 100
        write_samples(database, "decider@yard-a:4100", now - place * 10 * SECOND, pace)
        write_samples(database, "relay@yard-a:4102", now - place * 10 * SECOND, {Sampled.OUTBOX_AGE: place % 3 / 2})
    queues = {
        "runs.v1": QueueReading(ready=12, delayed=1, dead=2, oldest_at=None, empty_at=now - 3 * SECOND),
        "messages.v1": QueueReading(ready=0, delayed=0, dead=0, oldest_at=None, empty_at=now),
        "deliveries.v1": QueueReading(ready=0, delayed=3, dead=0, oldest_at=None, empty_at=now),
    }
    disks = {
        "records": DiskReading(used=48_318_382_080, free=None, total=None),
        "artifacts": DiskReading(used=None, free=734_003_200, total=107_374_182_400),
    }
    backup = BackupReading(
        made_at=now - 9 * HOUR * SECOND, folder="/srv/backups/night", form="postgresql", copied=False
    )
    stream_states.tell(
        database,
        stream_states.BridgeState("cloud", "bridge@yard-a:4300", "", 2, 40_960, now - 2 * SECOND),
        [stream_states.ToldPartition("cloud", "control", 0, "", 1_204, 1_203, 1_201, None)],
        {},
    )
    tell(database, now - 12 * SECOND, {**queues, **disks, "": backup})


def letters_of(now: int, dress: Dress) -> list[DeadLetter]:
    """What lies dead at a broker."""

    def letter(queue: str, kind: str, hours: int, failures: int, reason: str) -> DeadLetter:
        ident = str(derive("letter", queue, kind, hours))
        at = now - hours * HOUR * SECOND
        return DeadLetter(queue, ident, kind, at, failures, dress(reason), 2_410 + hours, sha256_hex(ident.encode()))

    return [
        letter("deliveries.v1", "deliver_webhook", 30, 151, "Temporary: the broker does not take the report"),
        letter("runs.v1", "report_seat", 2, 9, "AssertionError at domain/decisions/progress/rounds.py:212"),
        letter("runs.v1", "unreadable", 1, 0, "it says that it belongs to another queue"),
    ]


def _deliveries(scene: Filling) -> None:
    """One that was taken, the others are tried again, with what went wrong."""
    hub = scene.hub
    while True:
        with hub.database.connection():
            untold, due = Due(hub.database).untold(), Due(hub.database).deliveries(hub.clock.now())
        for kind, stream, after, seqs in untold:
            hub.ok(c.QueueDeliveries(stream_kind=kind, stream_id=stream, after=after, seqs=seqs))
        if not due and not untold:
            return
        if due:
            hub.ok(c.BeginDeliveries(delivery_ids=[one for one, _ in due]))
        for one, _ in due:
            answered = c.ReportDelivery(delivery_id=one, attempt=1, status=200)
            if "delivery" in scene.names:
                answered = c.ReportDelivery(delivery_id=one, attempt=1, failure="timeout")
            hub.ok(answered)
            scene.names["delivery"] = one
