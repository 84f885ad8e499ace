"""A site's agent and its cluster against the hub's decisions: what it makes, refuses, collects and reports."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id
from domain.infrastructure import FILES_KEPT_S
from domain.workloads import FOLLOWED_S, RETRY_AFTER_S, token_of
from fedyard.agent import workloads
from fedyard.agent.cluster import ClusterSettings, SecretFile
from fedyard.agent.consents import Consent, Consents
from fedyard.agent.flags import Flags
from fedyard.agent.places import AGAIN_S, EVERY_S
from fedyard.agent.reports import SAID_AGAIN_S
from fedyard.agent.spool import LOGS_KEPT, Spool
from fedyard.agent.workloads import LOGS_STAY, NOT_ALLOWED_GRACE_S, SOON_S, Workloads
from fedyard.client.errors import Refused as HubRefused
from fedyard.client.errors import Unavailable as HubAway
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL
from fedyard.cluster.plan import MISSING_S, ORPHAN_AGE_S, UNMADE_S, Key, Wanted
from fedyard.cluster.port import AttemptId, Reason, Refused, Resources, Spec
from fedyard.wire import answers as a
from storage.database import Database, open_database
from storage.places import places_to_end
from storage.views.workloads import wanted_at
from tests.clusters import MemoryCluster
from tests.databases import fresh_sqlite
from tests.hub import SECOND, Hub

IMAGE = "registry.example/fed/train@sha256:1"
SETTINGS = ClusterSettings(kind="kubernetes", in_cluster=True, images=["registry.example/fed/*"], projects=["*"])
KEY = bytes(32)


class OverDecisions:
    """The client, with the hub's decisions at the other end. away: nothing answers. odd: what a newer hub lists."""

    hub = "http://hub.example"

    def __init__(self, hub: Hub, site: v.Subject) -> None:
        self._hub, self._site = hub, site
        self.away = False
        self.lose_answers = False
        self.odd: list[msgspec.Raw] = []
        self.asked_places = 0
        self.reports: list[dict[str, Any]] = []
        self.pieces: list[bytes] = []
        """Of logs that somebody follows."""

    def read(self, path: str, kind: type[Any]) -> Any:
        self._answers()
        if path == f"/v1/sites/{self._site.id}/places":
            self.asked_places += 1
            places = places_to_end(self._hub.database, f"site:{self._site.id}", self._hub.clock.now())
            return msgspec.convert({"items": [{"project_id": one} for one in places], "next": None}, kind)
        assert path == f"/v1/sites/{self._site.id}/workloads"
        with self._hub.database.connection():
            found = wanted_at(self._hub.database, self._site.id, self._hub.clock.now())
        listed = [self._with_token(one) for one in found]
        return msgspec.json.decode(msgspec.json.encode({"items": [*listed, *self.odd], "next": None}), type=kind)

    @staticmethod
    def _with_token(one: Wanted) -> Wanted:
        if not one.enrols:
            return one
        secrets = {ENROLMENT_TOKEN: token_of(KEY, one.spec.id, one.spec.attempt)}
        return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, secrets=secrets))

    def write(self, method: str, path: str, body: object, kind: type[Any], *, key: str) -> Any:
        assert key
        self._answers()
        if method == "PUT":
            _, _, _, site, _, project, gone = path.split("/")
            assert (site, gone, body) == (self._site.id, "gone", None)
            self._hub.ok(c.ReportPlaceGone(cluster=f"site:{site}", project_id=project), self._site)
            return {}
        _, _, workloads, ident, what = path.split("/")
        assert (method, workloads, kind) == ("POST", "workloads", dict)
        said = json.loads(msgspec.json.encode(body))
        if "log" in said:
            said["log"] = base64.b64decode(said["log"])
        command: c.ReportWorkload | c.WriteWorkloadLog
        if what == "log":
            self.pieces.append(said["log"])
            said["body"] = said.pop("log")
            command = msgspec.convert({"workload_id": ident, **said}, c.WriteWorkloadLog, strict=False)
        else:
            assert what == "report"
            self.reports.append(said)
            command = msgspec.convert({"workload_id": ident, **said}, c.ReportWorkload, strict=False)
        self._hub.clock.sleep(0.01)
        outcome = self._hub.send(command, self._site)
        if self.lose_answers:
            raise HubAway("the answer is lost")
        if outcome.state != "accepted":
            raise HubRefused(path, 404, a.Problem(type="/problems/not_found", detail="no"))
        return {}

    def _answers(self) -> None:
        if self.away:
            raise HubAway("away")


