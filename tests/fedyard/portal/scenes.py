"""What each page of a portal is told, by hand: a busy site and an empty one, with what others may have written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fedyard.actions.policy import Effect, InEffect, Waits
from fedyard.actions.privacy import Budget
from fedyard.agent.consents import Consent
from fedyard.agent.health import Health, Line
from fedyard.agent.policy import ProjectPolicy
from fedyard.agent.site import Folder, Keys, Settings
from fedyard.agent.state import Egress, Receipt
from fedyard.look.forms import Form
from fedyard.look.runs import drawn as run_drawn
from fedyard.portal.desk import Desk, Page, Visit, rendered
from fedyard.portal.door import Session
from fedyard.portal.pages import agent, keys, left, messages, models, now, policy, projects, runs, trust
from fedyard.sealed.keys import Epoch, Key, fingerprint, words
from fedyard.sealed.trust import Pin
from fedyard.tasks.confined import Confine
from fedyard.tasks.privacy import Privacy
from fedyard.wire import answers as a
from fedyard.wire.statements import hex_groups
from fedyard.wire.times import DAY, SECOND

EVIL = "<script>alert('x')</script>"
NORTH, EAST, SOUTH, LATE = (f"{digit}aaaaaaa-0000-4000-8000-000000000000" for digit in "1234")
PROJECT, RUN, MESSAGE = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "bcd")
AT = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
NOW = int(AT.timestamp()) * SECOND
NAMES = {NORTH: "North University Hospital", EAST: f"East {EVIL}", SOUTH: "South"}
PROJECTS = {PROJECT: f"Tumours {EVIL}"}
DIGEST = "0123456789abcdef" * 4


def ago(seconds: int) -> datetime:
    return AT - timedelta(seconds=seconds)


def egress(kind: str, round: int, **more: Any) -> Egress:
    about = {"project_id": PROJECT, "run_id": RUN, "task_seq": 1, "at": NOW - round * SECOND, "size_bytes": 2345}
    return Egress(id=round, kind=kind, round=round, **{**about, **more})


LEFT = [
    egress(
        "update",
        3,
        recipients=(NORTH,),
        digest=DIGEST,
        seal=DIGEST,
        norm=1312.0269538569582,
        metrics={"loss": 0.07744247711833452},
    ),
    egress(
        "model",
        2,
        recipients=(EAST, NORTH, SOUTH),
        digest=DIGEST,
        seal="",
        metrics={f"m_{n}": n / 3 for n in range(6)},
        outcome="ok",
    ),
    egress("log", 2, count=3),
    egress("reason", 1, digest=DIGEST, text=f"train: a file is not there {EVIL}", outcome="refused"),
]
CONTRACT = a.Contract(quorum=0.8)
TASKS = [
    a.TaskSpec(name="scale", model="logistic_regression", parameters={"label": "y", "note": EVIL}, contract=CONTRACT),
    a.TaskSpec(name="train", model="logistic_regression", rounds=12, contract=CONTRACT),
]
SHOWN_PROJECT = a.Project(
    id=PROJECT,
    coordinator_site_id=NORTH,
    coordinator_name=NAMES[NORTH],
    coordinator_identity_key=b"k" * 32,
    name=PROJECTS[PROJECT],
    description=f"Is a tumour malignant? {EVIL}",
    data_format="CSV, 30 measurements, label",
    joining="approval",
    tasks=TASKS,
    last_run_number=3,
    sealed="required",
)
CONSENT = Consent(
    project_id=PROJECT, name=PROJECTS[PROJECT], coordinator=NORTH, identity=b"k" * 32, at=NOW - DAY, by="people"
)
PIN = Pin(site_id=EAST, name=NAMES[EAST], identity=b"e" * 32, at=NOW - DAY, how="first_sight")
ROUNDS = [
    a.Round(
        number=1,
        state="completed",
        metrics={"loss": 0.5},
        submissions=[
            a.Submission(site_id=NORTH, started_at=ago(90), submitted_at=ago(88), metrics={"loss": 0.6}),
            a.Submission(site_id=EAST, started_at=ago(90), submitted_at=ago(70), metrics={"loss": 0.4}),
        ],
    ),
    a.Round(
        number=2, state="training", submissions=[a.Submission(site_id=NORTH, started_at=ago(20), submitted_at=ago(15))]
    ),
]
TASK_RUN = a.TaskRun(
    seq=1,
    name="train",
    state="active",
    spec=TASKS[1],
    round=2,
    codes=[a.CodeUse(code="ab" * 32, count=2), a.CodeUse(code="cd" * 32, count=1)],
    waiting=[a.SeatsWaiting(waits_for="hours", count=1, until=ago(-30))],
    seats=[
        a.Seat(site_id=NORTH, round=2, state="submitted", report_seq=3, code="ab" * 32),
        a.Seat(site_id=EAST, round=2, state="training", report_seq=2, code="cd" * 32, waits_for="hours"),
        a.Seat(site_id=SOUTH, round=1, state="failed", report_seq=2, reason=f"no such file {EVIL}"),
    ],
    rounds=ROUNDS,
)
LIVE_RUN = a.Run(
    id=RUN,
    project_id=PROJECT,
    number=3,
    attempt=1,
    state="running",
    version=7,
    coordinator_site_id=NORTH,
    created_at=ago(120),
    started_at=ago(100),
    tasks=[TASK_RUN],
)
OLD_RUN = a.Run(
    id=RUN,
    project_id=PROJECT,
    number=2,
    attempt=2,
    state="failed",
    version=9,
    coordinator_site_id=NORTH,
    reason="too_few",
    detail=f"train: 1 of 3 {EVIL}",
    started_at=ago(9000),
    ended_at=ago(8000),
)
MODELS = [
    a.Model(
        version=n,
        run_id=RUN,
        task_seq=1,
        task="train",
        round=n,
        message_id=MESSAGE,
        created_at=ago(100 - n),
        digest=DIGEST,
        size_bytes=6789,
        metrics={"loss": 1 / n, "accuracy": 1 - 1 / n},
    )
    for n in (1, 2)
]


def epoch(number: int, **more: Any) -> Epoch:
    key = Key(
        site_id=NORTH,
        epoch=number,
        created=NOW - (40 - 20 * number) * DAY,
        expires=NOW + 30 * DAY,
        suite=1,
        public_key=b"",
    )
    return Epoch(key=key, private=b"k", grace_s=7 * 86400.0, published=True, **more)


def entry(seq: int, kind: str, **more: Any) -> a.Entry:
    return a.Entry(seq=seq, kind=kind, created_at=ago(1000 - seq), project_id=PROJECT, **more)


SENT = a.Message(id=MESSAGE, kind="message", size_bytes=1900, sender_site_id=EAST)


def known(id: str, name: str, key: bytes, *, compared: bool) -> trust.Known:
    finger = fingerprint(key)
    return trust.Known(id, name, words(finger), hex_groups(finger), compared, NOW - DAY, [PROJECTS[PROJECT]])


def needs() -> list[now.Need]:
    asked = a.Membership(project_id=PROJECT, site_id=LATE, state="requested", site_name=f"Late {EVIL}", notes=EVIL)
    return [
        *now.agent_needs(Health(at=0), NOW, "/sites/north"),
        *now.requests_of([asked], PROJECTS[PROJECT]),
        *now.invitations([entry(1, "member_invited")], {}),
    ]


WORK = now.Work(
    PROJECTS[PROJECT],
    PROJECT,
    RUN,
    "3, attempt 1",
    "train (logistic_regression)",
    2,
    "training",
    "trains on its data",
    NOW - 61 * SECOND,
    [("train", "train.csv"), (EVIL, "x.csv")],
)
BUSY_NOW = now.Now(lives=True, needs=needs(), works=[WORK], left=LEFT, projects=PROJECTS, sites=NAMES, served=1)
EMPTY_NOW = now.Now(lives=True, needs=[], works=[], left=[], projects={}, sites={}, served=0)
TOTALS = [(PROJECT, "update", 3, 9000, NOW), ("", "reason", 1, 40, NOW)]
MISSING = Receipt(RUN, 1, 2, PROJECT, "missing", "not_named", NOW)
BUSY_LEFT = left.Left(
    LEFT, TOTALS, [left.SentMessage(NOW, PROJECT, [EAST], EVIL[:9], None)], [MISSING], PROJECTS, NAMES, next=1
)
SHOWN = projects.Shown(
    project=SHOWN_PROJECT,
    consent=CONSENT,
    served="yes",
    own=True,
    membership="active",
    members=[
        projects.MemberRow(
            a.Membership(project_id=PROJECT, site_id=NORTH, state="active", site_name=NAMES[NORTH]), None, own=True
        ),
        projects.MemberRow(
            a.Membership(project_id=PROJECT, site_id=EAST, state="active", site_name=NAMES[EAST]), PIN, own=False
        ),
        projects.MemberRow(
            a.Membership(project_id=PROJECT, site_id=LATE, state="requested", site_name=f"Late {EVIL}", notes=EVIL),
            None,
            own=False,
        ),
    ],
    tasks=projects.tasks_of(TASKS, {"another": "train"}),
    drawing=projects.drawn(TASKS),
    runs=[LIVE_RUN, OLD_RUN],
    models=MODELS,
    words=words(fingerprint(b"k" * 32)),
    hex=hex_groups(fingerprint(b"k" * 32)),
    compared=False,
    allowed=[f"there is no model {EVIL}"],
)
STRANGER = projects.Shown(
    project=SHOWN_PROJECT,
    consent=None,
    served="no",
    own=False,
    membership="invited",
    members=[],
    tasks=projects.tasks_of(TASKS, {}),
    drawing=None,
    runs=[],
    models=[],
    words=SHOWN.words,
    hex=SHOWN.hex,
    compared=False,
    allowed=[],
)
EVENTS = [
    a.Event(stream_id=RUN, seq=1, kind="seat_failed", at=ago(9), site_id=EAST, facts={"reason": EVIL, "round": 2})
]
SHOWN_RUN = runs.run_here(LIVE_RUN, PROJECTS[PROJECT], NAMES, EVENTS, LEFT, NORTH, NOW)
LINES = [
    runs.LogLine(NOW, NAMES[EAST], 1, 2, f"epoch 1\n{EVIL}"),
    runs.LogLine(None, "South", 1, None, "", f"damaged: {EVIL}"),
]
HEALTH = Health(
    version="0.0.1",
    pid=7,
    started_at=NOW - DAY,
    at=NOW,
    beat_at=NOW - SECOND,
    trouble=EVIL,
    clock="off by 9 s",
    lines=[Line(NOW, "seat failed", {"reason": EVIL})],
)
AGENT = agent.AgentShown(
    health=HEALTH,
    lives=True,
    folder="/sites/north",
    hub="https://hub.example",
    hub_says="site north",
    trouble="",
    site_id=NORTH,
    free_bytes=10**11,
    total_bytes=10**12,
    memory_bytes=4096,
    workloads=[],
    faults=[],
    recovered_at=NOW - DAY,
    version="0.0.2",
)
NEVER = agent.AgentShown(
    health=None,
    lives=False,
    folder="/sites/north",
    hub="https://hub.example",
    hub_says="",
    trouble="no route",
    site_id=NORTH,
    free_bytes=0,
    total_bytes=1,
    memory_bytes=0,
    workloads=[],
    faults=[],
    recovered_at=None,
    version="0.0.2",
)
INBOX = messages.Inbox(
    [
        messages.EntryRow(entry(9, "message", message=SENT), "", "opened"),
        messages.EntryRow(entry(8, "message", message=SENT), "", "waiting"),
        messages.EntryRow(entry(7, "token_issued"), f"a token was issued: {EVIL}", ""),
    ],
    PROJECTS,
    NAMES,
    everything=False,
    writable=PROJECTS,
)
TRUSTED = trust.Trusted(
    own=known(NORTH, NAMES[NORTH], b"k" * 32, compared=True),
    hub=known("", "https://hub.example", b"h" * 32, compared=False),
    others=[known(EAST, NAMES[EAST], b"e" * 32, compared=False), known(SOUTH, "South", b"s" * 32, compared=True)],
    strict=True,
)
SETTINGS = Settings(hub="https://hub.example", name=NAMES[NORTH], data={"train": "train.csv"})
NOISY = msgspec.structs.replace(
    SETTINGS,
    project={
        "hearts": ProjectPolicy(
            ask="runs",
            privacy=Privacy(clip=1.0, noise=8.0, epsilon=10.0),
            confine=Confine(workers=True, read=["/srv/atlas"]),
        ),
        "*": ProjectPolicy(confine=Confine(on="never")),
    },
)
SPENT = [
    Budget("p1", EVIL, 10, 3, 3.747217, 1e-6, 10.0, 1e-6, 1.0, 8.0),
    Budget("p2", "lungs", 0, 0, 0.0, None, 2.0, 1e-5, 0.5, 4.0),
    Budget("p3", "", 4, 0, 1.5, 1e-6, None, None, None, None),
]

EFFECT = Effect(
    [
        InEffect(PROJECT, EVIL, 1, ProjectPolicy(min_rows=100, allow=[EVIL], ask="runs")),
        InEffect(RUN, "lungs", 0, ProjectPolicy()),
    ],
    [
        Waits(
            RUN, PROJECT, EVIL, 1, "train", "ab" * 32, NOW, NOW, msgspec.Raw(b'{"name":"train"}'), [f"model: {EVIL}"]
        ),
        Waits(RUN, PROJECT, "", 2, "score", "", NOW, 0, msgspec.Raw(b"{}"), []),
    ],
)

PAGES: Mapping[str, Page] = {
    "now": Page("now.html", {"site_now": BUSY_NOW}),
    "now-empty": Page("now.html", {"site_now": EMPTY_NOW}),
    "left": Page("left.html", {"left": BUSY_LEFT, "kinds": left.KINDS}),
    "left-empty": Page("left.html", {"left": left.Left([], [], [], [], {}, {}), "kinds": left.KINDS}),
    "policy": policy.shown(policy.in_words(SETTINGS, [CONSENT]), EFFECT, "/sites/north/site.toml"),
    "policy-noise": policy.shown(
        policy.in_words(NOISY, [CONSENT], SPENT, "no Landlock"), Effect([], []), "/sites/north/site.toml"
    ),
    "agent": Page("agent.html", {"agent": AGENT}),
    "agent-never": Page("agent.html", {"agent": NEVER}),
    "projects": Page(
        "projects.html", {"listed": projects.Listed([projects.Row(SHOWN_PROJECT, "yes", own=True)]), "consents": []}
    ),
    "projects-empty": Page("projects.html", {"listed": projects.Listed([]), "consents": []}),
    "projects-away": Page("projects.html", {"listed": projects.Listed([], "no route"), "consents": [CONSENT]}),
    "project": Page("project.html", {"shown": SHOWN}),
    "project-stranger": Page("project.html", {"shown": STRANGER}),
    "project-new": Page(
        "project_new.html", {"form": Form.of(name=EVIL, tasks="[").with_error("tasks", f"no JSON {EVIL}")}
    ),
    "runs": Page("runs.html", {"runs": [LIVE_RUN, OLD_RUN], "more": 3, "names": PROJECTS, "trouble": "", "state": ""}),
    "runs-empty": Page("runs.html", {"runs": [], "more": 0, "names": {}, "trouble": "", "state": "failed"}),
    "run": Page(
        "run.html", {"shown": SHOWN_RUN, "events": EVENTS, "event_words": runs.event_words, "drawn": run_drawn}
    ),
    "logs": Page("logs.html", {"run": LIVE_RUN, "lines": LINES, "next": 5, "project": PROJECTS[PROJECT]}),
    "logs-empty": Page("logs.html", {"run": LIVE_RUN, "lines": [], "next": None, "project": PROJECTS[PROJECT]}),
    "models": Page(
        "models.html",
        {
            "models": models.Models(
                [models.of_project(PROJECT, PROJECTS[PROJECT], MODELS, {RUN: "3, attempt 1"})],
                [models.ModelFile("run-3.1-train-cccccccc.npz", 2048, NOW)],
            )
        },
    ),
    "models-empty": Page("models.html", {"models": models.Models([], [])}),
    "messages": Page("messages.html", {"inbox": INBOX}),
    "messages-empty": Page("messages.html", {"inbox": messages.Inbox([], {}, {}, everything=True, writable={})}),
    "message": Page(
        "message.html",
        {
            "entry": entry(9, "message", message=SENT),
            "text": EVIL,
            "size_bytes": 30,
            "projects": PROJECTS,
            "sites": NAMES,
        },
    ),
    "trust": Page("trust.html", {"trusted": TRUSTED}),
    "keys": Page("keys.html", {"keys": keys.KeysShown([epoch(2), epoch(1, superseded=NOW - DAY)], Keys(), NOW)}),
    "keys-empty": Page("keys.html", {"keys": keys.KeysShown([], Keys(), NOW)}),
    "problem": Page("problem.html", {"problem": a.Problem(title="The hub refused it", detail=EVIL, status=409)}),
}


def desk_in(folder: Path) -> Desk:
    """A desk that knows the time and what the site is called, and nothing else."""
    made = Folder(folder / "north")
    made.create(SETTINGS, "token")
    return Desk(made, lambda: NOW)


def html(desk: Desk, name: str) -> str:
    """A page as HTML. name: of `PAGES`."""
    session = Session("secret", 0.0, 0.0)
    path = "/" if name.startswith(("now", "problem")) else f"/{name.partition('-')[0]}"
    return rendered(Visit(desk, session, path), PAGES[name])
