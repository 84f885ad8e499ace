"""What needs somebody, for who may see it; and the one sentence that is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from domain.ids import derive
from domain.values import Role, Subject
from fedyard.wire.times import DAY_S, SECOND, time_text
from fedyard.wire.version import __version__
from storage import stream_states
from storage.clocks import Reported, report_all
from storage.database import Database
from storage.views.concerns import Concern, ConcernKind, Down, concerns
from storage.views.vitals import vitals
from storage.vitals import BackupReading, DiskReading, QueueReading, Sampled, tell, write_samples
from tests.page.callers import Browser, signed_in
from tests.page.filling import SITE_NAMES
from tests.page.scenes import Scene, opened
from tests.web.network import Caller
from web.page.now import figures, sentence, where
from web.serving.app import web_of

NOW = 1_800_000_000 * SECOND
OPERATOR = Subject(kind="account", id="5f1d6a52-0c0e-5e0f-9c54-f3d7a6d7a4b1", role="admin")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened("small", tmp_path_factory.mktemp("now")) as scene:
        yield scene


def seen(scene: Scene, who: str, organisation: str = "", role: str = "member") -> list[tuple[str, str]]:
    """Kinds and names of what somebody of an organisation is told."""
    database, at = scene.net.database, scene.net.app.extensions["fedyard"].hub.clock.now()
    of = scene.names.get(f"organisation_{organisation}")
    subject = Subject(kind="account", id=scene.names[who], organisation_id=of, role=role)  # type: ignore[arg-type]
    return [(one.kind.value, one.name) for one in concerns(database, subject, at).items]


def test_who_runs_the_network_is_told_of_all_of_it(small: Scene) -> None:
    found = seen(small, "admin", "operators", "admin")
    assert found == seen(small, "auditor", "operators", "auditor")
    assert found[:2] == [("disk", "artifacts"), ("dead_letters", "runs.v1")]
    assert {kind for kind, _ in found[2:]} == {
        "process",
        "quarantine",
        "run_waits",
        "join_request",
        "workload_failed",
        "workload_waits",
    }


def test_others_are_told_of_what_is_theirs(small: Scene) -> None:
    lead = seen(small, "coordinator", "north")
    assert {kind for kind, _ in lead} == {"run_waits", "join_request", "workload_failed", "workload_waits"}
    takes_part = seen(small, "member", "east")
    assert {kind for kind, _ in takes_part} == {"run_waits"}


def test_a_site_that_a_run_waits_for_is_named_there_alone_and_else_by_itself(small: Scene) -> None:
    names = [name for kind, name in seen(small, "admin", "operators", "admin") if kind in ("run_waits", "site_silent")]
    assert names == ["Chest X-ray triage #4", "Chest X-ray triage #5"]


def told(scene: Scene, organisation: str, role: Role = "member", *, ago_s: float = 0) -> dict[ConcernKind, Concern]:
    """What somebody of an organisation is told, or was so long ago: of each kind the first."""
    of, at = scene.names[f"organisation_{organisation}"], scene.clock.now() - int(ago_s * SECOND)
    subject = Subject(kind="account", id=OPERATOR.id, organisation_id=of, role=role)
    return {one.kind: one for one in reversed(concerns(scene.net.database, subject, at).items)}


def test_a_run_that_failed_is_told_to_those_who_may_see_it_for_a_day(scene: Scene) -> None:
    admin = Caller(scene.net.app, scene.tokens["admin"])
    ended = admin.ok("GET", f"/v1/runs/{scene.names['run_failed']}")["ended_at"]
    ago_s = scene.clock.now() / SECOND - datetime.fromisoformat(ended).timestamp() - 60
    for organisation, sees in (("north", True), ("east", True), ("islands", False)):
        assert (ConcernKind.RUN_FAILED in told(scene, organisation, ago_s=ago_s)) == sees, organisation
        assert ConcernKind.RUN_FAILED not in told(scene, organisation)
    assert told(scene, "north", ago_s=ago_s)[ConcernKind.RUN_FAILED].run_id == scene.names["run_failed"]


def test_a_webhook_that_fails_is_its_owners_concern(scene: Scene) -> None:
    with scene.net.database.connection():
        scene.net.database.execute("UPDATE webhooks SET failures = 3, failing_since = %s", (scene.clock.now(),))
    assert told(scene, "north")[ConcernKind.WEBHOOK].name == "hooks.example.org"
    assert told(scene, "operators", "auditor")[ConcernKind.WEBHOOK].webhook_id == scene.names["webhook"]
    assert ConcernKind.WEBHOOK not in told(scene, "east")


def test_a_bridge_that_is_away_and_records_that_wait_are_two_concerns(scene: Scene) -> None:
    database, now = scene.net.database, scene.clock.now()
    away = stream_states.BridgeState("cloud", "bridge@yard-a:4300", "the broker is away", 2, 40_960, now)
    with database.connection():
        stream_states.tell(database, away, [], {})
        key = (scene.names["quarantined"],)
        database.execute("UPDATE quarantined_records SET state = 'purged' WHERE id = %s", key)
    found = told(scene, "operators", "admin")
    assert found[ConcernKind.STREAM].detail == "the broker is away"
    assert found[ConcernKind.QUARANTINE].detail.startswith("1 record could")


def test_a_run_that_waits_for_a_person_is_told_to_that_site_and_to_the_coordinator(scene: Scene) -> None:
    """Of a silent site it is told that it is; one that calls is not waited for otherwise."""
    assert ConcernKind.APPROVAL not in told(scene, "operators", "admin")
    with scene.net.database.connection():
        scene.net.database.execute("UPDATE sites SET state = 'online' WHERE state = 'silent'")
    name = SITE_NAMES["east"]
    for organisation in ("operators", "north", "east"):
        found = told(scene, organisation, "admin" if organisation == "operators" else "member")[ConcernKind.APPROVAL]
        assert (found.severity, found.name, found.waits_for) == ("waits", "Chest X-ray triage #4", [name])
        assert found.run_id == scene.names["run"]
        assert f"people of {name} approve it" in found.detail
    for organisation in ("south", "west", "islands"):
        assert ConcernKind.APPROVAL not in told(scene, organisation), organisation


def waits_for(scene: Scene) -> list[str]:
    """Whom the live run waits for, as its coordinator's people are told."""
    of = scene.names["organisation_north"]
    subject = Subject(kind="account", id=OPERATOR.id, organisation_id=of, role="member")
    found = concerns(scene.net.database, subject, scene.clock.now()).items
    return next(one.waits_for for one in found if one.run_id == scene.names["run"])