class Time:
    """The agent's clock: the hub's."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def monotonic(self) -> float:
        return self._hub.clock.now() / SECOND

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._hub.clock.sleep(seconds)
        return event.is_set()


class House:
    """A site with its agent's part that looks after workloads; nothing moves but when a test says so."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.coordinator, self.site = hub.sites(2)
        self.project = hub.project([self.coordinator, self.site])
        self.cluster = MemoryCluster(lambda: hub.clock.now() / SECOND)
        self.client = OverDecisions(hub, self.site)
        self.consents = Consents(folder)
        self.serve(self.project)
        self.said: list[str] = []
        self.settings: ClusterSettings | None = SETTINGS
        self.restart()

    def serve(self, project: Id, name: str = "p") -> None:
        self.consents.give(Consent(project_id=project, name=name, coordinator="c", identity=b"i", at=1, by="people"))

    def restart(self, settings: ClusterSettings | None = None) -> None:
        """As after a kill: what it knew is on the disk, or not at all."""
        self.settings = settings or self.settings
        self.flags = Flags()
        self.agent = Workloads(
            self.site.id,
            self.folder,
            self.settings,
            self.consents,
            cast(Any, self.client),
            flags=self.flags,
            clock=Time(self.hub),
            log=lambda what, **_: self.said.append(what),
            now=self.hub.clock.now,
            opened=lambda _settings, _folder: self.cluster,
        )

    def create(self, project: Id | None = None, **spec: Any) -> Id:
        asked = v.WorkloadSpec(**{"kind": "job", "image": IMAGE, **spec})
        command = c.CreateWorkload(
            project_id=project or self.project, name="w", where=f"site:{self.site.id}", spec=asked
        )
        return self.hub.ok(command, self.coordinator)["id"]

    def stop(self, ident: Id) -> None:
        self.hub.ok(c.StopWorkload(workload_id=ident), self.coordinator)

    def turn(self) -> float:
        self.hub.clock.sleep(0.01)
        return self.agent.turn()

    def settle(self) -> None:
        """Until nothing is reported any more."""
        for _ in range(20):
            before = len(self.client.reports)
            self.turn()
            if len(self.client.reports) == before:
                return
        raise AssertionError("it does not come to rest")

    def later(self, seconds: float) -> None:
        self.hub.clock.sleep(seconds)

    def state(self, ident: Id) -> tuple[str, str]:
        workload = self.hub.rows(r.Workload, "id = %s", ident)[0]
        return workload.state, workload.reason

    def why(self, ident: Id) -> str:
        return str(self.hub.rows(r.Workload, "id = %s", ident)[0].detail)

    def logs(self) -> list[bytes]:
        return [one.log for one in self.hub.rows(r.WorkloadEvidence)]

    def gone(self, ident: Id) -> bool:
        return all(one.gone_at is not None for one in self.hub.rows(r.WorkloadAttempt, "workload_id = %s", ident))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Of one kind: what is tried here is the site's part."""
    opened = open_database(fresh_sqlite(tmp_path / "store.sqlite"))
    opened.hold()
    yield opened
    opened.close()


@pytest.fixture
def house(hub: Hub, tmp_path: Path) -> House:
    return House(hub, tmp_path)


