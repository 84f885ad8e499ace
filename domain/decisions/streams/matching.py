"""Federated models and data that fit them: each pair is matched once, and gets a worker in the model's run.

The rule is domain/streams/matching.py. An announcement is first put on record, and matched by a decision of its own,
for only then it is known what that has to look at. Of several announcements of one model, or of the same data, the
newest one counts, in whichever order they come; what was made of the older ones stays, as far as it still fits.

Of a match it is looked whether the data are still there, then its topics are made (a worker that subscribes to one that
is not there stays deaf), then its worker is wanted (workers.py). Where none can be, it says why, and the next
announcement of the pair tries again.
"""

from __future__ import annotations

from domain import records as r
from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft
from domain.decisions.streams import adopting, workers
from domain.ids import Id
from domain.needs import Needs
from domain.states import ANNOUNCEMENT, MATCH, AnnouncementState, MatchState, RunState, Step, follow
from domain.streams.announcements import AnnouncedData, AnnouncedModel
from domain.streams.matching import (
    Misfit,
    adopted_run_id,
    case_of,
    client_id_of,
    key_of_data,
    key_of_model,
    match_id,
    misfits,
    newest_model,
    newest_of,
    sentence,
    stream_of,
)

_STILL = frozenset({Misfit.SHAPE, Misfit.RESTRICTIONS, Misfit.KIND, Misfit.AMOUNT, Misfit.FORMAT})
"""What the newest announcement of the same data may say that ends a match."""


def move(draft: Draft, said: sr.DataSource | sr.ModelAnnouncement, step: Step, **more: object) -> None:
    """What was announced is not live any more."""
    draft.change(said, state=follow(ANNOUNCEMENT, AnnouncementState(said.state), step), state_at=draft.now, **more)


# what arrives


def needs_of_data_arrived(cluster: str, said: AnnouncedData) -> Needs:  # noqa: ARG001 - what it fits is asked later
    return Needs()


def needs_of_model_arrived(cluster: str, said: AnnouncedModel) -> Needs:  # noqa: ARG001 - what it fits is asked later
    return Needs()


def data_arrived(draft: Draft, source: sr.DataSource) -> None:
    """Models may have waited for these data."""
    draft.change(source, match_key=key_of_data(source), stream_id=stream_of(source))
    draft.follow_up(sc.MatchData(source_id=source.id), source.id)


def data_withdrawn(draft: Draft, source: sr.DataSource) -> None:
    """What trains on these data has to stop."""
    draft.follow_up(sc.MatchData(source_id=source.id), source.id)


def model_arrived(draft: Draft, announcement: sr.ModelAnnouncement) -> None:
    """Data may lie there that fit this model."""
    draft.change(announcement, match_key=key_of_model(announcement))
    draft.follow_up(sc.MatchModel(announcement_id=announcement.id), announcement.id)


# a model


def needs_of_match_model(command: sc.MatchModel) -> Needs:
    return Needs(matched_models={command.announcement_id})


def match_model(draft: Draft, command: sc.MatchModel) -> Decision:
    """With all live data that fit it. One that is trained elsewhere is given a run first."""
    need_hub(draft.by)
    asked = draft.get(sr.ModelAnnouncement, command.announcement_id)
    if asked is None:
        return draft.accept(results.Matched(matched=0))
    same = [
        each
        for each in draft.every(sr.ModelAnnouncement)
        if (each.cluster, each.string_id) == (asked.cluster, asked.string_id)
    ]
    model = _only_newest(draft, same)
    if model is None:
        return draft.accept(results.Matched(matched=0))
    run = _run_of(draft, model)
    if run is None:
        adopting.adopt(draft, model)
        return draft.accept(results.Matched(matched=0))
    model = draft.change(model, run_id=run.id)
    _recheck(draft, [each for each in draft.group(sr.Match, run.id) if each.string_id == model.string_id])
    fitting = [data for data in draft.group(sr.DataSource, model.match_key) if model.match_key]
    matched = sum(_pair(draft, model, data, run) for data in fitting)
    return draft.accept(results.Matched(matched=matched))


def _only_newest(draft: Draft, same: list[sr.ModelAnnouncement]) -> sr.ModelAnnouncement | None:
    """Of several of one model; None: none is live."""
    live = [each for each in same if each.state == AnnouncementState.LIVE]
    if not live:
        return None
    newest = newest_model(live)
    for each in live:
        if each.id != newest.id:
            move(draft, each, Step.SUPERSEDE)
    return newest


def _run_of(draft: Draft, model: sr.ModelAnnouncement) -> r.Run | None:
    """The deployment that announced it, or the run that this hub has given it."""
    for each in draft.every(sr.Deployment):
        if (each.cluster, each.string_id) == (model.cluster, model.string_id):
            return draft.get(r.Run, each.run_id)
    return draft.get(r.Run, model.run_id or adopted_run_id(model.cluster, model.string_id))


# data


def needs_of_match_data(command: sc.MatchData) -> Needs:
    return Needs(matched_data={command.source_id})


