"""The store put back to an earlier commit, as by whoever restores a backup or fails over to a replica that lagged.

What the broker has and what lies in the store of artifacts stays as it is. Drawn by a chance of its own, so that all
else of a seed is the same with it and without it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

from domain import records as r
from fedyard.wire.times import SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

RATE = 0.2
"""Of seeds in which it happens."""
_OF_THE_HUB = ("web", "decider", "relay", "ticker", "reconciler", "bridge")


class Restores:
    """on: whether it happens in this seed. done: how often it has. file: the number of the store's file, as the hub
    sees it. kept_at: the moment that it went back to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(f"restores of {world.seed}")
        self.on = self._chance.random() < RATE
        self._left = self._chance.choice((1, 1, 2)) if self.on else 0
        self._next_at = world.micros + self._some(5, 25)
        self._snapshot: Any = None
        self.done = 0
        self.file = 1
        self.kept_at = 0

    @property
    def ahead(self) -> bool:
        """A copy is kept: what is done now will be forgotten."""
        return self._snapshot is not None

    def turn(self) -> None:
        """Between two turns of processes: keep a copy, or put it back, if it is time."""
        world = self._world
        if not self._left or world.calm or world.micros < self._next_at:
            return
        if self._snapshot is None:
            if self._settled():
                self._keep()
                self._next_at = world.micros + self._some(0.5, 12)
            return
        self._restore()
        self._left -= 1
        self._next_at = world.micros + self._some(2, 15)

    def _some(self, least_s: float, most_s: float) -> int:
        return int(self._chance.uniform(least_s, most_s) * SECOND)

    def _settled(self) -> bool:
        """Sites and projects that enrolled since a backup have to begin anew; here all are there before it."""
        rows = self._world.checker.rows
        projects = 3 if self._world.kafka.on else 2
        return len(rows[r.Site]) == len(rows[r.Mailbox]) == 5 and len(rows[r.Project]) == projects

    def _keep(self) -> None:
        """What is committed; whoever is in the midst of a transaction is not in it."""
        world = self._world
        world.checker.check()
        kept = world.path.with_suffix(".kept")
        with sqlite3.connect(world.path) as store, sqlite3.connect(kept) as copy:
            store.backup(copy)
        store.close()
        copy.close()
        self._snapshot = world.checker.snapshot()
        self.kept_at = world.micros
        world.tell("a backup is made")

    def _restore(self) -> None:
        world = self._world
        world.tell(f"the store is restored to {(world.micros - self.kept_at) / SECOND:.1f} s before")
        world.happened["restore"] += 1
        for process in world.processes:
            if process.kind in _OF_THE_HUB and process.alive:
                world.kill(process)
        world.checker.close()
        for beside in ("", "-wal", "-shm"):
            world.path.with_name(world.path.name + beside).unlink(missing_ok=True)
        shutil.copyfile(world.path.with_suffix(".kept"), world.path)
        self.done += 1
        world.checker.roll_back(self._snapshot)
        self._snapshot = None
        for process in world.processes:
            process.history_went_back()
        if self._chance.random() < 0.5:
            self._tell()

    def _tell(self) -> None:
        """The copy lies in another file, which the hub finds out by itself; else it is a cold copy put back, and only
        the marks tell."""
        self.file += 1