def test_a_job_is_made_at_the_site_and_its_end_with_its_log_is_known_before_it_is_removed(house: House) -> None:
    ident = house.create(environment={"A": "b"})
    house.turn()
    which = house.cluster.only()
    assert (which.owner, which.place, which.id, which.attempt) == (house.site.id, house.project, ident, 1)
    assert house.state(ident) == ("starting", "")
    house.cluster.runs(which)
    house.settle()
    assert house.state(ident) == ("running", "")
    house.cluster.ends(which, 3, log=b"it broke\n")
    house.turn()
    assert (house.state(ident), house.logs()) == (("failed", "exit_code"), [b"it broke\n"])
    assert which in house.cluster.there
    house.settle()
    assert not house.cluster.there
    assert house.gone(ident)
    assert not list((house.folder / "workloads" / "left").iterdir())
    asked = len(house.client.reports)
    assert house.turn() == workloads.IDLE_S
    assert len(house.client.reports) == asked


def test_stop_and_scale_are_followed(house: House) -> None:
    job, service = house.create(), house.create(kind="service", port=80)
    house.settle()
    for which in house.cluster.there:
        house.cluster.runs(which)
    house.settle()
    house.hub.ok(c.ScaleWorkload(workload_id=service, replicas=3), house.coordinator)
    house.settle()
    assert {each.observed.replicas for each in house.cluster.there.values()} == {1, 3}
    house.stop(job)
    house.stop(service)
    house.settle()
    assert not house.cluster.there
    assert house.state(job) == house.state(service) == ("stopped", "")


def test_what_another_attempt_can_heal_is_made_again_in_its_time(house: House) -> None:
    ident = house.create(attempts=2)
    house.settle()
    house.cluster.ends(house.cluster.only(), 137, Reason.EVICTED)
    house.settle()
    assert not house.cluster.there
    assert house.turn() < RETRY_AFTER_S[0], "it looks again when the next attempt is due"
    house.later(RETRY_AFTER_S[0])
    house.settle()
    assert house.cluster.only() == AttemptId(house.site.id, house.project, ident, 2)


# what the site does not allow


@pytest.mark.parametrize(
    ("settings", "spec", "reason", "says"),
    [
        (None, {}, "not_allowed", r"write [cluster] into site.toml"),
        (msgspec.structs.replace(SETTINGS, projects=[]), {}, "not_allowed", "projects ="),
        (msgspec.structs.replace(SETTINGS, projects=["another"]), {}, "not_allowed", "projects ="),
        (msgspec.structs.replace(SETTINGS, images=[]), {}, "image_unusable", "name it in images"),
        (SETTINGS, {"image": "registry.example/other"}, "image_unusable", "name it in images"),
        (msgspec.structs.replace(SETTINGS, max_cpu_millis=500), {}, "not_allowed", "max_cpu_millis"),
        (msgspec.structs.replace(SETTINGS, max_memory_bytes=2**20), {}, "not_allowed", "max_memory_bytes"),
        (
            msgspec.structs.replace(SETTINGS, max_cpu_millis=2500),
            {"kind": "service", "port": 80, "replicas": 3},
            "not_allowed",
            "3000 would be taken of the 2500",
        ),
    ],
)
def test_what_the_site_does_not_allow_is_refused_and_people_are_told_what_to_write(
    house: House, settings: ClusterSettings | None, spec: dict[str, Any], reason: str, says: str
) -> None:
    house.settings = settings
    house.restart()
    ident = house.create(attempts=3, **spec)
    house.settle()
    assert house.state(ident) == ("failed", reason)
    assert says in house.why(ident)
    assert house.cluster.made == 0
    assert house.gone(ident)


def test_a_project_is_allowed_by_its_name_or_its_id(house: House) -> None:
    for said in ("p", house.project):
        house.restart(msgspec.structs.replace(SETTINGS, projects=[said]))
        house.create()
        house.settle()
    assert house.cluster.made == 2


def test_what_a_project_wants_that_nobody_here_joined_is_not_made_whatever_the_hub_says(house: House) -> None:
    other = house.hub.project([house.coordinator, house.site])
    theirs, ours = house.create(other), house.create()
    house.settle()
    assert house.state(theirs) == ("failed", "not_allowed")
    assert "does not serve" in house.why(theirs)
    assert house.cluster.only().id == ours


