"""Draws docs/states.md from the tables of domain/states.py: `python -m ops.diagrams`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from domain import states as s

PAGE = Path(__file__).parent.parent / "docs" / "states.md"

_HEAD = """# States

Drawn from `domain/states.py` by `python -m ops.diagrams`; a test holds that this page is up to date. A step
that a diagram does not show is forbidden.
"""

_CHAPTERS: tuple[tuple[str, str, Mapping[tuple[Any, s.Step], Any], frozenset[Any]], ...] = (
    (
        "Run",
        (
            "One attempt of one numbered run. A queued run is `created` until its turn has come. `RestartRun` makes a "
            "new run, the next attempt; it never rewrites this one."
        ),
        s.RUN,
        s.RUN_FINAL,
    ),
    (
        "Task run",
        (
            "A task of a run. It becomes active when all tasks that it comes after have succeeded, and is skipped "
            "when one of them has ended otherwise. `carry` brings a succeeded task into the next attempt."
        ),
        s.TASK_RUN,
        s.TASK_RUN_FINAL,
    ),
    (
        "Round",
        (
            "A round of an active task. The hub moves it on when all seats, or at the deadline the quorum, have done "
            "their part. `complete` out of training is for tasks that aggregate nothing. `aggregated` leads to rounds "
            "whose model is scored at the sites; these complete, with the scores that have come, whatever happens. "
            "Round 0, in which a coordinator gives the first model, begins aggregating."
        ),
        s.ROUND,
        s.ROUND_FINAL,
    ),
    (
        "Project round",
        (
            "A round that a project's own coordinator leads, by what that reports. It may begin with any stage, and "
            "leave stages out; none comes back. It fails at its stage's deadline, when its coordinator ends or goes on "
            "to another round, and is cancelled when that is stopped."
        ),
        s.PROJECT_ROUND,
        s.PROJECT_ROUND_FINAL,
    ),
    (
        "Seat",
        (
            "A site's place in a task run. The site reports accept, ready, trained, submit, scored, fail and rejoin; "
            "the rest is the hub's. Where the task's contract samples, those that are not drawn for a round rest in it."
        ),
        s.SEAT,
        frozenset({s.SeatState.DONE, s.SeatState.FAILED, s.SeatState.CANCELLED}),
    ),
    ("Site", "Silent after three missed heartbeats.", s.SITE, frozenset({s.SiteState.RETIRED})),
    ("Membership", "Of a site in a project.", s.MEMBER, frozenset()),
    (
        "Delivery",
        (
            "Of an inbox entry. `delivered`, which the API shows in between, means handed out and is no state of its "
            "own. Only a recovery moves entries: they come again under other numbers, also those acknowledged "
            "by mistake and that the site never saw."
        ),
        s.DELIVERY,
        frozenset({s.DeliveryState.EXPIRED, s.DeliveryState.MOVED}),
    ),
    (
        "Artifact",
        (
            "A payload of any size. Uploading is no state: chunks come one by one and nothing is decided on them; the "
            "API asks where they lie which of them are there. It is `stored` once all were found."
        ),
        s.ARTIFACT,
        frozenset({s.ArtifactState.EXPIRED}),
    ),
    (
        "Archive",
        (
            "Of initial files, beside its artifact: read by the hub once its artifact is stored. Only a checked one is "
            "used, and it has a version of its project then."
        ),
        s.ARCHIVE,
        frozenset({s.ArchiveState.CHECKED, s.ArchiveState.REFUSED}),
    ),
    (
        "Sealing key",
        (
            "One epoch of a site. A superseded one still opens, and is taken in headers, until its grace is over; a "
            "revoked one is not."
        ),
        s.KEY,
        frozenset({s.KeyState.REVOKED}),
    ),
    (
        "Webhook",
        (
            "Disabled by the hub when its receiver says that it is gone, or has failed for long. While it is disabled "
            "nothing is queued for it."
        ),
        s.WEBHOOK,
        frozenset({s.WebhookState.DELETED}),
    ),
    (
        "Webhook delivery",
        "It waits through all its attempts; only people deliver again what is settled.",
        s.WEBHOOK_DELIVERY,
        frozenset(),
    ),
    (
        "Workload",
        (
            "A workload follows its newest attempt; each attempt goes the same way by itself. `retry`: that attempt "
            "has failed of what repetition can heal, and another one is wanted. `lost`: nobody knows how it "
            "ended; only of what was lost with a silent site more may come, when that is back."
        ),
        s.WORKLOAD,
        frozenset({s.WorkloadState.SUCCEEDED, s.WorkloadState.FAILED, s.WorkloadState.STOPPED}),
    ),
    (
        "Deployment",
        (
            "Training over streams, as far as its run goes on: it waits for its data source, has its topics prepared, "
            "and trains. A federated one waits for no data. How it ended says its run."
        ),
        s.DEPLOYMENT,
        frozenset({s.DeploymentState.ENDED}),
    ),
    (
        "Training result",
        (
            "What training one architecture gave. It is `deployed` with its job, and `finished` once the job has "
            "uploaded it; a job that ends without has `failed` it."
        ),
        s.RESULT,
        frozenset({s.ResultState.STOPPED, s.ResultState.FAILED}),
    ),
    (
        "Match",
        (
            "A federated model and data that fit it. Its topics are prepared, then its worker is started; it ends with "
            "that, with its run, or where no worker can be started. Announced again, it is tried again where none was."
        ),
        s.MATCH,
        frozenset(),
    ),
    (
        "Inference",
        (
            "A service that answers over Kafka. Its topics are made first; it has `failed` where they could not be. "
            "How it runs then says its workload, which goes when it is stopped."
        ),
        s.INFERENCE,
        frozenset({s.InferenceState.STOPPED, s.InferenceState.FAILED}),
    ),
    (
        "Announcement",
        (
            "Data, or a federated model, that were announced over Kafka. It is `superseded` when a newer one of the "
            "same data or model came, and `expired` where its records are gone, or its model's run has ended."
        ),
        s.ANNOUNCEMENT,
        frozenset({s.AnnouncementState.SUPERSEDED, s.AnnouncementState.WITHDRAWN, s.AnnouncementState.EXPIRED}),
    ),
    (
        "Quarantine",
        "A record that nobody understood waits for somebody; retention ends each of these states.",
        s.QUARANTINE,
        frozenset({s.QuarantineState.REPLAYED, s.QuarantineState.PURGED}),
    ),
    (
        "Sending",
        "A data source that is announced once more. It is `sent` by the delivery report of its record.",
        s.SENDING,
        frozenset({s.SendingState.SENT, s.SendingState.FAILED}),
    ),
)


def page() -> str:
    """The whole page, as Markdown with Mermaid diagrams and the same as tables."""
    return _HEAD + "".join(_chapter(*chapter) for chapter in _CHAPTERS)


def _chapter(name: str, about: str, table: Mapping[tuple[Any, s.Step], Any], final: frozenset[Any]) -> str:
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (state, step), target in table.items():
        arrows[_name(state), _name(target)].append(str(step))
    lines = [f"    {a} --> {b}: {', '.join(steps)}" for (a, b), steps in arrows.items()]
    first = next((_name(state) for state, _ in table), "")
    start = [] if first == "[*]" else [f"    [*] --> {first}"]
    ends = [f"    {state} --> [*]" for state in sorted(map(_name, final))]
    rows = [f"| {_cell(state)} | {step} | {target} |" for (state, step), target in table.items()]
    diagram = ["```mermaid", "stateDiagram-v2", *start, *lines, *ends, "```"]
    grid = ["| from | step | to |", "|---|---|---|", *rows]
    return "\n".join(["", f"## {name}", "", about, "", *diagram, "", *grid, ""])


def _name(state: StrEnum | None) -> str:
    return "[*]" if state is None else str(state)


def _cell(state: StrEnum | None) -> str:
    return "(none)" if state is None else str(state)


if __name__ == "__main__":
    PAGE.write_text(page())