def match_data(draft: Draft, command: sc.MatchData) -> Decision:
    """With all live models that they fit. What trains on data that were withdrawn stops."""
    need_hub(draft.by)
    asked = draft.get(sr.DataSource, command.source_id)
    if asked is None or asked.stream_id is None:
        return draft.accept(results.Matched(matched=0))
    live = _live(draft, asked.stream_id)
    for each in live[:-1]:
        move(draft, each, Step.SUPERSEDE)
    _recheck(draft, [each for each in draft.every(sr.Match) if each.stream_id == asked.stream_id])
    if not live or not live[-1].match_key:
        return draft.accept(results.Matched(matched=0))
    data, matched = live[-1], 0
    for model in draft.group(sr.ModelAnnouncement, data.match_key):
        run = None if model.run_id is None else draft.get(r.Run, model.run_id)
        matched += _pair(draft, model, data, run)
    return draft.accept(results.Matched(matched=matched))


def _live(draft: Draft, stream_id: Id) -> list[sr.DataSource]:
    """Announcements of the same data that are live, the one that counts last."""
    live = [
        each
        for each in draft.every(sr.DataSource)
        if each.stream_id == stream_id and each.state == AnnouncementState.LIVE
    ]
    if live:
        newest = newest_of(live)
        live = [each for each in live if each.id != newest.id] + [newest]
    return live


# ends


def worker_ended(draft: Draft, workload: r.Workload) -> None:
    """A worker of a federated run has ended for good."""
    assert workload.run_id is not None, "a worker is one of a run's"
    draft.follow_up(sc.SettleWorkers(run_id=workload.run_id), workload.id)


# pairs


def _pair(draft: Draft, model: sr.ModelAnnouncement, data: sr.DataSource, run: r.Run | None) -> int:
    """1 if this is a new match, or one that is tried again."""
    state = None if run is None else RunState(run.state)
    if misfits(model, data, state, draft.rules.streams.images.keys()) or run is None:
        return 0
    ident = match_id(model, data)
    known = draft.get(sr.Match, ident)
    if known is not None and (known.state != MatchState.ENDED or known.workload_id is not None):
        return 0
    if known is None:
        if draft.count("matches", run.id) >= draft.rules.workloads_per_day:
            return 0
        draft.add_to("matches", run.id)
    cluster = draft.rules.streams.cluster(data.cluster)
    match = sr.Match(
        id=ident,
        run_id=run.id,
        project_id=run.project_id,
        model_id=model.id,
        source_id=data.id,
        stream_id=stream_of(data),
        cluster=model.cluster,
        data_cluster=data.cluster,
        string_id=model.string_id,
        client_id=client_id_of(ident),
        location="" if cluster is None else cluster.where,
        case_number=case_of(model),
        state=MatchState.PREPARING if known is None else follow(MATCH, MatchState(known.state), Step.PREPARE),
        state_at=draft.now,
        created_at=draft.now if known is None else known.created_at,
        attempts=1 if known is None else known.attempts + 1,
    )
    draft.put(match)
    workers.prepare(draft, match, data)
    return 1


def _recheck(draft: Draft, matches: list[sr.Match]) -> None:
    """What was made of older announcements ends where they were withdrawn, or what counts now does not fit."""
    for match in matches:
        if match.state == MatchState.ENDED:
            continue
        model, data = draft.get(sr.ModelAnnouncement, match.model_id), draft.get(sr.DataSource, match.source_id)
        if model is None or data is None:
            continue
        live = _live(draft, match.stream_id)
        data = live[-1] if live else data
        if data.state == AnnouncementState.WITHDRAWN:
            workers.stop(draft, match, Misfit.DATA_GONE, sentence(Misfit.DATA_GONE, model, data))
            continue
        if not live:
            continue  # they are old, and may be used by who does so already
        found = [each for each in misfits(model, data, RunState.RUNNING, ()) if each in _STILL]
        if found:
            workers.stop(draft, match, found[0], sentence(found[0], model, data))


# when its topics are there


def needs_of_prepared(report: sc.ReportStream) -> Needs:
    return Needs(matches={report.about_id})


def prepared(draft: Draft, report: sc.ReportStream) -> None:
    """The data of a match, or its topics, are there, or cannot be. Data whose records are gone have expired."""
    match = draft.get(sr.Match, report.about_id)
    if match is None or match.state != MatchState.PREPARING or report.attempt != match.attempts:
        return
    run = draft.have(r.Run, match.run_id)
    model, live = draft.have(sr.ModelAnnouncement, match.model_id), _live(draft, match.stream_id)
    data = live[-1] if live else draft.have(sr.DataSource, match.source_id)
    if report.reason == "not_reached":
        workers.prepare(draft, draft.change(match, attempts=match.attempts + 1), data)
    elif report.reason:
        if report.reason == "range_gone" and data.state == AnnouncementState.LIVE:
            move(draft, data, Step.EXPIRE)
        workers.stop(draft, match, report.reason, report.detail)
    elif match.checked_at is None:
        workers.prepare(draft, draft.change(match, checked_at=draft.now, attempts=match.attempts + 1), data)
    else:
        workers.want_one(draft, match, model, data, run)