def test_what_runs_for_a_project_that_its_people_leave_ends_with_its_log_and_another_project_s_does_not(
    house: House,
) -> None:
    other = house.hub.project([house.coordinator, house.site])
    house.serve(other, "q")
    ident, theirs = house.create(attempts=3), house.create(other)
    house.settle()
    for which in house.cluster.there:
        house.cluster.runs(which)
    house.settle()
    house.client.away = True
    house.consents.withdraw(house.consents.of(house.project), 5)
    house.settle()
    house.settle()
    assert house.cluster.only().id == theirs, "it works in the site first"
    house.client.away = False
    house.settle()
    assert house.state(ident) == ("failed", "not_allowed")
    assert len(house.logs()) == 1
    assert house.state(theirs) == ("running", "")


@pytest.mark.parametrize("reason", ["left", "stopped"])
def test_what_may_run_no_longer_has_no_hour_to_end(house: House, reason: str) -> None:
    ident = house.create(grace_s=3600.0)
    house.settle()
    house.cluster.runs(house.cluster.only())
    house.settle()
    if reason == "left":
        house.consents.withdraw(house.consents.of(house.project), 5)
    else:
        house.stop(ident)
    house.settle()
    assert not house.cluster.there
    assert set(house.cluster.graces) == {NOT_ALLOWED_GRACE_S if reason == "left" else 3600.0}


def test_what_may_run_no_longer_has_failed_of_that_with_the_report_of_its_log(house: House) -> None:
    ident = house.create()
    house.settle()
    house.cluster.runs(house.cluster.only())
    house.settle()
    house.restart(msgspec.structs.replace(SETTINGS, images=[]))
    house.turn()
    assert (house.state(ident), len(house.logs())) == (("failed", "image_unusable"), 1)
    house.settle()
    assert not house.cluster.there


def test_what_finds_no_room_waits_until_something_ends(house: House) -> None:
    house.restart(msgspec.structs.replace(SETTINGS, max_workloads=2))
    idents = [house.create() for _ in range(3)]
    house.settle()
    states = [house.state(ident) for ident in idents]
    assert sorted(states) == [("starting", ""), ("starting", ""), ("wanted", "quota_exceeded")]
    house.cluster.ends(next(iter(house.cluster.there)))
    house.settle()
    house.settle()
    assert house.cluster.made == 3


def test_what_grows_beyond_the_room_stays_as_it_is_and_says_so(house: House) -> None:
    """Who begins small and is scaled then would have all of the machine."""
    house.restart(msgspec.structs.replace(SETTINGS, max_cpu_millis=4000))
    resources = Resources(cpu_millis=1000)
    first, second = (house.create(kind="service", port=80, resources=resources) for _ in range(2))
    house.settle()
    for which in list(house.cluster.there):
        house.cluster.runs(which, ready=1)
    house.settle()

    def scaled(ident: Id, replicas: int) -> int:
        house.hub.ok(c.ScaleWorkload(workload_id=ident, replicas=replicas), house.coordinator)
        house.settle()
        return next(one.replicas for one in house.cluster.observe(house.site.id) if one.id == ident)

    assert scaled(first, 3) == 3
    assert scaled(second, 2) == 1
    assert house.state(second) == ("running", "quota_exceeded")
    assert scaled(first, 2) == 2
    house.later(SAID_AGAIN_S)
    house.settle()
    assert [one.replicas for one in house.cluster.observe(house.site.id)] == [2, 2]
    assert house.state(second) == ("running", "")


# bad luck


def test_a_job_that_ends_while_its_agent_is_away_is_known_as_it_was_when_that_is_back(house: House) -> None:
    ident = house.create()
    house.settle()
    which = house.cluster.only()
    house.cluster.runs(which)
    house.settle()
    house.cluster.ends(which, 0, log=b"done\n")
    house.restart()
    house.settle()
    assert (house.state(ident), house.logs()) == (("succeeded", ""), [b"done\n"])
    assert house.gone(ident)


