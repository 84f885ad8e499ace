"""What the portal's pages show, as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fedyard.agent.cluster import ClusterSettings
from fedyard.agent.consents import Consent, Join
from fedyard.agent.health import Health
from fedyard.agent.site import Coordinator, Keys, Settings
from fedyard.agent.state import Egress
from fedyard.look.runs.curves import charts_of
from fedyard.portal.pages.keys import KeysShown
from fedyard.portal.pages.left import Left, SentMessage, sent_messages
from fedyard.portal.pages.messages import text_of
from fedyard.portal.pages.models import charts_of as model_charts
from fedyard.portal.pages.now import Now, agent_needs, disk_needs, invitations, requests_of
from fedyard.portal.pages.policy import in_words
from fedyard.portal.pages.projects import drawn, served
from fedyard.portal.pages.runs import with_own
from fedyard.sealed.trust import TrustSettings
from fedyard.wire.answers import Entry, Membership, Model, Project, Round, Run, Seat, Submission, TaskRun, TaskSpec
from fedyard.wire.times import DAY, SECOND
from tests.fedyard.portal import scenes
from tests.fedyard.portal.scenes import epoch

NORTH, EAST, SOUTH = (f"{digit}aaaaaaa-0000-4000-8000-000000000000" for digit in "123")
PROJECT, RUN = "bbbbbbbb-0000-4000-8000-000000000000", "cccccccc-0000-4000-8000-000000000000"
NAMES = {NORTH: "north", EAST: "east", SOUTH: "<b>south</b>"}
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOW = int(AT.timestamp()) * SECOND


def submission(site: str, seconds: float, **more: object) -> Submission:
    return Submission(site_id=site, started_at=AT, submitted_at=AT + timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def task(*rounds: Round, seats: list[Seat], state: str = "running") -> TaskRun:
    spec = TaskSpec(name="train", model="m", rounds=9)
    return TaskRun(seq=1, name="train", state=state, spec=spec, round=len(rounds), seats=seats, rounds=[*rounds])


def seat(site: str, state: str, number: int = 1, reason: str = "") -> Seat:
    return Seat(site_id=site, round=number, state=state, report_seq=1, reason=reason)


def test_metrics_that_left_this_house_have_a_curve_before_the_hub_shows_them() -> None:
    rounds = [
        Round(number=1, state="completed", submissions=[submission(NORTH, 1, metrics={"loss": 0.8})]),
        Round(number=2, state="training"),
    ]
    left = [
        Egress(at=1, project_id=PROJECT, run_id=RUN, task_seq=1, round=1, kind="update", metrics={"loss": 0.7}),
        Egress(at=1, project_id=PROJECT, run_id=RUN, task_seq=1, round=2, kind="update", metrics={"loss": 0.5}),
        Egress(at=1, project_id=PROJECT, run_id=RUN, task_seq=2, round=2, kind="update", metrics={"loss": 0.1}),
    ]
    run = Run(
        id=RUN,
        project_id=PROJECT,
        number=1,
        attempt=1,
        state="running",
        version=1,
        coordinator_site_id=EAST,
        tasks=[task(*rounds, seats=[])],
    )
    (chart,) = charts_of(with_own(run, left, NORTH).tasks[0], NAMES)
    assert (chart.names, chart.rows) == (["north"], [(1, [0.8]), (2, [0.5])])


def test_versions_of_models_have_curves_from_the_second_on() -> None:
    made = {"run_id": RUN, "task_seq": 1, "task": "train", "message_id": None, "created_at": AT}
    models = [Model(version=n, round=n, metrics={"loss": 1 / n}, **made) for n in (1, 2)]  # type: ignore[arg-type]
    assert model_charts(PROJECT, models[:1]) == []
    assert model_charts(PROJECT, models)[0].rows == [(1, [1.0]), (2, [0.5])]


def test_tasks_that_follow_each_other_are_drawn() -> None:
    first, second = TaskSpec(name="a", model="m"), TaskSpec(name="b", model="m")
    assert drawn([first]) is None
    assert str(drawn([first, second])).count('class="edge"') == 1
    assert str(drawn([first, msgspec.structs.replace(second, after=[])])).count('class="edge"') == 0


# now


def test_an_agent_that_is_not_there_comes_first_with_what_to_say() -> None:
    (never,) = agent_needs(None, NOW, "/site")
    assert (never.tone, never.command) == ("bad", "fedyard --folder /site site run")
    (stopped,) = agent_needs(Health(at=NOW - 60 * SECOND), NOW, "/site")
    assert "has stopped" in stopped.text
    assert agent_needs(Health(at=NOW), NOW, "/site") == []
    assert [one.tone for one in agent_needs(Health(at=NOW, trouble="no route", clock="off"), NOW, "/site")] == [
        "warns"
    ] * 2


def test_who_asks_and_who_invites_waits_until_somebody_answers() -> None:
    asked = Membership(project_id=PROJECT, site_id=EAST, state="requested", site_name="east", notes="let us in")
    active = Membership(project_id=PROJECT, site_id=SOUTH, state="active")
    assert [one.text for one in requests_of([asked, active], "P")] == ["east asks to join P: let us in"]
    entry = Entry(seq=1, kind="member_invited", created_at=AT, project_id=PROJECT)
    assert [one.href for one in invitations([entry, entry], {})] == [f"/projects/{PROJECT}"]
    assert invitations([entry], {PROJECT: consent()}) == []


def test_a_disk_that_is_nearly_full_needs_somebody() -> None:
    assert [one.text for one in disk_needs(20 << 20)] == ["The disk of this folder has 20 MiB left: make room"]
    assert disk_needs(1 << 40) == []


def consent(**more: object) -> Consent:
    about = {"project_id": PROJECT, "name": "P", "coordinator": NORTH, "identity": b"k" * 32, "at": NOW, "by": "people"}
    return Consent(**{**about, **more})  # type: ignore[arg-type]


def test_one_sentence_says_how_it_is() -> None:
    quiet = Now(lives=True, needs=[], works=[], left=[], projects={}, sites={}, served=0)
    assert quiet.sentence == "The agent is at work; nothing runs here now; all is well."
    needs = agent_needs(None, NOW, "/site")
    alone = Now(lives=False, needs=needs, works=[], left=[], projects={}, sites={}, served=0)
    assert alone.sentence == "No agent works here; nothing runs here now; 1 thing needs somebody."
    assert alone.mark != quiet.mark


# what left


def test_messages_are_listed_by_whom_they_were_for_and_never_by_what_they_said() -> None:
    body = msgspec.json.encode(
        {"messages": [{"project_id": PROJECT, "to": "coordinator", "kind": "note", "body": "c2VhbGVk"}]}
    )
    assert sent_messages([(7, body), (8, b"damaged")]) == [SentMessage(7, PROJECT, ["coordinator"], "note", 6)]


def test_what_left_is_counted_in_one_sentence() -> None:
    assert Left([], [], [], [], {}, {}).sentence == "Nothing has left this house yet."
    totals = [(PROJECT, "update", 2, 10, 1), (PROJECT, "log", 1, 5, 1), ("other", "update", 1, 10, 1)]
    said = Left([], totals, [SentMessage(1, PROJECT, [], "note", 1)], [], {}, {}).sentence
    assert said.startswith("3 updates, 1 piece of a log, 1 message left this house;")


# policy


def words(settings: Settings, *consents: Consent) -> str:
    return "\n".join(sentence for section in in_words(settings, consents) for sentence in section.sentences)


def test_the_defaults_in_words() -> None:
    said = words(Settings(hub="http://hub", name="north"))
    assert "It serves no project" in said
    assert "workloads that others want to have run here are refused" in said
    assert "no model of fewer than 2 updates" in said
    assert "believed when it is first seen" in said
    assert "It names no data" in said


def test_noise_budgets_and_what_a_task_may_reach_are_said() -> None:
    said = "\n".join(
        sentence
        for section in in_words(scenes.NOISY, [], scenes.SPENT[1:], "no Landlock")
        for sentence in section.sentences
    )
    for rule in (
        "A person approves tasks of hearts",
        "Updates of lungs leave clipped to norm 0.5, with noise of 4 times that on each number",
        "ε 0 of 2 is spent (δ 1e-05), by 0 updates.",
        "Updates of p3 leave without noise now: ε 1.5 is spent (δ 1e-06), by 4 updates.",
        "cannot hold it to all of that: no Landlock.",
        "Tasks of all projects without a section are not confined at all.",
        "Tasks of hearts may work in several processes",
        "reach /srv/atlas, too",
    ):
        assert rule in said, rule
    assert "No noise is added" not in said
    assert "No noise is added" in words(Settings(hub="http://hub", name="north"))


def test_every_rule_that_people_changed_is_said() -> None:
    settings = Settings(
        hub="http://hub",
        name="north",
        allow_plain_http=["hub:80"],
        proxy="http://north:secret@proxy.example:3128",
        transfer_hosts=["s3.example"],
        rejoin=False,
        data={"train": "train.csv"},
        join=[Join(project="P", coordinator="unknown")],
        trust=TrustSettings(pin="fingerprint", unsealed=True),
        coordinator=Coordinator(min_updates=5),
        cluster=ClusterSettings(
            kind="processes", images={"local/sh": ["/bin/sh"]}, projects=["*"], max_workloads=3, logs=False
        ),
    )
    said = words(settings, consent(), consent(project_id=EAST, name="Q", withdrawn_at=NOW))
    for rule in (
        "It serves 1 project: P.",
        "It joins P by itself",
        "whoever the hub shows first is believed",
        "it stays out",
        "train (train.csv)",
        "go to hub:80 by plain http",
        "through the proxy http://proxy.example:3128.",
        "s3.example",
        "whose fingerprint nobody has compared",
        "go unsealed",
        "fewer than 5 updates",
        "local/sh",
        "3 at once",
        "does not leave",
    ):
        assert rule in said, rule


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (None, "no"),
        (consent(), "yes"),
        (consent(withdrawn_at=NOW), "left"),
        (consent(coordinator=EAST), "changed"),
        (consent(identity=b"x" * 32), "changed"),
    ],
)
def test_a_project_is_served_under_the_coordinator_that_was_agreed_to(known: Consent | None, state: str) -> None:
    project = Project(
        id=PROJECT, name="P", coordinator_site_id=NORTH, coordinator_name="north", coordinator_identity_key=b"k" * 32
    )
    assert served(known, project) == state


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb", "a\nb"),
        ("über \u202e".encode(), "über \\u202e"),
        (b"\xff\xfe\x00", None),
        (b"PK\x03\x04" + bytes(range(128, 256)), None),
        ("x" * 99_999 + "€", "x" * 99_999),
    ],
)
def test_what_a_message_says_is_shown_if_it_is_text(content: bytes | str, text: str | None) -> None:
    assert text_of(content if isinstance(content, bytes) else content.encode()) == text


def test_a_key_says_how_many_days_old_it_is_and_how_many_are_left() -> None:
    key = epoch(2)
    shown = KeysShown([key], Keys(rotate_every_days=10), key.key.created + 3 * DAY + SECOND)
    assert shown.sentence == "The key of epoch 2 is current: 3 days old, followed by a new one in 6 days."
