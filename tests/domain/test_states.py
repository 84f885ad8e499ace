"""What may follow what, written out by hand: each table, whole lives, and the page that is drawn from the tables.

Nothing here is made from domain/states.py: a row that is changed, added or lost there fails here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from domain import states as s
from ops import diagrams

Table = Mapping[tuple[Any, s.Step], Any]
Rows = dict[str, dict[str, str]]

AGREED: dict[str, tuple[Table, type[StrEnum], Rows]] = {
    "run": (
        s.RUN,
        s.RunState,
        {
            "created": {"start": "running", "fail": "failed", "cancel": "cancelled"},
            "running": {"succeed": "succeeded", "fail": "failed", "cancel": "cancelled"},
            "succeeded": {},
            "failed": {},
            "cancelled": {},
        },
    ),
    "task run": (
        s.TASK_RUN,
        s.TaskRunState,
        {
            "waiting": {"start": "active", "carry": "succeeded", "skip": "skipped", "cancel": "cancelled"},
            "active": {"succeed": "succeeded", "fail": "failed", "cancel": "cancelled"},
            "succeeded": {},
            "failed": {},
            "cancelled": {},
            "skipped": {},
        },
    ),
    "round": (
        s.ROUND,
        s.RoundState,
        {
            "selecting": {"selected": "training", "fail": "failed", "cancel": "cancelled"},
            "training": {"reported": "aggregating", "complete": "completed", "fail": "failed", "cancel": "cancelled"},
            "aggregating": {
                "complete": "completed",
                "aggregated": "scoring",
                "fail": "failed",
                "cancel": "cancelled",
            },
            "scoring": {"complete": "completed"},
            "completed": {},
            "failed": {},
            "cancelled": {},
        },
    ),
    "project round": (
        s.PROJECT_ROUND,
        s.ProjectRoundState,
        {
            "(none)": {
                "select": "selection",
                "configure": "configuration",
                "report": "reporting",
                "complete": "completed",
            },
            "selection": {
                "configure": "configuration",
                "report": "reporting",
                "complete": "completed",
                "fail": "failed",
                "cancel": "cancelled",
            },
            "configuration": {
                "report": "reporting",
                "complete": "completed",
                "fail": "failed",
                "cancel": "cancelled",
            },
            "reporting": {"complete": "completed", "fail": "failed", "cancel": "cancelled"},
            "completed": {},
            "failed": {},
            "cancelled": {},
        },
    ),
    "seat": (
        s.SEAT,
        s.SeatState,
        {
            "invited": {
                "accept": "preparing",
                "ready": "ready",
                "wait": "preparing",
                "rest": "resting",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "preparing": {
                "ready": "ready",
                "wait": "preparing",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "ready": {"round_started": "training", "fail": "failed", "drop": "dropped", "cancel": "cancelled"},
            "training": {
                "trained": "uploading",
                "submit": "submitted",
                "wait": "training",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "uploading": {"submit": "submitted", "fail": "failed", "drop": "dropped", "cancel": "cancelled"},
            "submitted": {
                "next_round": "invited",
                "rest": "resting",
                "score": "scoring",
                "task_done": "done",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "resting": {
                "next_round": "invited",
                "rest": "resting",
                "score": "scoring",
                "task_done": "done",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "scoring": {
                "next_round": "invited",
                "rest": "resting",
                "scored": "scored",
                "wait": "scoring",
                "task_done": "done",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "scored": {
                "next_round": "invited",
                "rest": "resting",
                "task_done": "done",
                "fail": "failed",
                "drop": "dropped",
                "cancel": "cancelled",
            },
            "done": {},
            "failed": {},
            "dropped": {"rejoin": "invited"},
            "cancelled": {},
        },
    ),
    "site": (
        s.SITE,
        s.SiteState,
        {
            "online": {"fall_silent": "silent", "retire": "retired"},
            "silent": {"return": "online", "retire": "retired"},
            "retired": {},
        },
    ),
    "membership": (
        s.MEMBER,
        s.MemberState,
        {
            "(none)": {"invite": "invited", "request": "requested", "admit": "active"},
            "invited": {"invite": "invited", "admit": "active", "decline": "declined"},
            "requested": {"request": "requested", "admit": "active", "decline": "declined", "leave": "left"},
            "active": {"leave": "left"},
            "declined": {"invite": "invited", "request": "requested", "admit": "active"},
            "left": {"invite": "invited", "request": "requested", "admit": "active"},
        },
    ),
    "delivery": (
        s.DELIVERY,
        s.DeliveryState,
        {
            "queued": {"acknowledge": "acknowledged", "expire": "expired", "move": "moved"},
            "acknowledged": {"move": "moved"},
            "expired": {},
            "moved": {},
        },
    ),
    "artifact": (
        s.ARTIFACT,
        s.ArtifactState,
        {
            "declared": {"store": "stored", "expire": "expired"},
            "stored": {"expire": "expired"},
            "expired": {},
        },
    ),
    "archive": (
        s.ARCHIVE,
        s.ArchiveState,
        {
            "awaited": {"store": "checking"},
            "checking": {"pass": "checked", "refuse": "refused"},
            "checked": {},
            "refused": {},
        },
    ),
    "sealing key": (
        s.KEY,
        s.KeyState,
        {
            "current": {"supersede": "superseded", "revoke": "revoked"},
            "superseded": {"revoke": "revoked"},
            "revoked": {},
        },
    ),
    "webhook": (
        s.WEBHOOK,
        s.WebhookState,
        {
            "active": {"disable": "disabled", "delete": "deleted"},
            "disabled": {"enable": "active", "delete": "deleted"},
            "deleted": {},
        },
    ),
    "webhook delivery": (
        s.WEBHOOK_DELIVERY,
        s.WebhookDeliveryState,
        {
            "waiting": {"deliver": "delivered", "give_up": "failed", "redeliver": "waiting"},
            "delivered": {"redeliver": "waiting"},
            "failed": {"redeliver": "waiting"},
        },
    ),
    "workload": (
        s.WORKLOAD,
        s.WorkloadState,
        {
            "wanted": {
                "start": "starting",
                "run": "running",
                "retry": "wanted",
                "succeed": "succeeded",
                "fail": "failed",
                "stop": "stopped",
                "lose": "lost",
            },
            "starting": {
                "run": "running",
                "retry": "wanted",
                "succeed": "succeeded",
                "fail": "failed",
                "stop": "stopped",
                "lose": "lost",
            },
            "running": {
                "start": "starting",
                "retry": "wanted",
                "succeed": "succeeded",
                "fail": "failed",
                "stop": "stopped",
                "lose": "lost",
            },
            "succeeded": {},
            "failed": {},
            "stopped": {},
            "lost": {
                "start": "starting",
                "run": "running",
                "retry": "wanted",
                "succeed": "succeeded",
                "fail": "failed",
                "stop": "stopped",
            },
        },
    ),
    "deployment": (
        s.DEPLOYMENT,
        s.DeploymentState,
        {
            "waiting": {"prepare": "preparing", "end": "ended"},
            "preparing": {"start": "training", "end": "ended"},
            "training": {"end": "ended"},
            "ended": {},
        },
    ),
    "training result": (
        s.RESULT,
        s.ResultState,
        {
            "created": {"start": "deployed", "fail": "failed", "stop": "stopped"},
            "deployed": {"succeed": "finished", "fail": "failed", "stop": "stopped"},
            "finished": {"succeed": "finished"},
            "stopped": {},
            "failed": {},
        },
    ),
    "match": (
        s.MATCH,
        s.MatchState,
        {
            "preparing": {"start": "started", "end": "ended"},
            "started": {"end": "ended"},
            "ended": {"prepare": "preparing"},
        },
    ),
    "inference": (
        s.INFERENCE,
        s.InferenceState,
        {
            "preparing": {"start": "serving", "fail": "failed", "stop": "stopped"},
            "serving": {"stop": "stopped"},
            "stopped": {},
            "failed": {},
        },
    ),
    "announcement": (
        s.ANNOUNCEMENT,
        s.AnnouncementState,
        {
            "live": {"supersede": "superseded", "withdraw": "withdrawn", "expire": "expired"},
            "superseded": {},
            "withdrawn": {},
            "expired": {},
        },
    ),
    "quarantine": (
        s.QUARANTINE,
        s.QuarantineState,
        {"waiting": {"replay": "replayed", "purge": "purged"}, "replayed": {}, "purged": {}},
    ),
    "sending": (
        s.SENDING,
        s.SendingState,
        {"sending": {"succeed": "sent", "fail": "failed"}, "sent": {}, "failed": {}},
    ),
}

# fmt: off
STEPS = [
    "start", "succeed", "fail", "cancel", "skip", "carry", "selected", "reported", "complete", "accept", "ready",
    "round_started", "trained", "submit", "aggregated", "next_round", "rest", "wait", "score", "scored", "task_done",
    "drop", "rejoin", "fall_silent", "return",
    "retire", "invite", "request", "admit", "decline", "leave", "acknowledge", "expire", "move", "store", "supersede",
    "revoke", "disable", "enable", "delete", "deliver", "give_up", "redeliver", "pass", "refuse",
    "run", "stop", "lose", "retry", "select", "configure", "report", "prepare", "end",
    "withdraw", "replay", "purge",
]
# fmt: on


@pytest.mark.parametrize("thing", AGREED)
def test_every_state_times_every_step(thing: str) -> None:
    """All cells of a table: what was agreed leads on, whatever else is forbidden."""
    table, _, agreed = AGREED[thing]
    found: Rows = {}
    for name in agreed:
        state = None if name == "(none)" else _state(thing, name)
        found[name] = {}
        for step in STEPS:
            try:
                found[name][step] = s.follow(table, state, s.Step(step)).value
            except s.Forbidden:
                continue
    assert found == agreed


def test_what_is_forbidden_is_said() -> None:
    with pytest.raises(s.Forbidden, match=r"^start may not follow succeeded$"):
        s.follow(s.RUN, s.RunState.SUCCEEDED, s.Step.START)


@pytest.mark.parametrize("thing", AGREED)
def test_there_are_these_states_and_a_table_speaks_of_its_own_alone(thing: str) -> None:
    table, kind, agreed = AGREED[thing]
    assert {state.value for state in kind} == set(agreed) - {"(none)"}
    assert {type(state) for state in table.values()} == {kind}
    assert {type(state) for state, _ in table} - {type(None)} == {kind}
    assert len(table) == sum(map(len, agreed.values()))


def test_no_table_is_left_out() -> None:
    tables = [one for one in vars(s).values() if isinstance(one, dict) and one and all(_is_row(key) for key in one)]
    assert len(tables) == len(AGREED)
    assert {id(one) for one in tables} == {id(table) for table, _, _ in AGREED.values()}
    assert diagrams.page().count("stateDiagram-v2") == len(AGREED)


def test_there_are_these_steps() -> None:
    assert {step.value for step in s.Step} == set(STEPS)


def test_what_counts_as_over_and_as_live() -> None:
    assert {state.value for state in s.RUN_FINAL} == {"succeeded", "failed", "cancelled"}
    assert {state.value for state in s.TASK_RUN_FINAL} == {"succeeded", "failed", "cancelled", "skipped"}
    assert {state.value for state in s.ROUND_FINAL} == {"completed", "failed", "cancelled"}
    # who has done its part, or has none in this round: silence does not cost it its seat
    done = ["submitted", "resting", "scoring", "scored"]
    assert [state.value for state in s.SEAT_ROUND_DONE] == done
    waited_for = ["invited", "preparing", "ready", "training", "uploading"]
    assert {state.value for state in s.SEAT_WAITED_FOR} == set(waited_for)
    assert [state.value for state in s.SEAT_LIVE] == waited_for + done


def test_what_of_a_workload_goes_on() -> None:
    assert [state.value for state in s.WORKLOAD_LIVE] == ["wanted", "starting", "running"]


def test_what_of_a_training_result_is_to_come() -> None:
    assert [state.value for state in s.RESULT_LIVE] == ["created", "deployed"]


def test_what_a_site_itself_may_report() -> None:
    reports = {"accept", "ready", "wait", "trained", "submit", "scored", "fail", "rejoin"}
    assert {report.value for report in s.Report} == reports


# whole lives

LIVES = [
    # (thing, how it begins, (step, state) one after the other)
    ("archive", "awaited", [("store", "checking"), ("pass", "checked")]),
    ("archive", "awaited", [("store", "checking"), ("refuse", "refused")]),
    ("workload", "wanted", [("start", "starting"), ("run", "running"), ("succeed", "succeeded")]),
    ("workload", "wanted", [("run", "running"), ("retry", "wanted"), ("start", "starting"), ("fail", "failed")]),
    ("workload", "wanted", [("run", "running"), ("start", "starting"), ("run", "running"), ("stop", "stopped")]),
    ("workload", "wanted", [("retry", "wanted"), ("lose", "lost")]),
    ("workload", "wanted", [("start", "starting"), ("retry", "wanted"), ("fail", "failed")]),  # refused for good
    ("workload", "wanted", [("stop", "stopped")]),  # nobody had made it yet
    ("workload", "wanted", [("succeed", "succeeded")]),  # over before anybody looked
    ("workload", "wanted", [("start", "starting"), ("succeed", "succeeded")]),
    ("workload", "wanted", [("start", "starting"), ("stop", "stopped")]),
    ("workload", "wanted", [("start", "starting"), ("lose", "lost")]),
    ("workload", "wanted", [("run", "running"), ("fail", "failed")]),
    ("workload", "wanted", [("run", "running"), ("lose", "lost")]),  # its node was gone
    # its site was silent for too long, and came back
    ("workload", "wanted", [("run", "running"), ("lose", "lost"), ("run", "running"), ("succeed", "succeeded")]),
    ("workload", "wanted", [("start", "starting"), ("lose", "lost"), ("start", "starting"), ("fail", "failed")]),
    ("workload", "wanted", [("run", "running"), ("lose", "lost"), ("succeed", "succeeded")]),
    ("workload", "wanted", [("run", "running"), ("lose", "lost"), ("fail", "failed")]),
    ("workload", "wanted", [("run", "running"), ("lose", "lost"), ("stop", "stopped")]),
    ("workload", "wanted", [("run", "running"), ("lose", "lost"), ("retry", "wanted"), ("stop", "stopped")]),
    ("deployment", "waiting", [("prepare", "preparing"), ("start", "training"), ("end", "ended")]),
    ("deployment", "waiting", [("prepare", "preparing"), ("end", "ended")]),  # its data are gone
    ("deployment", "waiting", [("end", "ended")]),
    ("training result", "created", [("start", "deployed"), ("succeed", "finished"), ("succeed", "finished")]),
    ("training result", "created", [("start", "deployed"), ("fail", "failed")]),
    ("training result", "created", [("start", "deployed"), ("stop", "stopped")]),
    ("training result", "created", [("fail", "failed")]),
    ("training result", "created", [("stop", "stopped")]),
    ("announcement", "live", [("supersede", "superseded")]),
    ("announcement", "live", [("withdraw", "withdrawn")]),
    ("announcement", "live", [("expire", "expired")]),
    ("quarantine", "waiting", [("replay", "replayed")]),
    ("quarantine", "waiting", [("purge", "purged")]),
    ("sending", "sending", [("succeed", "sent")]),
    ("sending", "sending", [("fail", "failed")]),
    ("match", "preparing", [("start", "started"), ("end", "ended")]),
    ("match", "preparing", [("end", "ended"), ("prepare", "preparing"), ("start", "started")]),
    ("inference", "preparing", [("start", "serving"), ("stop", "stopped")]),
    ("inference", "preparing", [("fail", "failed")]),
    ("inference", "preparing", [("stop", "stopped")]),
    ("webhook", "active", [("disable", "disabled"), ("enable", "active"), ("delete", "deleted")]),
    ("webhook", "active", [("disable", "disabled"), ("delete", "deleted")]),
    ("webhook delivery", "waiting", [("deliver", "delivered"), ("redeliver", "waiting"), ("deliver", "delivered")]),
    ("webhook delivery", "waiting", [("redeliver", "waiting"), ("deliver", "delivered")]),
    ("webhook delivery", "waiting", [("give_up", "failed"), ("redeliver", "waiting"), ("give_up", "failed")]),
    ("run", "created", [("start", "running"), ("succeed", "succeeded")]),
    ("run", "created", [("start", "running"), ("fail", "failed")]),
    ("run", "created", [("start", "running"), ("cancel", "cancelled")]),
    ("run", "created", [("fail", "failed")]),  # queued until its deadline
    ("run", "created", [("cancel", "cancelled")]),  # stopped while it was queued
    ("task run", "waiting", [("start", "active"), ("succeed", "succeeded")]),
    ("task run", "waiting", [("start", "active"), ("fail", "failed")]),
    ("task run", "waiting", [("start", "active"), ("cancel", "cancelled")]),
    ("task run", "waiting", [("carry", "succeeded")]),
    ("task run", "waiting", [("skip", "skipped")]),
    ("task run", "waiting", [("cancel", "cancelled")]),
    ("round", "selecting", [("selected", "training"), ("reported", "aggregating"), ("complete", "completed")]),
    (
        "round",
        "selecting",
        [("selected", "training"), ("reported", "aggregating"), ("aggregated", "scoring"), ("complete", "completed")],
    ),
    ("round", "selecting", [("selected", "training"), ("complete", "completed")]),  # nothing is aggregated
    ("round", "selecting", [("selected", "training"), ("reported", "aggregating"), ("fail", "failed")]),
    ("round", "selecting", [("selected", "training"), ("fail", "failed")]),
    ("round", "selecting", [("fail", "failed")]),
    ("round", "selecting", [("selected", "training"), ("reported", "aggregating"), ("cancel", "cancelled")]),
    ("round", "selecting", [("selected", "training"), ("cancel", "cancelled")]),
    ("round", "selecting", [("cancel", "cancelled")]),
    (
        "seat",  # two rounds, as an attentive site has them
        "invited",
        [
            ("accept", "preparing"),
            ("ready", "ready"),
            ("round_started", "training"),
            ("trained", "uploading"),
            ("submit", "submitted"),
            ("next_round", "invited"),
            ("ready", "ready"),
            ("round_started", "training"),
            ("submit", "submitted"),
            ("task_done", "done"),
        ],
    ),
    (
        "seat",  # drawn for some rounds, resting in others, and late with a score
        "invited",
        [
            ("ready", "ready"),
            ("round_started", "training"),
            ("submit", "submitted"),
            ("score", "scoring"),
            ("scored", "scored"),
            ("next_round", "invited"),
            ("ready", "ready"),
            ("round_started", "training"),
            ("submit", "submitted"),
            ("rest", "resting"),
            ("rest", "resting"),
            ("score", "scoring"),
            ("rest", "resting"),
            ("next_round", "invited"),
            ("ready", "ready"),
            ("round_started", "training"),
            ("submit", "submitted"),
            ("score", "scoring"),
            ("next_round", "invited"),
        ],
    ),
    ("seat", "invited", [("rest", "resting"), ("score", "scoring"), ("scored", "scored"), ("rest", "resting")]),
    ("seat", "invited", [("rest", "resting"), ("task_done", "done")]),
    ("seat", "invited", [("accept", "preparing"), ("wait", "preparing"), ("ready", "ready")]),
    (
        "seat",
        "invited",
        [("wait", "preparing"), ("ready", "ready"), ("round_started", "training"), ("wait", "training")],
    ),
    ("seat", "invited", [("rest", "resting"), ("score", "scoring"), ("wait", "scoring"), ("scored", "scored")]),
    ("seat", "invited", [("rest", "resting"), ("score", "scoring"), ("task_done", "done")]),
    ("seat", "invited", [("rest", "resting"), ("score", "scoring"), ("scored", "scored"), ("task_done", "done")]),
    (
        "seat",  # dropped while it trained, back for the next round, and then its update was left out
        "invited",
        [
            ("ready", "ready"),
            ("round_started", "training"),
            ("drop", "dropped"),
            ("rejoin", "invited"),
            ("accept", "preparing"),
            ("drop", "dropped"),
            ("rejoin", "invited"),
            ("ready", "ready"),
            ("round_started", "training"),
            ("trained", "uploading"),
            ("submit", "submitted"),
            ("fail", "failed"),
        ],
    ),
    *(
        ("seat", "invited", [*before, (step, state)])  # an end at every stage
        for step, state in (("fail", "failed"), ("drop", "dropped"), ("cancel", "cancelled"))
        for before in (
            [],
            [("accept", "preparing")],
            [("ready", "ready")],
            [("ready", "ready"), ("round_started", "training")],
            [("ready", "ready"), ("round_started", "training"), ("trained", "uploading")],
            [("ready", "ready"), ("round_started", "training"), ("submit", "submitted")],
            [("rest", "resting")],
            [("rest", "resting"), ("score", "scoring")],
            [("rest", "resting"), ("score", "scoring"), ("scored", "scored")],
        )
    ),
    ("site", "online", [("fall_silent", "silent"), ("return", "online"), ("retire", "retired")]),
    ("site", "online", [("fall_silent", "silent"), ("retire", "retired")]),
    (
        "membership",
        "(none)",
        [
            ("invite", "invited"),
            ("invite", "invited"),
            ("decline", "declined"),
            ("request", "requested"),
            ("request", "requested"),
            ("leave", "left"),
            ("request", "requested"),
            ("decline", "declined"),
            ("invite", "invited"),
            ("admit", "active"),
            ("leave", "left"),
            ("admit", "active"),
        ],
    ),
    ("membership", "(none)", [("request", "requested"), ("admit", "active"), ("leave", "left"), ("invite", "invited")]),
    ("membership", "(none)", [("request", "requested"), ("decline", "declined"), ("admit", "active")]),
    ("membership", "(none)", [("admit", "active"), ("leave", "left")]),
    ("project round", "(none)", [("select", "selection"), ("configure", "configuration"), ("fail", "failed")]),
    ("project round", "(none)", [("select", "selection"), ("report", "reporting"), ("fail", "failed")]),
    ("project round", "(none)", [("select", "selection"), ("complete", "completed")]),
    ("project round", "(none)", [("select", "selection"), ("fail", "failed")]),
    ("project round", "(none)", [("select", "selection"), ("cancel", "cancelled")]),
    ("project round", "(none)", [("configure", "configuration"), ("report", "reporting"), ("complete", "completed")]),
    ("project round", "(none)", [("configure", "configuration"), ("complete", "completed")]),
    ("project round", "(none)", [("configure", "configuration"), ("cancel", "cancelled")]),
    ("project round", "(none)", [("report", "reporting"), ("cancel", "cancelled")]),
    ("project round", "(none)", [("complete", "completed")]),
    ("delivery", "queued", [("acknowledge", "acknowledged"), ("move", "moved")]),
    ("delivery", "queued", [("expire", "expired")]),
    ("delivery", "queued", [("move", "moved")]),
    ("artifact", "declared", [("store", "stored"), ("expire", "expired")]),
    ("artifact", "declared", [("expire", "expired")]),
    ("sealing key", "current", [("supersede", "superseded"), ("revoke", "revoked")]),
    ("sealing key", "current", [("revoke", "revoked")]),
]


@pytest.mark.parametrize(("thing", "first", "life"), LIVES)
def test_a_life(thing: str, first: str, life: list[tuple[str, str]]) -> None:
    state = None if first == "(none)" else _state(thing, first)
    for step, then in life:
        state = s.follow(AGREED[thing][0], state, s.Step(step))
        assert state == _state(thing, then), f"after {step}"


def test_every_row_of_every_table_is_lived() -> None:
    lived = {
        (thing, before, step)
        for thing, first, life in LIVES
        for before, (step, _) in zip([first, *(state for _, state in life)], life, strict=False)
    }
    rows = {(thing, one, step) for thing, (_, _, agreed) in AGREED.items() for one in agreed for step in agreed[one]}
    assert rows - lived == set()


# the page


def test_the_page_of_states_is_drawn_from_the_tables_of_now() -> None:
    assert diagrams.PAGE.read_text() == diagrams.page(), "draw it anew: .venv/bin/python -m ops.diagrams"


@pytest.mark.parametrize("thing", AGREED)
def test_the_page_of_states_says_what_was_agreed(thing: str) -> None:
    agreed = AGREED[thing][2]
    chapters = {title.lower(): rest for title, _, rest in (c.partition("\n") for c in diagrams.page().split("\n## "))}
    lines = chapters[thing].splitlines()
    rows = [f"| {state} | {step} | {target} |" for state, steps in agreed.items() for step, target in steps.items()]
    assert sorted(line for line in lines if line.startswith("| ")) == sorted(["| from | step | to |", *rows])
    over = {state for state, steps in agreed.items() if not steps}
    assert {line for line in lines if line.endswith("--> [*]")} == {f"    {state} --> [*]" for state in over}


def _is_row(key: object) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], s.Step)


def _state(thing: str, name: str) -> StrEnum:
    return AGREED[thing][1](name)