def test_what_ends_while_the_hub_is_away_is_kept_here_with_its_log_and_told_later_over_a_kill(house: House) -> None:
    ident = house.create()
    house.settle()
    which = house.cluster.only()
    house.cluster.runs(which)
    house.settle()
    house.client.away = True
    house.restart()
    house.cluster.ends(which, 4, log=b"alone\n")
    house.turn()
    house.turn()
    assert not house.cluster.there
    assert house.state(ident) == ("running", "")
    house.restart()
    house.turn()
    house.client.away = False
    house.settle()
    assert (house.state(ident), house.logs()) == (("failed", "exit_code"), [b"alone\n"])
    house.settle()
    assert house.gone(ident)
    assert not list((house.folder / "workloads" / "left").iterdir())


def test_nothing_is_begun_and_no_orphan_ended_while_the_hub_is_away(house: House) -> None:
    house.create()
    house.client.away = True
    spec = Spec(owner=house.site.id, place=house.project, id=house.site.id, attempt=1, kind="job", image=IMAGE)
    house.cluster.ensure(spec)
    house.later(ORPHAN_AGE_S)
    house.turn()
    house.turn()
    assert house.cluster.only() == spec.attempt_id
    house.client.away = False
    house.settle()
    assert spec.attempt_id not in house.cluster.there, "it is in nobody's records"
    assert len(house.cluster.there) == 1
    assert [what for what in house.said if what.startswith("workloads:")] == [
        "workloads: hub away",
        "workloads: hub back",
    ]


def test_the_next_attempt_is_not_begun_while_the_hub_is_away(house: House) -> None:
    house.create(attempts=2)
    house.settle()
    house.cluster.ends(house.cluster.only(), 137, Reason.EVICTED)
    house.settle()
    house.client.away = True
    house.later(RETRY_AFTER_S[0])
    house.turn()
    assert house.cluster.made == 1
    house.client.away = False
    house.settle()
    assert house.cluster.made == 2


def test_a_report_whose_answer_is_lost_is_said_again_without_harm(house: House) -> None:
    ident = house.create()
    house.client.lose_answers = True
    for _ in range(3):
        house.turn()
    house.client.lose_answers = False
    house.settle()
    assert house.state(ident) == ("starting", "")
    assert house.cluster.made == 1
    house.cluster.ends(house.cluster.only(), log=b"once\n")
    house.client.lose_answers = True
    house.turn()
    house.client.lose_answers = False
    house.settle()
    assert (house.state(ident), house.logs()) == (("succeeded", ""), [b"once\n"])


