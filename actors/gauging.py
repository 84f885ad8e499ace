"""What the relay's process reads off for people: the queues, the age of the outbox, the room on the disks.

It changes nothing and is in nobody's way: each thing at its own pace, in one statement. What cannot be read keeps its
last reading, which says when it was made.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from broker.depths import Depth
from broker.port import BrokerUnavailable
from config.clock import Clock
from config.outages import Outage
from config.settings import Settings, url_path
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database, DatabaseUnavailable
from storage.vitals import (
    SAMPLE_EVERY_S,
    DiskReading,
    QueueReading,
    Sampled,
    forget_samples,
    outbox_age,
    size_of,
    tell,
    write_samples,
)

QUEUES_EVERY_S = 30.0
"""RabbitMQ is asked on a connection of its own."""
DISKS_EVERY_S = 60.0
FORGET_EVERY_S = 600.0

_log = logging.getLogger(__name__)


class Gauging:
    """folders: name -> where something of the hub lies on a disk of this machine."""

    def __init__(
        self,
        database: Database,
        process: str,
        clock: Clock,
        depths: Callable[[], Sequence[Depth]],
        folders: Mapping[str, Path],
    ) -> None:
        self._database = database
        self._process = process
        self._clock = clock
        self._depths = depths
        self._folders = folders
        self._empty_at: dict[str, Micros] = {}
        self._due = {
            self._sample: (SAMPLE_EVERY_S, 0.0),
            self._queues: (QUEUES_EVERY_S, clock.monotonic() + SAMPLE_EVERY_S),  # they may just be declared
            self._disks: (DISKS_EVERY_S, 0.0),
            self._forget: (FORGET_EVERY_S, 0.0),
        }
        self._away = Outage(_log, "queues, outbox and disks are not read", "they are read again", clock)

    def turn(self) -> None:
        """Read what is due. Raises nothing."""
        monotonic = self._clock.monotonic()
        try:
            for read, (every_s, at) in self._due.items():
                if monotonic >= at:
                    self._due[read] = (every_s, monotonic + every_s)
                    read(self._clock.now())
            self._away.over()
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            self._away.lasts(error)

    def _sample(self, now: Micros) -> None:
        age = outbox_age(self._database, now)
        write_samples(self._database, self._process, now, {Sampled.OUTBOX_AGE: age / SECOND})

    def _queues(self, now: Micros) -> None:
        readings = {}
        for one in self._depths():
            if one.ready == 0:
                self._empty_at[one.queue] = now
            readings[one.queue] = QueueReading(
                one.ready, one.delayed, one.dead, one.oldest_at, self._empty_at.get(one.queue)
            )
        tell(self._database, now, readings)

    def _disks(self, now: Micros) -> None:
        readings: dict[str, DiskReading] = {}
        for name, folder in self._folders.items():
            try:
                disk = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists()))
            except OSError:
                continue  # what is wrong with it /readyz says
            readings[name] = DiskReading(used=None, free=disk.free, total=disk.total)
        size = size_of(self._database)
        there = readings.get("records", DiskReading(None, None, None))
        readings["records"] = DiskReading(used=size, free=there.free, total=there.total)
        tell(self._database, now, readings)

    def _forget(self, now: Micros) -> None:
        forget_samples(self._database, now)


def folders_of(settings: Settings) -> dict[str, Path]:
    """What of the hub lies on a disk that this process can see. Of PostgreSQL's and of a bucket nobody can say."""
    urls = {"records": settings.database_url, "commands": settings.broker_url, "artifacts": settings.artifacts_url}
    here = {name: url for name, url in urls.items() if url.partition(":")[0] in ("sqlite", "embedded", "file")}
    return {
        name: Path(url_path(url)) if name == "artifacts" else Path(url_path(url)).parent for name, url in here.items()
    }
