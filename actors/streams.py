"""The doing actor of streams: topics, ranges and records in a cluster of Kafka, and a report on what came of it.

It decides nothing: what is missing goes into the report. Done a second time it makes no topic anew, and writes no
second record where one was to be written once. A cluster that is away is tried again for some minutes, and then told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from broker.port import Temporary
from broker.streams import Ends, NotAccepted, Topics, Unreachable
from config.clock import Clock
from domain.commands import AnyCommand, Envelope
from domain.stream_commands import NewRecord, Obstacle, PrepareStream, Range, ReportStream, Written
from fedyard.wire.times import SECOND

TRIED_FOR_S = 300
"""So long after it was decided an attempt at what cannot be reached is followed by another; by its route's back-off the
last one comes some ten minutes after it."""
AWAY_S = 5.0
"""So long a cluster that did not answer is not asked again: the others' commands wait in the same queue."""


class Missing(Exception):
    """It cannot be made. reason: as in the report. detail: which topic or range."""

    def __init__(self, reason: Obstacle, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class StreamDoer:
    """clusters: by name, each opened by its first use."""

    def __init__(self, clusters: Mapping[str, Callable[[], Topics]], clock: Clock) -> None:
        self._open = clusters
        self._opened: dict[str, Topics] = {}
        self._clock = clock
        self._away_until: dict[str, float] = {}

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Do it; the report. Raises `Temporary` while the cluster is away."""
        command = envelope.command
        assert isinstance(command, PrepareStream), "this actor prepares streams"
        name = command.cluster
        if name not in self._open:
            return [_report(command, "refused", f"the hub's settings know no cluster {name!r}")]
        late = self._clock.now() >= envelope.at + TRIED_FOR_S * SECOND
        try:
            if not late and self._clock.monotonic() < self._away_until.get(name, 0.0):
                raise Unreachable("it did not answer a moment ago")  # noqa: TRY301 - told as if it were asked
            written = prepare(self._cluster(name), command)
        except Missing as missing:
            return [_report(command, missing.reason, missing.detail)]
        except NotAccepted as error:
            return [_report(command, "refused", error.fact)]
        except Unreachable as error:
            if self._clock.monotonic() >= self._away_until.get(name, 0.0):
                self._away_until[name] = self._clock.monotonic() + AWAY_S
            if late:
                return [_report(command, "not_reached", error.fact)]
            raise Temporary(f"cluster {name} is away: {error.fact}") from None
        return [_report(command, written=written)]

    def _cluster(self, name: str) -> Topics:
        if name not in self._opened:
            self._opened[name] = self._open[name]()
        return self._opened[name]


def prepare(cluster: Topics, command: PrepareStream) -> list[Written]:
    """What was written now. Raises `Missing`, `Unreachable`, `NotAccepted`."""
    cluster.create(command.topics)
    wanted = {record.topic for record in command.records}
    ends = cluster.ends({*command.needs, *wanted, *(one.topic for one in command.ranges)})
    made = {topic.name for topic in command.topics}
    for topic in (*command.needs, *sorted(wanted)):
        if topic in made and topic not in ends:  # the brokers of a large cluster hear of it one after the other
            raise Unreachable(f"topic {topic} was made, and is not seen everywhere yet")
        if topic not in ends:
            raise Missing("topic_missing", f"topic {topic} is not there")
    for one in command.ranges:
        _see(one, ends)
    return cluster.write([record for record in command.records if not _is_there(record, ends)])


def _see(wanted: Range, ends: Ends) -> None:
    """Raises `Missing` unless all its records are there."""
    where = f"partition {wanted.partition} of topic {wanted.topic}"
    if wanted.topic not in ends:
        raise Missing("topic_missing", f"topic {wanted.topic} is not there")
    if wanted.partition not in ends[wanted.topic]:
        raise Missing("topic_missing", f"{where} is not there")
    first, end = ends[wanted.topic][wanted.partition]
    if wanted.start < min(first, wanted.end):
        raise Missing("range_gone", f"{where}: records {wanted.start} to {first} are gone, by retention or deletion")
    if wanted.end > end:
        raise Missing("range_ahead", f"{where}: {wanted.end} is announced as the end of the range, the log's is {end}")


def _is_there(record: NewRecord, ends: Ends) -> bool:
    return record.once and any(end > 0 for _, end in _all(ends, record.topic))


def _all(ends: Ends, topic: str) -> Iterable[tuple[int, int]]:
    return ends[topic].values()


def _report(
    command: PrepareStream, reason: Obstacle = "", detail: str = "", *, written: list[Written] | None = None
) -> ReportStream:
    return ReportStream(
        purpose=command.purpose,
        about_id=command.about_id,
        attempt=command.attempt,
        reason=reason,
        detail=detail[:1000],
        written=written or [],
    )