def test_a_run_whose_coordinator_is_silent_waits_for_it_once_it_is_to_aggregate(scene: Scene) -> None:
    database, north = scene.net.database, scene.names["site_north"]
    with database.connection():
        database.execute("UPDATE sites SET state = 'silent' WHERE id = %s", (north,))
        assert waits_for(scene) == [SITE_NAMES["east"]]
        database.execute("UPDATE rounds SET state = 'aggregating' WHERE state = 'training'")
    assert waits_for(scene) == ["north"]
    assert ConcernKind.SITE_SILENT not in told(scene, "north")  # said once, with the run


def test_a_site_whose_version_does_not_fit_is_told_of(scene: Scene) -> None:
    database = scene.net.database
    ids = [scene.names[f"site_{name}"] for name in ("north", "east")]
    before = told(scene, "north")
    with database.connection():
        database.execute("DELETE FROM site_agents")
        database.execute("UPDATE sites SET state = 'online' WHERE id {any:uuid}", [database.many(ids)])
        for ident, version in zip(ids, ("99.0.0", __version__), strict=True):
            database.execute("INSERT INTO site_agents (site_id, version, said_at) VALUES (%s, %s, 1)", [ident, version])
    assert ConcernKind.SITE_VERSION not in before
    assert "the hub has to be updated first" in told(scene, "north")[ConcernKind.SITE_VERSION].detail
    assert ConcernKind.SITE_VERSION not in told(scene, "east")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Database]:
    with opened("empty", tmp_path) as scene:
        yield scene.net.database


