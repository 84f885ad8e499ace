"""What a federated worker trains on: the announced data, as far as they can be trained on, and what has to be there.

Empty ranges are left out: PyTorch's trainer waits at those for ever.
"""

from __future__ import annotations

import msgspec

from domain.stream_commands import Range
from domain.stream_records import DataSource
from domain.streams.expressions import StreamRange, expression_of, ranges_of
from domain.streams.serving import WorkerData
from domain.streams.training import Unfit, filled


class WorkerGround(msgspec.Struct, frozen=True):
    """topics and ranges: that must be there. data: as the worker is told of them."""

    topics: list[str]
    ranges: list[Range]
    data: WorkerData


def worker_ground_of(source: DataSource) -> WorkerGround:
    """Raises `Unfit`."""
    said = ranges_of(source.data_topic)
    if said is None and not source.incremental:
        raise Unfit("data_unfit", f"{source.data_topic} is a topic without ranges, and the data are said to end")
    if said is not None and source.incremental and source.unsupervised_topic is None:
        raise Unfit("data_unfit", f"{source.data_topic} are ranges, and the data are said to go on for ever")
    ranges, total = filled(source, said)
    topic = source.data_topic if said is None else expression_of(ranges)
    more, unlabelled = _unlabelled(source.unsupervised_topic)
    plain = {name for name in (topic if said is None else None, unlabelled if not more else None) if name}
    return WorkerGround(
        topics=sorted(plain | {each.topic for each in (*ranges, *more)}),
        ranges=[Range(each.topic, each.partition, each.start, each.end) for each in (*ranges, *more)],
        data=WorkerData(
            topic=topic,
            input_format=source.input_format,
            input_config=source.input_config_json,
            validation_rate=source.validation_rate,
            test_rate=source.test_rate,
            total_msg=total,
            unsupervised_topic=unlabelled,
        ),
    )


def _unlabelled(said: str | None) -> tuple[list[StreamRange], str | None]:
    """Their ranges, without empty ones, and how a worker is told of them; nothing where there is no record."""
    ranges = None if said is None else ranges_of(said)
    if ranges is None:
        return [], said
    filled = [each for each in ranges if each.count]
    return filled, expression_of(filled) or None