def test_a_cluster_that_is_away_is_said_to_people_and_asked_ever_less_often(house: House) -> None:
    ident = house.create()
    house.cluster.away = True
    pauses = [house.turn() for _ in range(3)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
    assert house.state(ident) == ("wanted", "")
    assert house.why(ident) == "the site's cluster cannot be used now: the cluster is away"
    house.cluster.away = False
    house.settle()
    assert (house.state(ident), house.why(ident)) == (("starting", ""), "")


def test_what_the_agent_may_not_do_at_its_cluster_is_named(house: House) -> None:
    ident = house.create()
    house.cluster.forbidden = ["create jobs.batch in namespace x"]
    house.turn()
    assert "create jobs.batch" in house.why(ident)
    house.cluster.forbidden = []
    house.settle()
    assert house.cluster.made == 1


def test_what_the_cluster_refuses_for_good_has_failed(house: House) -> None:
    house.cluster.refuses = Refused(Reason.CONFIG_INVALID, "not so")
    ident = house.create()
    house.settle()
    assert (house.state(ident), house.why(ident)) == (("failed", "config_invalid"), "not so")


def test_what_vanished_is_lost(house: House) -> None:
    ident = house.create()
    house.settle()
    house.cluster.there.clear()
    house.turn()
    house.later(MISSING_S)
    house.settle()
    assert house.state(ident) == ("lost", "vanished")


def test_what_was_stopped_before_it_was_made_is_never_made(house: House) -> None:
    ident = house.create()
    house.stop(ident)
    house.turn()
    house.later(UNMADE_S)
    house.settle()
    assert (house.cluster.made, house.state(ident)) == (0, ("stopped", ""))


def test_what_a_newer_hub_says_in_words_that_are_not_known_fails_and_what_is_there_is_left_alone(house: House) -> None:
    ident = house.create()
    for attempt in (2, 3):
        house.cluster.ensure(
            Spec(owner=house.site.id, place=house.project, id=ident, attempt=attempt, kind="job", image=IMAGE)
        )
    house.client.odd = [
        msgspec.Raw(msgspec.json.encode({"spec": {"id": ident, "attempt": 2, "new": 1}, "run": True})),
        msgspec.Raw(b'{"all": "new"}'),
    ]
    house.later(ORPHAN_AGE_S)
    house.settle()
    assert {which.attempt for which in house.cluster.there} == {1, 2, 3}
    assert "workload not understood" in house.said
    assert any("does not understand" in report.get("detail", "") for report in house.client.reports)


def follow(house: House, ident: Id) -> None:
    house.hub.ok(c.FollowWorkload(workload_id=ident, attempt=1))


def live_log(house: House) -> bytes:
    pieces = sorted(house.hub.rows(r.WorkloadLogPiece), key=lambda one: one.start)
    return b"".join(one.body for one in pieces)


def test_a_log_is_read_while_somebody_follows_it_and_to_its_end_when_it_ends(house: House) -> None:
    ident = house.create()
    house.turn()
    which = house.cluster.only()
    house.cluster.runs(which)
    house.cluster.there[which].log = b"one\n"
    house.settle()
    assert "log" not in house.cluster.calls
    assert (house.client.pieces, live_log(house)) == ([], b"")
    before = len(house.hub.inbox(house.site))
    follow(house, ident)
    follow(house, ident)
    assert [one.kind for one in house.hub.inbox(house.site)[before:]] == ["workload_wanted"]
    assert house.turn() == SOON_S
    assert live_log(house) == b"one\n"
    house.cluster.there[which].log += b"two\n"
    house.turn()
    house.turn()
    assert house.client.pieces == [b"one\n", b"two\n"]
    house.later(FOLLOWED_S)
    house.cluster.there[which].log += b"three\n"
    assert house.turn() > SOON_S
    assert live_log(house) == b"one\ntwo\n"
    house.cluster.ends(which, log=b"four\n")
    house.settle()
    assert live_log(house) == b"one\ntwo\nthree\nfour\n"
    assert house.logs() == [live_log(house)]


def test_a_site_s_people_may_keep_its_logs(house: House) -> None:
    house.restart(msgspec.structs.replace(SETTINGS, logs=False))
    ident = house.create()
    house.turn()
    which = house.cluster.only()
    house.cluster.runs(which)
    house.cluster.there[which].log = b"patient 7\n"
    follow(house, ident)
    house.settle()
    house.cluster.ends(which, exit_code=1)
    house.settle()
    assert house.state(ident) == ("failed", "exit_code")
    assert house.gone(ident)
    assert (live_log(house), house.logs(), house.client.pieces) == (b"", [b""], [])
    (evidence,) = house.hub.rows(r.WorkloadEvidence)
    assert json.loads(evidence.events_json) == ["made uid-1", LOGS_STAY]
    assert not any(b"patient" in path.read_bytes() for path in house.folder.rglob("*.json"))
    assert (house.folder / "workloads" / "logs" / f"{ident}-1.log").read_bytes() == b"patient 7\n"
    spool = Spool(house.folder)
    for number in range(2, LOGS_KEPT + 2):
        spool.keep_log(Key(ident, number), b"")
    assert len([*(house.folder / "workloads" / "logs").iterdir()]) == LOGS_KEPT


def test_a_site_gives_its_own_secrets_to_whom_its_people_say(house: House) -> None:
    for name in ("db", "gone"):
        (house.folder / name).write_text(f"{name} of this site\n")
    secrets = {
        "db": SecretFile(file="db", projects=["p"]),
        "gone": SecretFile(file="gone", projects=["*"]),
        "other": SecretFile(file="db", projects=["q"]),
    }
    house.restart(msgspec.structs.replace(SETTINGS, secrets=secrets))
    gets = house.create(secrets={"P": "db"})
    house.settle()
    which = house.cluster.only()
    assert (which.id, house.cluster.there[which].spec.secrets) == (gets, {"P": "db of this site"})
    assert not any(b"of this site" in path.read_bytes() for path in house.folder.rglob("*.json"))
    for name in ("other", "none"):
        ident = house.create(secrets={"P": name})
        house.settle()
        assert house.state(ident) == ("failed", Reason.NOT_ALLOWED)
        assert f'{name} = {{file = "...", projects = ["{house.project}"]}}' in house.why(ident)
    (house.folder / "gone").unlink()
    waits = house.create(secrets={"P": "gone"})
    house.settle()
    assert house.state(waits) == ("wanted", Reason.SECRET_MISSING)
    (house.folder / "gone").write_text("here again")
    house.later(SAID_AGAIN_S)
    house.settle()
    assert house.state(waits) == ("starting", "")


def test_another_owner_s_attempt_is_none_of_this_site_s(house: House) -> None:
    ident = house.create()
    with house.hub.database.connection():
        (one,) = wanted_at(house.hub.database, house.site.id, house.hub.clock.now())
    stranger = msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, owner=house.coordinator.id))
    house.client.read = lambda path, kind: msgspec.json.decode(  # type: ignore[method-assign]
        msgspec.json.encode({"items": [stranger] if path.endswith("/workloads") else []}), type=kind
    )
    house.settle()
    assert house.cluster.made == 0
    assert house.state(ident)[0] == "failed"


