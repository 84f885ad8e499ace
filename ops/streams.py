"""For people called at night: how far what comes in Kafka is taken in, and what nobody could make sense of."""

from __future__ import annotations

from collections.abc import Iterator

from config.streams import Streams
from domain.values import Micros
from fedyard.wire.plurals import counted
from fedyard.wire.shown import shown
from fedyard.wire.times import SECOND
from ops.spans import span
from storage import stream_states, telling
from storage.database import Database
from storage.views.sight import every
from storage.views.streams import quarantine
from storage.views.streams.quarantine import Quarantined, QuarantinedContent

AT_ONCE = 200
TOLD_WITHIN: Micros = 60 * SECOND
"""An event that has waited for longer says that the cluster does not take them."""


def status(database: Database, streams: Streams, now: Micros) -> tuple[list[str], bool]:
    """Lines for people, and whether all is well."""
    if not streams.clusters:
        return ["FEDYARD_STREAMS names no cluster"], True
    bridges, well = stream_states.bridges(database, now), True
    lines = []
    for name, cluster in sorted(streams.clusters.items()):
        told = [one for one in bridges if one.cluster == name]
        troubles = list(dict.fromkeys(one.trouble for one in told if one.trouble))  # one that was killed told it, too
        if not cluster.topics:
            lines.append(f"{name}  {cluster.bootstrap_servers}  nothing is listened to")
            continue
        missing = not told
        well = well and not (troubles or missing)
        said = "no bridge has told of it: does it run?" if missing else "; ".join(troubles) or "well"
        under_way = sum(one.under_way for one in told)
        lines.append(f"{name}  {cluster.bootstrap_servers}  under way {under_way}  {shown(said)}")
    lines += [_lag(one, now) for one in stream_states.lags(database)]
    if streams.events_cluster:
        waiting = telling.backlog(database)
        late = waiting.oldest_at is not None and now - waiting.oldest_at > TOLD_WITHIN
        well = well and not late
        remedy = ": why says the log of the relay's process" if late else ""
        lines.append(_untold(waiting, streams, now) + remedy)
    lines += [
        f"{cluster}  {reason}: {count} in quarantine"
        for (cluster, reason), count in sorted(quarantine.waiting_by_reason(database).items())
    ]
    return lines, well


def _untold(waiting: telling.Backlog, streams: Streams, now: Micros) -> str:
    oldest = "" if waiting.oldest_at is None else f", the oldest from {span(now - waiting.oldest_at)} ago"
    said = f"{counted(waiting.events, 'event')} not told yet{oldest}" if waiting.events else "all events are told"
    return f"{streams.events_cluster}  {streams.events_topic}  {said}"


def _lag(one: stream_states.Lag, now: Micros) -> str:
    oldest = f"  oldest written {span(now - one.oldest_at)} ago" if one.oldest_at else ""
    return (
        f"  {one.cluster}  {one.topic}/{one.partition}  not committed {_count(one.to_committed)}"
        f"  not decided {_count(one.to_decided)}{oldest}  told {span(now - one.at)} ago by {one.process}"
    )


def _count(count: int | None) -> str:
    return "?" if count is None else str(count)


def quarantined(database: Database, state: str | None) -> Iterator[Quarantined]:
    """All of them, oldest first."""
    yield from every(lambda paging: quarantine.quarantined(database, paging, state=state), AT_ONCE)


def line(one: Quarantined) -> str:
    """A record, without what it holds."""
    where = f"{one.cluster}/{one.topic}/{one.partition}@{one.log_offset}"
    return f"{one.id}  {one.state}  {one.taken_at}  {where}  {one.size_bytes} bytes  {one.reason}: {one.detail}"


def page(one: QuarantinedContent) -> Iterator[str]:
    """With what it holds, made visible."""
    yield line(one)
    yield f"announced  {one.announced_at or 'it does not say when'}"
    yield f"key        {'none' if one.key is None else one.key.hex() or 'empty'}"
    for header in one.headers or ():
        yield f"header     {shown(header.name)}: {_text(header.value)}"
    yield f"value      {_text(one.value)}"


def _text(value: bytes | None) -> str:
    return "none" if value is None else shown(value.decode(errors="replace"))
