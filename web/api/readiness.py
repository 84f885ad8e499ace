"""The parts of the hub as this web process finds them: what `/readyz` answers, and people are told at the page."""

from __future__ import annotations

from config.processes import OUTSIDE, STREAM_WORKERS
from config.streams import workers_of
from storage import clusters, stream_states
from storage.database import DatabaseUnavailable
from storage.presence import STAND_BY
from storage.views import commands
from web.http.calls import Call

STOP_NOTHING = frozenset({*OUTSIDE, *STREAM_WORKERS, STAND_BY, "artifacts", "clusters", "streams"})
"""Parts that are named where they are down, while the hub serves."""


def troubles(call: Call) -> dict[str, str | None]:
    """What is wrong with each part, with hosts and files by their names; None where nothing is."""
    web = call.web
    silent = web.silent.trouble() or {}
    found = {
        "database": _database_trouble(call),
        "broker": web.hub.publisher.ready(),
        "signals": web.hub.signals.ready(),
        **{role: silent.get(role) for role in workers_of(web.hub.settings)},
        "clocks": web.clocks.trouble(),
        STAND_BY: silent.get(STAND_BY),
        "clusters": _clusters_trouble(call),
        **({"streams": _streams_trouble(call)} if web.hub.settings.streams else {}),
        "artifacts": web.store_of_artifacts.trouble() or web.transfers.trouble(),
    }
    found["decider"] = found["decider"] or web.undecided.trouble()  # the one that names the process goes first
    return found


def _database_trouble(call: Call) -> str | None:
    try:
        commands.answers(call.web.database)
    except DatabaseUnavailable as error:
        return str(error)
    return None


def _clusters_trouble(call: Call) -> str | None:
    """What is missing at which cluster: that it answers, or that it allows what the hub has to do there."""
    try:
        told = clusters.told(call.web.database, call.web.hub.clock.now())
    except DatabaseUnavailable:
        return None
    return "; ".join(f"{name}: {trouble}" for name, trouble in told.items()) or None


def _streams_trouble(call: Call) -> str | None:
    """Which cluster of Kafka does not answer, or lacks what is listened to."""
    try:
        found = stream_states.bridges(call.web.database, call.web.hub.clock.now())
    except DatabaseUnavailable:
        return None
    troubles = {one.cluster: one.trouble for one in found if one.trouble}
    return "; ".join(f"{name}: {trouble}" for name, trouble in sorted(troubles.items())) or None
