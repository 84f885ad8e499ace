"""Runs with everything in them: nine queries, however many seats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from domain.ids import Id
from domain.states import SEAT_MAY_WAIT
from domain.values import WAITS_FOR, Micros, Subject, TaskSpec
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import (
    BestRound,
    CodeUse,
    Round,
    Run,
    RunHead,
    Seat,
    SeatsWaiting,
    SiteScore,
    Submission,
    TaskRun,
    time_or_none,
)
from storage.views.sight import (
    Clause,
    Cursor,
    Listed,
    Paging,
    acting_member_of,
    own,
    page,
    row,
    rows,
    runs_seen,
    sees_everything,
)

_RUN = (
    "SELECT id, project_id, number, attempt, state, reason, detail, coordinator_site_id, created_by, created_at, "
    "started_at, ended_at, deadline_at, restart_of, version, kind FROM runs"
)
_TASK_RUN = (
    "SELECT id, seq, name, spec_json, state, reason, round, first_round, model_message_id, started_at, ended_at, "
    "best_round, best_version, best_value FROM task_runs"
)
ROUNDS_SHOWN = 100
"""Of each task, the newest; what happened in older ones is among the run's events."""

_ROUND = (
    "SELECT rounds.task_run_id, rounds.number, rounds.state, rounds.reason, rounds.quorum, rounds.deadline_at, "
    "rounds.started_at, rounds.stage_at, rounds.ended_at, rounds.metrics_json, rounds.model_message_id, rounds.drawn, "
    "rounds.model_version, rounds.score_json FROM rounds JOIN task_runs ON task_runs.id = rounds.task_run_id"
)
_SEAT = (
    "SELECT seats.task_run_id, seats.site_id, sites.name, seats.round, seats.state, seats.reason, seats.report_seq, "
    "seats.state_at, seats.metrics_json, seats.update_message_id, seats.code, seats.waits_for, seats.waits_until "
    "FROM seats JOIN sites ON sites.id = seats.site_id"
)
_SUBMISSION = (
    "SELECT submissions.task_run_id, submissions.round, submissions.site_id, submissions.metrics_json, "
    "submissions.update_message_id, submissions.started_at, submissions.submitted_at, submissions.left_out, "
    "submissions.missing_receipt, submissions.code FROM submissions "
    "JOIN task_runs ON task_runs.id = submissions.task_run_id"
)
_SCORE = (
    "SELECT scores.task_run_id, scores.round, scores.site_id, scores.metrics_json, scores.reason, scores.scored_at "
    "FROM scores JOIN task_runs ON task_runs.id = scores.task_run_id"
)
_CODES = (
    "SELECT submissions.task_run_id, submissions.round, submissions.code, COUNT(*) FROM submissions "
    "JOIN task_runs ON task_runs.id = submissions.task_run_id"
)
_WAITS = f"CASE WHEN state IN ({', '.join(repr(state.value) for state in SEAT_MAY_WAIT)}) THEN waits_for ELSE '' END"
_SAID = f"SELECT task_run_id, round, code, {_WAITS} AS waits, MAX(waits_until), COUNT(*) FROM seats"
"""What seats say of their sites, without saying whose: every member may know it."""
_metrics = msgspec.json.Decoder(dict[str, float])
_spec = msgspec.json.Decoder(TaskSpec)


def runs(
    database: Database,
    subject: Subject,
    paging: Paging,
    *,
    state: str | None,
    project: Id | None,
    site: Id | None = None,
    live: bool = False,
    newest_first: bool = False,
) -> Listed[RunHead]:
    """site: in which it has, or had, a seat: of those that the subject sees as that site does, or as a whole."""
    where = [*runs_seen(subject), *([] if site is None else _with_seat_of(site, subject))]
    if state is not None:
        where.append(Clause("runs.state = %s", (state,)))
    if live:
        where.append(Clause("runs.state IN ('created', 'running')"))
    if project is not None:
        where.append(Clause("runs.project_id = %s", (project,)))
    return page(
        database,
        _RUN,
        where,
        paging,
        _head,
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[9], one[0]),
        newest_first=newest_first,
    )