# with the agent


@pytest.mark.parametrize(
    ("settings", "end", "runs"),
    [
        (SETTINGS, False, True),
        (msgspec.structs.replace(SETTINGS, stop_with_agent=True), False, False),
        (SETTINGS, True, False),  # the hub knows the site no more: nobody would ever end it
    ],
)
def test_workloads_outlive_the_agent_unless_they_shall_not(
    house: House, settings: ClusterSettings, *, end: bool, runs: bool
) -> None:
    house.restart(settings)
    ident = house.create(attempts=2)
    house.settle()
    house.cluster.runs(house.cluster.only())
    house.settle()
    house.cluster.there[house.cluster.only()].log = b"so far\n"
    house.flags.closing.set()
    house.agent.close(end=end)
    assert bool(house.cluster.there) is runs
    assert house.state(ident) == ("running", "")
    house.restart()
    house.settle()
    if runs:
        assert house.state(ident) == ("running", "")
    else:
        assert house.state(ident) == ("wanted", "evicted")
        assert house.logs() == [b"so far\n"]


def test_the_seat_of_a_run_gets_its_token_and_where_the_hub_is_and_the_disk_gets_neither(house: House) -> None:
    holder = v.Holder(
        name="worker",
        where=f"site:{house.site.id}",
        spec=v.WorkloadSpec(kind="job", image=IMAGE),
    )
    task = v.TaskSpec(name="t", model="m", who=[house.coordinator.id], workloads=[holder])
    project = house.hub.project([house.coordinator, house.site], tasks=[task])
    house.serve(project)
    house.hub.start(project, house.coordinator)
    house.settle()
    which = house.cluster.only()
    spec = house.cluster.there[which].spec
    token = token_of(KEY, which.id, 1)
    assert spec.secrets == {ENROLMENT_TOKEN: token}
    assert spec.environment[HUB_URL] == "http://hub.example"
    enrolment = house.hub.rows(r.Enrolment, "site_id IS NOT NULL AND used_at IS NULL")
    assert len(enrolment) == 1
    for path in house.folder.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_a_notice_wakes_it_and_so_does_the_cluster_s_news(house: House) -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        if len(turns) == 3:
            house.flags.closing.set()
        else:
            house.flags.wanted.set()
        return 3600.0

    house.agent.turn = turn  # type: ignore[method-assign]
    house.agent.run()
    assert len(turns) == 3


