"""What follows from wanted and seen: a table of examples, one for each sentence of the law."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fedyard.cluster.plan import (
    DEADLINE_SLACK_S,
    EVIDENCE_WITHIN_S,
    MISSING_S,
    ORPHAN_AGE_S,
    PULL_WITHIN_S,
    UNMADE_S,
    Collect,
    End,
    Ensure,
    Finding,
    Introduce,
    Key,
    Memory,
    Plan,
    Wanted,
    finding_of,
    plan,
)
from fedyard.cluster.port import AttemptId, Observed, Phase, Reason, Spec

OWNER, PLACE, ID = (f"0000000{one}-0000-4000-8000-000000000000" for one in (1, 2, 3))
NOW = 1000.0
JOB = Spec(owner=OWNER, place=PLACE, id=ID, attempt=1, kind="job", image="i", deadline_s=100.0, grace_s=5.0)
SERVICE = Spec(owner=OWNER, place=PLACE, id=ID, attempt=1, kind="service", image="i", port=80, replicas=2)
WHICH = AttemptId(OWNER, PLACE, ID, 1)
UNSEEN = Finding(id=ID, attempt=1)


def known(phase: Phase, **more: Any) -> Finding:
    return msgspec.structs.replace(UNSEEN, phase=phase, uid="u", **more)


def seen(phase: Phase, **more: Any) -> Observed:
    fields = {"id": ID, "attempt": 1, "place": PLACE, "phase": phase, "uid": "u", "created_s": NOW - 10, **more}
    return Observed(**fields)  # type: ignore[arg-type]


STARTING, RUNNING = known(Phase.STARTING), known(Phase.RUNNING)
FAILED = known(Phase.FAILED, reason=Reason.EXIT_CODE, exit_code=3)
DEAD = seen(Phase.FAILED, reason=Reason.EXIT_CODE, exit_code=3)
NOTHING = Plan([], [])
ASKED = Memory(collecting={Key(ID, 1): NOW})
VANISHED = "it is not there any more, and the cluster does not say what became of it"

EXAMPLES: dict[str, tuple[Wanted, list[Observed], Plan]] = {
    "wanted and never seen: it is made": (Wanted(JOB, True, UNSEEN), [], Plan([Ensure(JOB)], [])),
    "not before its time": (Wanted(JOB, True, UNSEEN, not_before_s=NOW + 1), [], NOTHING),
    "what was refused for now is tried again": (
        Wanted(JOB, True, msgspec.structs.replace(UNSEEN, reason=Reason.QUOTA_EXCEEDED)),
        [],
        Plan([Ensure(JOB)], []),
    ),
    "made by who died before reporting: it is found": (
        Wanted(JOB, True, UNSEEN),
        [seen(Phase.STARTING)],
        Plan([], [STARTING]),
    ),
    "one that enrols: first its token": (Wanted(JOB, True, UNSEEN, enrols=True), [], Plan([Introduce(UNSEEN)], [])),
    "one that enrols, and the hub knows its token": (
        Wanted(JOB, True, UNSEEN, enrols=True, introduced=True),
        [],
        Plan([Ensure(JOB, True)], []),
    ),
    "seen as it is known: nothing": (Wanted(JOB, True, RUNNING), [seen(Phase.RUNNING)], NOTHING),
    "it runs now": (Wanted(JOB, True, STARTING), [seen(Phase.RUNNING)], Plan([], [RUNNING])),
    "it cannot be scheduled for now": (
        Wanted(JOB, True, STARTING),
        [seen(Phase.STARTING, reason=Reason.UNSCHEDULABLE, detail="no node")],
        Plan([], [known(Phase.STARTING, reason=Reason.UNSCHEDULABLE, detail="no node")]),
    ),
    "ended: its evidence is collected, and recorded with its end": (
        Wanted(JOB, True, RUNNING),
        [DEAD],
        Plan([Collect(WHICH, FAILED)], [], ASKED),
    ),
    "ended, recorded without evidence: that is collected": (
        Wanted(JOB, True, FAILED, over_s=NOW - 1),
        [DEAD],
        Plan([Collect(WHICH, FAILED)], [], ASKED),
    ),
    "ended, evidence on record: it is removed": (
        Wanted(JOB, True, FAILED, kept=True, over_s=NOW - 1),
        [DEAD],
        Plan([End(WHICH, 5.0, Phase.FAILED)], []),
    ),
    "ended and removed: it is gone": (
        Wanted(JOB, True, FAILED, kept=True, over_s=NOW - 1),
        [],
        Plan([], [msgspec.structs.replace(FAILED, gone=True)]),
    ),
    "refused for good: it is gone": (
        Wanted(JOB, True, Finding(id=ID, attempt=1, phase=Phase.FAILED, reason=Reason.IMAGE_UNUSABLE), over_s=NOW),
        [],
        Plan([], [Finding(id=ID, attempt=1, phase=Phase.FAILED, reason=Reason.IMAGE_UNUSABLE, gone=True)]),
    ),
    "stopped while it runs: first its evidence": (
        Wanted(JOB, False, RUNNING, over_s=NOW),
        [seen(Phase.RUNNING)],
        Plan([Collect(WHICH, RUNNING)], [], ASKED),
    ),
    "stopped, evidence on record": (
        Wanted(JOB, False, RUNNING, kept=True, over_s=NOW),
        [seen(Phase.RUNNING)],
        Plan([End(WHICH, 5.0, Phase.RUNNING)], []),
    ),
    "stopped, and not gone yet: asked again": (
        Wanted(JOB, False, RUNNING, kept=True, over_s=NOW - 20),
        [seen(Phase.RUNNING, stopping=True)],
        Plan([End(WHICH, 5.0, Phase.RUNNING, True)], []),
    ),
    "stopped and gone": (
        Wanted(JOB, False, RUNNING, kept=True, over_s=NOW),
        [],
        Plan([], [msgspec.structs.replace(RUNNING, gone=True)]),
    ),
    "stopped before anybody saw it: what makes it may be on its way": (
        Wanted(JOB, False, UNSEEN, over_s=NOW - UNMADE_S + 1),
        [],
        NOTHING,
    ),
    "stopped before anybody saw it, a while ago": (
        Wanted(JOB, False, UNSEEN, over_s=NOW - UNMADE_S),
        [],
        Plan([], [msgspec.structs.replace(UNSEEN, gone=True)]),
    ),
    "an older attempt that is still there": (
        Wanted(JOB, False, FAILED, kept=True, over_s=NOW - 5),
        [DEAD],
        Plan([End(WHICH, 5.0, Phase.FAILED)], []),
    ),
    "past its deadline, and its cluster does nothing": (
        Wanted(JOB, True, RUNNING),
        [seen(Phase.RUNNING, started_s=NOW - 105 - DEADLINE_SLACK_S)],
        Plan(
            [
                Collect(
                    WHICH,
                    known(
                        Phase.FAILED,
                        reason=Reason.DEADLINE_PASSED,
                        detail="it has run for longer than the 100 s that it may",
                    ),
                )
            ],
            [],
            ASKED,
        ),
    ),
    "just within its deadline, its grace and what a cluster may take": (
        Wanted(JOB, True, RUNNING),
        [seen(Phase.RUNNING, started_s=NOW - 104.9 - DEADLINE_SLACK_S)],
        NOTHING,
    ),
    "an image that is not pulled for long": (
        Wanted(JOB, True, known(Phase.STARTING, reason=Reason.IMAGE_NOT_PULLED)),
        [seen(Phase.STARTING, reason=Reason.IMAGE_NOT_PULLED, created_s=NOW - PULL_WITHIN_S)],
        Plan([Collect(WHICH, known(Phase.FAILED, reason=Reason.IMAGE_NOT_PULLED))], [], ASKED),
    ),
    "a service with other replicas than are wanted": (
        Wanted(SERVICE, True, RUNNING),
        [seen(Phase.RUNNING, replicas=1)],
        Plan([Ensure(SERVICE)], []),
    ),
    "a service that is being replaced": (
        Wanted(SERVICE, True, RUNNING),
        [seen(Phase.RUNNING, replicas=2, stopping=True)],
        Plan([Ensure(SERVICE)], []),
    ),
    "a service as it is wanted": (Wanted(SERVICE, True, RUNNING), [seen(Phase.RUNNING, replicas=2)], NOTHING),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_follows(name: str) -> None:
    wanted, observed, expected = EXAMPLES[name]
    assert plan(OWNER, [wanted], observed, NOW) == expected


def test_a_job_that_is_not_seen_any_more_has_vanished_after_a_while() -> None:
    wanted = Wanted(JOB, True, RUNNING)
    first = plan(OWNER, [wanted], [], NOW)
    assert first == Plan([], [], Memory(missing={Key(ID, 1): NOW}))
    assert plan(OWNER, [wanted], [], NOW + MISSING_S - 1, memory=first.memory).findings == []
    later = plan(OWNER, [wanted], [], NOW + MISSING_S, memory=first.memory)
    assert later.findings == [known(Phase.FAILED, reason=Reason.VANISHED, detail=VANISHED)]
    assert plan(OWNER, [wanted], [seen(Phase.RUNNING)], NOW + MISSING_S, memory=first.memory) == NOTHING


def test_what_was_made_and_shall_go_is_not_gone_before_it_had_time_to_be_listed() -> None:
    stopped = Wanted(JOB, False, STARTING, over_s=NOW)
    first = plan(OWNER, [stopped], [], NOW)
    assert (first.findings, first.memory.missing) == ([], {Key(ID, 1): NOW})
    later = plan(OWNER, [stopped], [], NOW + MISSING_S, memory=first.memory)
    assert [(one.gone, one.phase) for one in later.findings] == [(True, Phase.STARTING)]
    listed = plan(OWNER, [stopped], [seen(Phase.RUNNING)], NOW + 1, memory=first.memory)
    assert listed.actions == [Collect(WHICH, RUNNING)]


def test_what_has_ended_without_its_evidence_is_not_gone_before_it_had_time_to_be_listed() -> None:
    """Whoever made it saw that it had ended already: a list that is late does not have it yet."""
    ended = Wanted(JOB, True, known(Phase.SUCCEEDED), over_s=NOW)
    first = plan(OWNER, [ended], [], NOW)
    assert (first.findings, first.memory.missing) == ([], {Key(ID, 1): NOW})
    listed = plan(OWNER, [ended], [seen(Phase.SUCCEEDED)], NOW + 1, memory=first.memory)
    assert listed.actions == [Collect(WHICH, known(Phase.SUCCEEDED))]
    later = plan(OWNER, [ended], [], NOW + MISSING_S, memory=first.memory)
    assert [(one.gone, one.phase) for one in later.findings] == [(True, Phase.SUCCEEDED)]
    kept = msgspec.structs.replace(ended, kept=True)
    assert [one.gone for one in plan(OWNER, [kept], [], NOW).findings] == [True]


@pytest.mark.parametrize("run", [True, False])
def test_evidence_that_cannot_be_had_is_asked_for_for_a_minute(run: bool) -> None:
    """From the first time that it was asked for: whoever was away meanwhile has not tried yet."""
    wanted = Wanted(JOB, run, FAILED if run else RUNNING, over_s=NOW - 3600)
    first = plan(OWNER, [wanted], [DEAD], NOW)
    assert [type(one) for one in first.actions] == [Collect]
    second = plan(OWNER, [wanted], [DEAD], NOW + EVIDENCE_WITHIN_S - 1, memory=first.memory)
    assert [type(one) for one in second.actions] == [Collect]
    third = plan(OWNER, [wanted], [DEAD], NOW + EVIDENCE_WITHIN_S, memory=second.memory)
    assert third.actions == [End(WHICH, 5.0, Phase.FAILED)]


def test_nothing_is_removed_before_its_end_is_on_record() -> None:
    """However long its report takes."""
    first = plan(OWNER, [Wanted(JOB, True, RUNNING)], [DEAD], NOW)
    later = plan(OWNER, [Wanted(JOB, True, RUNNING)], [DEAD], NOW + 2 * EVIDENCE_WITHIN_S, memory=first.memory)
    assert later.actions == [Collect(WHICH, FAILED)]


def test_a_service_that_is_not_seen_any_more_is_made_again() -> None:
    made = plan(OWNER, [Wanted(SERVICE, True, RUNNING)], [], NOW, memory=Memory(missing={Key(ID, 1): NOW - MISSING_S}))
    assert (made.actions, made.findings) == ([Ensure(SERVICE)], [])


def test_who_waits_for_a_name_asks_again_as_soon_as_the_name_is_free() -> None:
    """What was asked for is told from what was asked before: who sends it sends the same only now and then."""
    earlier = msgspec.structs.replace(SERVICE, name="coordinator", stable=True)
    later = msgspec.structs.replace(earlier, id=PLACE)
    wanted = [Wanted(earlier, False, RUNNING, kept=True), Wanted(later, True, Finding(id=PLACE, attempt=1))]
    other = Wanted(msgspec.structs.replace(SERVICE, id=OWNER), True, Finding(id=OWNER, attempt=1))
    (end, waits, made) = plan(OWNER, [*wanted, other], [seen(Phase.RUNNING, stopping=True)], NOW).actions
    assert (type(end), waits, made) == (End, Ensure(later, behind=1), Ensure(other.spec))
    assert plan(OWNER, wanted, [], NOW).actions == [Ensure(later)]


def test_services_are_made_as_they_are_wanted_now_and_then_and_jobs_never_twice() -> None:
    there = [seen(Phase.RUNNING, replicas=2)]
    assert plan(OWNER, [Wanted(SERVICE, True, RUNNING)], there, NOW, renew=True).actions == [Ensure(SERVICE)]
    assert plan(OWNER, [Wanted(JOB, True, RUNNING)], [seen(Phase.RUNNING)], NOW, renew=True) == NOTHING


def test_what_is_in_nobodys_records_is_ended_once_it_is_old_enough() -> None:
    young, old = (seen(Phase.RUNNING, created_s=NOW - age) for age in (ORPHAN_AGE_S - 1, ORPHAN_AGE_S))
    assert plan(OWNER, [], [young], NOW) == NOTHING
    assert plan(OWNER, [], [old], NOW) == Plan([End(WHICH, 10.0, Phase.RUNNING)], [])


def test_what_a_cluster_says_is_bounded_before_it_is_recorded() -> None:
    found = finding_of(seen(Phase.RUNNING, detail="a\0b" + "x" * 5000, addresses={"inside": "h" * 400}))
    assert found.detail[:3] == "a b"
    assert (len(found.detail), len(found.addresses["inside"])) == (1000, 300)
