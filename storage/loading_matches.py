"""What decisions about federated models and the data for them need: part of storage/loading_apart.py.

Of one announcement only those of the other kind are read that have its key and enough records: by an index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from domain import stream_records as sr
from domain.needs import Needs
from domain.streams.matching import adopted_run_id
from domain.workloads import site_of
from storage.reader import Reader
from storage.tables import select


def _of_models(reader: Reader, needs: Needs) -> Needs:
    """Announcements of models, the others of the same models, data that fit, and what these models have; needed
    besides: their runs, if they have one."""
    named = reader.rows(sr.ModelAnnouncement, f"{_MODELS} WHERE id {{any:uuid}}", needs.matched_models)
    models = {(each.cluster, each.string_id) for each in named}
    announced = [
        each
        for cluster, string_id in sorted(models)
        for each in reader.all(sr.ModelAnnouncement, _SAME, cluster, string_id)
    ]
    live = {(each.match_key, each.min_data) for each in announced if each.match_key}
    for key, least in sorted(live):
        reader.all(sr.DataSource, _DATA_FOR, key, least)
    strings = {string_id for _, string_id in models}
    deployments = reader.rows(sr.Deployment, _DEPLOYMENTS_CALLED, strings)
    matches = reader.rows(sr.Match, f"{_MATCHES} WHERE string_id {{any}}", strings)
    _data_of(reader, matches)
    runs = {each.run_id for each in deployments} | {each.run_id for each in announced if each.run_id is not None}
    runs |= {adopted_run_id(cluster, string_id) for cluster, string_id in models}
    return Needs(mentioned_runs=runs, workloads=_workers(matches), counts={("matches", run) for run in runs})


def _of_data(reader: Reader, needs: Needs) -> Needs:
    """Announcements of data, the others of the same data, models that fit, and what these data are in; needed besides:
    the models' runs."""
    named = reader.rows(sr.DataSource, f"{_DATA} WHERE id {{any:uuid}}", needs.matched_data)
    streams = {each.stream_id for each in named}
    announced = reader.rows(sr.DataSource, _LIVE_DATA, streams)
    models: list[sr.ModelAnnouncement] = []
    live = {each.match_key: each for each in announced if each.match_key}
    for key in sorted(live):
        most = [each.total_msg for each in announced if each.match_key == key]
        if live[key].incremental:
            models += reader.all(sr.ModelAnnouncement, _MODELS_LEARNING, key)
        else:
            models += reader.all(sr.ModelAnnouncement, _MODELS_FOR, key, max(total or 0 for total in most))
    matches = reader.rows(sr.Match, f"{_MATCHES} WHERE stream_id {{any:uuid}}", streams)
    models += reader.rows(sr.ModelAnnouncement, f"{_MODELS} WHERE id {{any:uuid}}", {each.model_id for each in matches})
    reader.rows(sr.DataSource, f"{_DATA} WHERE id {{any:uuid}}", {each.source_id for each in matches})
    runs = {each.run_id for each in models if each.run_id is not None} | {each.run_id for each in matches}
    return Needs(mentioned_runs=runs, workloads=_workers(matches), counts={("matches", run) for run in runs})


def _matches(reader: Reader, needs: Needs) -> Needs:
    """Matches, with what made them, and whose announcements those are by now; needed besides: all that it takes to
    start their workers."""
    matches = reader.rows(sr.Match, f"{_MATCHES} WHERE id {{any:uuid}}", needs.matches)
    reader.rows(sr.ModelAnnouncement, f"{_MODELS} WHERE id {{any:uuid}}", {each.model_id for each in matches})
    _data_of(reader, matches)
    projects = {each.project_id for each in matches}
    return Needs(
        mentioned_runs={each.run_id for each in matches},
        members_of=projects,
        sites={site for each in matches if (site := site_of(each.location)) is not None},
        counts={("workloads", project) for project in projects},
    )


def _workers_of(reader: Reader, needs: Needs) -> Needs:
    """All matches of runs, and the models announced for them; needed besides: the runs, and the workers."""
    matches = reader.rows(sr.Match, f"{_MATCHES} WHERE run_id {{any:uuid}}", needs.workers_of)
    reader.rows(sr.ModelAnnouncement, f"{_MODELS} WHERE run_id {{any:uuid}}", needs.workers_of)
    return Needs(deployments=set(needs.workers_of), runs=set(needs.workers_of), workloads=_workers(matches))


def _data_of(reader: Reader, matches: Collection[sr.Match]) -> None:
    """What made them, and what is said of the same data by now."""
    reader.rows(sr.DataSource, f"{_DATA} WHERE id {{any:uuid}}", {each.source_id for each in matches})
    reader.rows(sr.DataSource, _LIVE_DATA, {each.stream_id for each in matches})


def _workers(matches: Collection[sr.Match]) -> set[str]:
    return {each.workload_id for each in matches if each.workload_id is not None}


_MODELS = select(sr.ModelAnnouncement)
_DATA = select(sr.DataSource)
_MATCHES = select(sr.Match)
MAX_ANNOUNCEMENTS: Final = 1000
"""Announcements of one kind that a decision looks at, the newest: whoever may write to a topic says how many there are.
Older ones of the same are superseded when it is their turn."""
_NEWEST = f"ORDER BY announced_at DESC, id LIMIT {MAX_ANNOUNCEMENTS}"
_SAME = f"{_MODELS} WHERE cluster = %s AND string_id = %s AND state = 'live' {_NEWEST}"
_LIVE_DATA = (
    f"{_DATA} WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY stream_id"
    " ORDER BY announced_at DESC, id) AS place FROM data_sources WHERE state = 'live' AND stream_id {any:uuid})"
    f" AS placed WHERE place <= {MAX_ANNOUNCEMENTS})"
)
_KEYED = "WHERE match_key = %s AND state = 'live' AND match_key <> ''"
_DATA_FOR = f"{_DATA} {_KEYED} AND (total_msg >= %s OR incremental) {_NEWEST}"
_MODELS_FOR = f"{_MODELS} {_KEYED} AND min_data <= %s {_NEWEST}"
_MODELS_LEARNING = f"{_MODELS} {_KEYED} {_NEWEST}"
_DEPLOYMENTS_CALLED = f"{select(sr.Deployment)} WHERE string_id <> '' AND string_id {{any}}"

MATCHING_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    (frozenset({"matched_models"}), _of_models),
    (frozenset({"matched_data"}), _of_data),
    (frozenset({"matches"}), _matches),
    (frozenset({"workers_of"}), _workers_of),
)
"""Any of these needs -> who loads what they name. Before workloads: workers are."""