def _with_seat_of(site: Id, subject: Subject) -> list[Clause]:
    """A participant does not know who else has a seat."""
    seat = "EXISTS (SELECT 1 FROM seats WHERE seats.run_id = runs.id AND seats.site_id = %s{})"
    if sees_everything(subject):
        return [Clause(seat.format(""), (site,))]
    mine, lead = own("seats.site_id", subject), own("runs.coordinator_site_id", subject)
    whole = f"({seat.format('')} AND {lead.sql})"
    return [Clause(f"({seat.format(f' AND {mine.sql}')} OR {whole})", (site, *mine.params, site, *lead.params))]


def live_counts(database: Database, subject: Subject) -> dict[str, int]:
    """How many runs that the subject sees are queued (`created`), and how many are running."""
    where = [Clause("runs.state IN ('created', 'running')"), *runs_seen(subject)]
    return dict(rows(database, "SELECT runs.state, COUNT(*) FROM runs", where, "GROUP BY runs.state"))


def seats_and_rounds(database: Database, ident: Id) -> tuple[int, int]:
    """How many seats a task of the run has at most, and how far its furthest task is. Whoever asks may see the run."""
    with database.connection():
        counts = database.all("SELECT COUNT(*) FROM seats WHERE run_id = %s GROUP BY task_run_id", ident)
        furthest = database.one("SELECT MAX(round) FROM task_runs WHERE run_id = %s", ident)
    return max((int(one[0]) for one in counts), default=0), int((furthest and furthest[0]) or 0)


def between(database: Database, subject: Subject, first: Id, last: Id, at_most: int) -> list[RunHead]:
    """Runs with ids from the first to the last one; `at_most` of them."""
    where = [Clause("runs.id >= %s AND runs.id <= %s", (first, last)), *runs_seen(subject)]
    with database.connection():
        return [_head(one) for one in rows(database, _RUN, where, f"ORDER BY runs.id LIMIT {int(at_most)}")]


class Progress(NamedTuple):
    """past: the subject sees the run for a seat that it had there, and has left the project since."""

    version: int
    state: str
    past: bool


def progress_of(database: Database, subject: Subject, ident: Id) -> Progress | None:
    """How far the run is, or None where the subject may not see it: the cheap look of a long poll."""
    seen = [Clause("runs.id = %s", (ident,)), *runs_seen(subject)]
    member = Clause("1 = 1") if sees_everything(subject) else acting_member_of("runs.project_id", subject)
    select = f"SELECT version, state, CASE WHEN {member.sql} THEN 0 ELSE 1 END FROM runs"
    sql = f"{select} WHERE {' AND '.join(clause.sql for clause in seen)}"
    with database.connection():
        found = database.one(sql, *member.params, *(value for clause in seen for value in clause.params))
    return None if found is None else Progress(int(found[0]), str(found[1]), bool(found[2]))


class Window(NamedTuple):
    """What is read of a run. rounds: how many of each task, the newest; with `last` those up to that number. sites:
    submissions of these alone; None: of all."""

    rounds: int = ROUNDS_SHOWN
    last: int | None = None
    sites: Collection[Id] | None = None


ALL = Window()
"""As the API shows a run."""