def of_hub(database: Database, at: int = NOW) -> list[tuple[str, str, str]]:
    return [(one.kind.value, one.severity, one.name) for one in concerns(database, OPERATOR, at).items]


def test_a_hub_on_its_first_day_needs_nobody(bare: Database) -> None:
    assert of_hub(bare) == []


def test_a_hub_of_a_week_wants_a_backup_of_the_week(bare: Database) -> None:
    later = NOW + 8 * DAY_S * SECOND
    assert of_hub(bare, later) == [("backup", "warns", "backup")]
    made = BackupReading(made_at=later - 7 * DAY_S * SECOND, folder="/b", form="sqlite", copied=False)
    tell(bare, later, {"": made})
    assert of_hub(bare, later) == []
    assert of_hub(bare, later + 1) == [("backup", "warns", "backup")]


def test_a_role_of_which_nobody_reports_is_worse_than_a_stand_by(bare: Database) -> None:
    report_all(bare, [Reported(f"{role}@a:1", role, 0) for role in ("decider", "ticker")], NOW - 31 * SECOND)
    report_all(bare, [Reported("ticker@b:2", "ticker", 40 * SECOND)], NOW)
    assert of_hub(bare) == [("process", "bad", "decider"), ("process", "warns", "stand-by")]
    report_all(bare, [Reported("web@b:2", "web", -31 * SECOND)], NOW)
    assert ("clock", "bad", "clocks") in of_hub(bare)


MEMBER = Subject(kind="account", id=OPERATOR.id, organisation_id=OPERATOR.id, role="member")


def test_what_the_web_finds_down_is_told_unless_a_record_tells_it(bare: Database) -> None:
    report_all(bare, [Reported("decider@a:1", "decider", 0)], NOW - 31 * SECOND)
    tell(bare, NOW, {"artifacts": DiskReading(used=5, free=1 << 29, total=100 << 30)})
    down = [
        Down("broker", "RabbitMQ at b:5672 does not answer", stops=True),
        Down("decider", "no decider reports", stops=True),
        Down("stand_by", "silent: ticker@b:2", stops=False),
        Down("artifacts", "the store does not answer", stops=False),
    ]
    found = concerns(bare, OPERATOR, NOW, ("decider",), down).items
    assert [(one.kind.value, one.severity, one.name) for one in found] == [
        ("part", "bad", "broker"),
        ("process", "bad", "decider"),
        ("disk", "bad", "artifacts"),
        ("part", "warns", "artifacts"),
    ]
    assert found[0].detail == "RabbitMQ at b:5672 does not answer"
    said = "No run is live; broker is down; artifacts are down; everything else is well."
    assert sentence(0, [found[0], found[3]], NOW) == said


def test_that_the_hub_cannot_serve_is_told_to_everybody_and_why_to_who_runs_it(bare: Database) -> None:
    down = [Down("broker", "RabbitMQ at b:5672 does not answer", stops=True), Down("doer", "at b:2", stops=False)]
    (found,) = concerns(bare, MEMBER, NOW, (), down).items
    assert (found.kind, found.severity, found.name) == (ConcernKind.PART, "bad", "broker")
    assert "b:5672" not in found.detail


def test_a_process_of_another_version_is_named_while_it_reports(bare: Database) -> None:
    report_all(bare, [Reported("doer@a:1", "doer", 0, "0.0.9"), Reported("doer@a:2", "doer", 0, __version__)], NOW)
    found = concerns(bare, OPERATOR, NOW, ("doer",)).items
    assert [(one.kind.value, one.severity) for one in found] == [("version", "warns")]
    assert f"doer@a:1 runs 0.0.9, and this process {__version__}" in found[0].detail
    assert concerns(bare, OPERATOR, NOW + 601 * SECOND, ()).items == []