def test_a_project_that_its_people_leave_is_noticed_within_seconds(house: House) -> None:
    house.create()
    house.settle()
    turned_at: list[float] = []

    def turn() -> float:
        turned_at.append(house.hub.clock.now() / SECOND)
        if len(turned_at) == 1:
            house.consents.withdraw(house.consents.of(house.project), 5)
        else:
            house.flags.closing.set()
        return 3600.0

    house.agent.turn = turn  # type: ignore[method-assign]
    house.agent.run()
    assert turned_at[1] - turned_at[0] < 5


# places


def archived(house: House) -> None:
    """A project of which something has run here, and is stopped."""
    house.create(kind="service", port=80)
    house.settle()
    house.hub.ok(c.ArchiveProject(project_id=house.project), house.coordinator)
    house.settle()
    assert not house.cluster.there


def removed(house: House) -> list[str]:
    events = house.hub.rows(r.Event, "stream_id = %s AND kind = %s", house.project, "place_removed")
    return [json.loads(one.facts_json)["where"] for one in events]


def test_what_an_archived_project_has_here_goes(house: House) -> None:
    house.settle()
    archived(house)
    assert "remove_place" not in house.cluster.calls
    house.later(EVERY_S)
    house.settle()
    assert house.cluster.calls.count("remove_place") == 1
    assert removed(house) == [f"site:{house.site.id}"]
    house.later(EVERY_S)
    house.settle()
    assert house.cluster.calls.count("remove_place") == 1
    assert house.said.count("place removed") == 1


def test_nothing_goes_while_something_runs_there(house: House) -> None:
    house.settle()
    archived(house)
    stray = Spec(owner=house.site.id, place=house.project, id=house.site.id, attempt=1, kind="job", image=IMAGE)
    house.cluster.ensure(stray)
    house.later(EVERY_S)
    house.turn()
    assert "remove_place" not in house.cluster.calls
    house.cluster.there.clear()
    house.later(AGAIN_S)
    house.settle()
    assert removed(house) == [f"site:{house.site.id}"]


def test_a_place_that_takes_long_to_go_is_looked_at_again(house: House) -> None:
    house.settle()
    archived(house)
    house.cluster.lingers = True
    house.later(EVERY_S)
    house.settle()
    assert (house.cluster.calls.count("remove_place"), removed(house)) == (1, [])
    house.cluster.lingers = False
    house.later(AGAIN_S)
    house.settle()
    assert (house.cluster.calls.count("remove_place"), len(removed(house))) == (2, 1)


def test_the_sites_people_may_keep_it(house: House) -> None:
    house.restart(msgspec.structs.replace(SETTINGS, keep_places=True))
    archived(house)
    house.later(EVERY_S)
    house.settle()
    assert house.client.asked_places == 0
    assert "remove_place" not in house.cluster.calls


def test_files_of_a_projects_parts_are_kept_for_a_day(house: House) -> None:
    said = v.Infrastructure(coordinator_image=IMAGE, selector_image=IMAGE, where=f"site:{house.site.id}")
    goal = v.TaskSpec(name="train", model="fedota", contract=v.Contract(quorum=2, quorum_of="count"))
    update = c.UpdateProject(project_id=house.project, tasks=[goal], infrastructure=said)
    house.hub.ok(update, house.coordinator)
    house.hub.ok(c.StartInfrastructure(project_id=house.project), house.coordinator)
    house.settle()
    house.hub.ok(c.ArchiveProject(project_id=house.project), house.coordinator)
    house.settle()
    house.later(EVERY_S)
    house.settle()
    assert "remove_place" not in house.cluster.calls
    house.later(FILES_KEPT_S)
    house.settle()
    assert removed(house) == [f"site:{house.site.id}"]


def test_only_the_site_itself_says_so_and_only_of_an_archived_project(house: House) -> None:
    gone = c.ReportPlaceGone(cluster=f"site:{house.site.id}", project_id=house.project)
    assert house.hub.refused(gone, house.site) == (404, "not_found")
    house.hub.ok(c.ArchiveProject(project_id=house.project), house.coordinator)
    assert house.hub.refused(gone, house.coordinator) == (403, "forbidden")
    assert house.hub.refused(c.ReportPlaceGone(cluster="hub", project_id=house.project), house.site)[0] == 403