def run(database: Database, subject: Subject, ident: Id, *, past: bool, window: Window = ALL) -> Run | None:
    """The run; a participant sees its own seat and submissions only, and who has left (`past`) no round after its own.

    The run's own row is read first, so what hangs on it is at least as new as its version says.
    """
    with database.connection():
        found = row(database, _RUN, [Clause("runs.id = %s", (ident,)), *runs_seen(subject)])
        if found is None:
            return None
        mine = [] if _sees_whole(database, subject, ident) else [own("site_id", subject)]
        tasks = rows(database, _TASK_RUN, [Clause("run_id = %s", (ident,))], "ORDER BY seq")
        seats = _grouped(rows(database, _SEAT, [Clause("seats.run_id = %s", (ident,)), *mine], "ORDER BY sites.name"))
        there = [Clause("rounds.run_id = %s", (ident,)), *_within(window, "rounds.number")]
        rounds = _grouped(rows(database, _ROUND, there, "ORDER BY rounds.number"))
        of_sites = [] if window.sites is None else [Clause("site_id {any:uuid}", (database.many(window.sites),))]
        there = [Clause("submissions.run_id = %s", (ident,)), *_within(window, "submissions.round"), *mine, *of_sites]
        submissions = _by_round(rows(database, _SUBMISSION, there, "ORDER BY submitted_at, site_id"))
        there = [Clause("scores.run_id = %s", (ident,)), *_within(window, "scores.round"), *mine, *of_sites]
        scores = _by_round(rows(database, _SCORE, there, "ORDER BY scored_at, site_id"))
        there = [Clause("submissions.run_id = %s", (ident,)), *_within(window, "submissions.round")]
        there.append(Clause("submissions.code <> ''"))
        by_code = "GROUP BY submissions.task_run_id, submissions.round, submissions.code ORDER BY submissions.code"
        codes = _by_round(rows(database, _CODES, there, by_code))
        there = [Clause("run_id = %s", (ident,)), Clause("(code <> '' OR waits_for <> '')")]
        by_word = f"GROUP BY task_run_id, round, code, {_WAITS} ORDER BY code, waits"
        said = {} if past else _grouped(rows(database, _SAID, there, by_word))
    head = _head(found)
    if past:
        last = {task: max(seat[3] for seat in seats[task]) for task in seats}
        rounds = _grouped([one for many in rounds.values() for one in many if one[1] <= last.get(one[0], 0)])
        tasks = [one if last.get(one[0], 0) >= one[6] else _until(one, last.get(one[0], 0)) for one in tasks]
    shown = [
        _task_run(
            one,
            [_seat(seat, _deadlines(rounds[one[0]])) for seat in seats[one[0]]],
            [
                _round(each, submissions[one[0], each[1]], scores[one[0], each[1]], codes[one[0], each[1]])
                for each in rounds[one[0]]
            ],
            _uses(said.get(one[0], [])),
            _waiting(said.get(one[0], []), _deadlines(rounds[one[0]])),
        )
        for one in tasks
    ]
    return Run(**msgspec.structs.asdict(head), tasks=shown)


def _within(window: Window, number: str) -> list[Clause]:
    """number: the column that has a round's number, beside the row of its task."""
    if window.last is None:
        return [Clause(f"{number} > task_runs.round - %s", (window.rounds,))]
    return [Clause(f"{number} > %s AND {number} <= %s", (window.last - window.rounds, window.last))]


def _until(task: Row, last: int) -> Row:
    """A task as who has left saw it: in his last round, without the models that were made since."""
    best = task[11:] if task[11] is not None and task[11] <= last else (None, None, None)
    return (*task[:6], last, task[7], None, *task[9:11], *best)


def sees_whole(database: Database, subject: Subject, ident: Id) -> bool:
    """True if the subject may see everything of this run: its coordinator, admins and auditors."""
    with database.connection():
        return _sees_whole(database, subject, ident)


def _sees_whole(database: Database, subject: Subject, ident: Id) -> bool:
    return sees_everything(subject) or coordinates_run(database, subject, ident)


def coordinates_run(database: Database, subject: Subject, ident: Id) -> bool:
    """True if the subject acts for the site that coordinates the run."""
    mine = own("runs.coordinator_site_id", subject)
    return row(database, "SELECT 1 FROM runs", [Clause("runs.id = %s", (ident,)), mine]) is not None


def _grouped(found: list[Row]) -> dict[Id, list[Row]]:
    """Rows by their task run, which is their first column."""
    groups: dict[Id, list[Row]] = defaultdict(list)
    for one in found:
        groups[one[0]].append(one)
    return groups


def _by_round(found: list[Row]) -> dict[tuple[Id, int], list[Row]]:
    """Rows by their task run and its round, which are their first columns."""
    groups: dict[tuple[Id, int], list[Row]] = defaultdict(list)
    for one in found:
        groups[one[0], one[1]].append(one)
    return groups