def test_a_figure_that_is_not_read_any_more_says_so_and_is_not_good(bare: Database) -> None:
    tell(bare, NOW, {"runs.v1": QueueReading(ready=3, delayed=0, dead=0, oldest_at=None, empty_at=None)})
    write_samples(bare, "decider@a:1", NOW, {Sampled.DECIDED: 4.0, Sampled.WAIT_P99: 0.5})

    def shown(at: int) -> dict[str, tuple[str, str]]:
        return {one.name: (one.tone, one.more) for one in figures(vitals(bare, at, 3600), at)}

    fresh = shown(NOW + 60 * SECOND)
    assert (fresh["Decided"], fresh["Dead letters"]) == (("", ""), ("good", ""))
    old = shown(NOW + 600 * SECOND)
    assert old["Dead letters"] == old["Ready in queues"] == ("warns", "10 min ago")
    assert (old["Decided"][0], old["Decided"][1].endswith("ago")) == ("warns", True)
    assert old["Wait in the queue, 99 of 100"][0] == ""


@pytest.mark.parametrize(
    ("free", "total", "told"),
    [(1 << 29, 100 << 30, True), (1 << 29, 1 << 31, False), (2 << 30, 100 << 30, False), (None, None, False)],
)
def test_a_disk_is_nearly_full_with_little_left_and_a_small_part_of_it(
    bare: Database, free: int | None, total: int | None, told: bool
) -> None:
    tell(bare, NOW, {"records": DiskReading(used=5, free=free, total=total)})
    assert of_hub(bare) == ([("disk", "bad", "records")] if told else [])


def test_an_outbox_that_is_not_published_and_dead_letters(bare: Database) -> None:
    queue = QueueReading(ready=1, delayed=0, dead=1, oldest_at=None, empty_at=None)
    tell(bare, NOW, {"runs.v1": queue, "sites.v1": QueueReading(ready=9, delayed=9, dead=0, oldest_at=1, empty_at=1)})
    with bare.connection():
        row = (OPERATOR.id, "{}", NOW - 30 * SECOND)
        bare.execute("INSERT INTO outbox (id, envelope_json, created_at) VALUES (%s, %s, %s)", row)
    assert of_hub(bare) == [("dead_letters", "bad", "runs.v1"), ("outbox", "bad", "outbox")]
    assert of_hub(bare, NOW - 1) == [("dead_letters", "bad", "runs.v1")]


def concern(kind: ConcernKind, name: str, ago_s: int | None = None, waits_for: Sequence[str] = ()) -> Concern:
    since = None if ago_s is None else time_text(NOW - ago_s * SECOND)
    return Concern(kind, "warns", name, "what is the matter", since, waits_for=list(waits_for))


WAITS = concern(ConcernKind.RUN_WAITS, "Triage #4", 14 * 60 + 20, ["east", "west"])
FAILED = concern(ConcernKind.RUN_FAILED, "Triage #3", 60)
SILENT = concern(ConcernKind.SITE_SILENT, "west", 7200)
A_WAITS = "Triage #4 waits for east, west since 14 min"


@pytest.mark.parametrize(
    ("live", "found", "words"),
    [
        (0, [], "No run is live; everything is well."),
        (1, [], "1 run live; everything is well."),
        (2, [WAITS], f"2 runs live; {A_WAITS}; everything else is well."),
        (
            2,
            [WAITS, FAILED],
            f"2 runs live; {A_WAITS}; Triage #3 failed; everything else is well.",
        ),
        (
            0,
            [SILENT, FAILED, WAITS],
            "No run is live; west is silent since 2 h; Triage #3 failed; 1 more needs somebody.",
        ),
        (0, [SILENT] * 4, "No run is live; west is silent since 2 h; west is silent since 2 h; 2 more need somebody."),
    ],
)
def test_one_sentence_says_how_it_is(live: int, found: list[Concern], words: str) -> None:
    assert sentence(live, found, NOW) == words