def _head(one: Row) -> RunHead:
    ident, project, number, attempt, state, reason, detail, coordinator, by, *rest = one
    at, started, ended, deadline, of, version, kind = rest
    return RunHead(
        id=ident,
        project_id=project,
        number=number,
        attempt=attempt,
        state=state,
        reason=reason,
        detail=detail,
        coordinator_site_id=coordinator,
        created_by=by,
        created_at=time_text(at),
        started_at=time_or_none(started),
        ended_at=time_or_none(ended),
        deadline_at=time_text(deadline),
        restart_of=of,
        version=version,
        kind=kind,
    )


def _deadlines(rounds: list[Row]) -> dict[int, Micros]:
    """Of each round's present stage, by its number."""
    return {one[1]: one[5] for one in rounds}


def _uses(said: list[Row]) -> list[CodeUse]:
    """One for each code that seats of a task say."""
    counts: dict[str, int] = defaultdict(int)
    for _, _, code, _, _, count in said:
        counts[code] += count
    return [CodeUse(code=code, count=count) for code, count in counts.items() if code]


def _waiting(said: list[Row], deadlines: Mapping[int, Micros]) -> list[SeatsWaiting]:
    """One for each thing that seats of a task wait for."""
    counts: dict[str, int] = defaultdict(int)
    until: dict[str, Micros] = {}
    for _, number, _, waits_for, opens, count in said:
        counts[waits_for] += count
        end = deadlines.get(number) if opens is None else opens
        if end is not None:
            until[waits_for] = max(end, until.get(waits_for, end))
    return [
        SeatsWaiting(waits_for=what, count=counts[what], until=time_or_none(until.get(what)))
        for what in WAITS_FOR
        if what in counts
    ]


def _task_run(
    one: Row, seats: list[Seat], rounds: list[Round], codes: list[CodeUse], waiting: list[SeatsWaiting]
) -> TaskRun:
    _, seq, name, spec, state, reason, number, first, model, started, ended, best, version, value = one
    return TaskRun(
        seq=seq,
        name=name,
        spec=_spec.decode(spec),
        state=state,
        reason=reason,
        round=number,
        first_round=first,
        model_message_id=model,
        started_at=time_or_none(started),
        ended_at=time_or_none(ended),
        best=None if best is None else BestRound(round=best, model_version=version, value=value),
        codes=codes,
        waiting=waiting,
        seats=seats,
        rounds=rounds,
    )


def _round(one: Row, submissions: list[Row], scores: list[Row], codes: list[Row]) -> Round:
    _, number, state, reason, quorum, deadline, started, stage, ended, metrics, model, drawn, version, score = one
    return Round(
        number=number,
        state=state,
        reason=reason,
        quorum=quorum,
        deadline_at=time_text(deadline),
        started_at=time_text(started),
        stage_at=time_text(stage),
        ended_at=time_or_none(ended),
        metrics=_metrics.decode(metrics),
        model_message_id=model,
        drawn=drawn,
        model_version=version,
        score=_metrics.decode(score),
        scores=[
            SiteScore(site_id=site, metrics=_metrics.decode(said), reason=why, scored_at=time_text(at))
            for _, _, site, said, why, at in scores
        ],
        codes=[CodeUse(code=code, count=count) for _, _, code, count in codes],
        submissions=[_submission(each) for each in submissions],
    )


def _seat(one: Row, deadlines: Mapping[int, Micros]) -> Seat:
    _, site_id, site_name, number, state, reason, report_seq, state_at, metrics, update, code, waits_for, opens = one
    waits = waits_for if state in SEAT_MAY_WAIT else ""
    return Seat(
        site_id=site_id,
        site_name=site_name,
        round=number,
        state=state,
        reason=reason,
        report_seq=report_seq,
        state_at=time_text(state_at),
        metrics=_metrics.decode(metrics),
        update_message_id=update,
        code=code,
        waits_for=waits,
        waits_until=time_or_none((opens or deadlines.get(number)) if waits else None),
    )


def _submission(one: Row) -> Submission:
    _, _, site_id, metrics, update, started, submitted, left_out, missing_receipt, code = one
    return Submission(
        site_id=site_id,
        metrics=_metrics.decode(metrics),
        update_message_id=update,
        started_at=time_text(started),
        submitted_at=time_text(submitted),
        left_out=left_out or None,
        missing_receipt=missing_receipt or None,
        code=code,
    )