@pytest.mark.parametrize("kind", list(ConcernKind))
def test_every_kind_has_words(kind: ConcernKind) -> None:
    one = concern(kind, "it")
    assert "it" in sentence(1, [one], NOW)
    own = {"process", "part", "version", "clock", "disk", "outbox", "backup"}
    assert (where(one) == "") == (kind.value in own)


def test_who_looks_into_a_concern_is_led_to_what_it_is_about() -> None:
    about = {name: derive(OPERATOR.id, name) for name in ("run", "project", "site", "workload", "webhook")}
    ids = {f"{name}_id": ident for name, ident in about.items()}
    led = {
        kind.value: where(Concern(kind, "warns", "it", "what is the matter", None, **ids))  # type: ignore[arg-type]
        for kind in ConcernKind
    }
    assert {kind: href for kind, href in led.items() if href} == {
        "dead_letters": "/page/dead-letters?queue=it",
        "stream": "/page/streams",
        "quarantine": "/page/streams",
        "run_waits": f"/page/runs/{about['run']}",
        "approval": f"/page/runs/{about['run']}",
        "run_failed": f"/page/runs/{about['run']}",
        "site_silent": f"/page/sites/{about['site']}",
        "site_version": f"/page/sites/{about['site']}",
        "join_request": f"/page/projects/{about['project']}",
        "workload_failed": f"/page/workloads/{about['workload']}",
        "workload_waits": f"/page/workloads/{about['workload']}",
        "webhook": f"/page/webhooks/{about['webhook']}",
    }


def test_a_figure_warns_by_its_own_value(bare: Database) -> None:
    slow = {Sampled.DECIDED: 1.0, Sampled.WAIT_P50: 0.1, Sampled.WAIT_P99: 6.0, Sampled.OUTBOX_AGE: 29.0}
    write_samples(bare, "decider@a:1", NOW, slow)
    tones = {one.name: one.tone for one in figures(vitals(bare, NOW, 3600, 120), NOW)}
    assert tones["Wait in the queue, 99 of 100"] == "warns"
    assert tones["Oldest in the outbox"] == "good"


def test_what_renews_itself_is_drawn_once_for_all_who_see_the_same(scene: Scene, browser_caller: Browser) -> None:
    web_of(scene.net.app).watchers.release()
    first = browser_caller.get("/page/now/live").get_data(as_text=True)
    assert 'id="now"' in first
    assert "<h1" not in first
    tell(scene.net.database, scene.clock.now(), {"new.v1": QueueReading(9, 9, 9, None, None)})
    auditor = signed_in(scene.net.app, scene.tokens["auditor"])
    assert auditor.get("/page/now/live").get_data(as_text=True) == first
    day = auditor.get("/page/now/live?span_s=86400").get_data(as_text=True)
    assert "span_s=86400" in day
    assert "span_s=3600" in first
    member = signed_in(scene.net.app, scene.tokens["member"])
    others = member.get("/page/now/live").get_data(as_text=True)
    assert "Processes" in first
    assert "Processes" not in others
    scene.clock.put_on(6)
    assert "new.v1" in auditor.get("/page/now/live").get_data(as_text=True)


def test_nobody_is_told_that_all_is_well_while_the_broker_takes_nothing(scene: Scene) -> None:
    callers = {who: signed_in(scene.net.app, scene.tokens[who]) for who in ("admin", "auditor", "member")}
    scene.net.publisher.down = True
    try:
        for who, caller in callers.items():
            text = caller.get("/page/now").get_data(as_text=True)
            assert "broker is down" in text
            assert ("the broker does not answer" in text) == (who != "member")
    finally:
        scene.net.publisher.down = False
