"""The world: time, chance, and what can go wrong. One thread, one seed; a seed is a whole history.

Processes take turns. A turn can be interrupted at any statement: the process dies there, loses its database, or
stands still while others take their turns. What dies comes back later with nothing but what it had written.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fedyard.wire.times import SECOND
from storage.database import Database
from tests.simulation.database import cut_off, place_of, watched
from tests.simulation.restores import Restores

if TYPE_CHECKING:
    from tests.simulation.agents import LookingAfter
    from tests.simulation.broker import Broker
    from tests.simulation.checks import Checker
    from tests.simulation.clusters import SimulatedCluster
    from tests.simulation.processes import Web
    from tests.simulation.receivers import Receivers
    from tests.simulation.streams import Kafka
    from tests.simulation.training import Door

START = 1_800_000_000 * SECOND
STORM_S = 60.0
"""How long things go wrong; then the world is calm."""
CALM_S = 150.0
"""Within this after the storm everything must have drained."""
DEADLY = 6
"""How often a bad place kills in one seed at most: the rest of its history shall go on."""
BAD, BAD_IF_SELDOM, SELDOM_S = 0.08, 0.5, 12.0
"""The share of bad places, and of those where nobody was in the first seconds of a seed."""
LONGEST_STILL_S = 1.5
DEEPEST = 2
"""A turn may stand still inside a turn that stands still; not more."""


class Broken(BaseException):
    """An invariant does not hold. No production code may catch it, so it is no Exception."""


class Killed(BaseException):
    """A process is gone at this very place. Like a kill -9 it cannot be caught: whatever runs on does nothing."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.name)
        self.process = process


MAX_COUNTS = {
    "crash": 0.10,  # a turn ends in the death of its process, at a place drawn by chance
    "bad place": 0.90,  # the same at a few places of each seed, so that each place has seeds in which it is deadly
    "cut": 0.05,  # a turn loses its database at a place drawn by chance, perhaps after a COMMIT that was done
    "stand still": 0.02,  # at a statement, while others take a turn
    "twice": 0.25,  # a delivery comes again
    "late": 0.25,  # by seconds, so that others overtake it
    "refuse": 0.35,  # the broker does not confirm, and has the message all the same or not
    "lost acknowledgement": 0.15,
    "broker restart": 0.02,  # of its turns: what is transient is gone, what was not acknowledged comes again
    "lost request": 0.10,
    "lost answer": 0.15,
    "late request": 0.10,  # its sender has given up; it arrives all the same
    "lost announcements": 0.10,  # the web's connection for them breaks, and it knows
    "unheard announcement": 0.30,  # lost between a commit and its announcement, and nobody knows
    "site dies": 0.01,  # of its turns; it returns after seconds or much later, with its disk
}
"""The largest rate of each kind of fault. A seed draws which kinds are on, and a rate of its own for each (swarm
testing): what one kind keeps from ever being reached, another seed reaches without it."""
RARELY = {"refuse": 0.7, "unheard announcement": 0.95}
"""In a tenth of the seeds these are the rule: what they break needs several of them in a row. Drawn apart."""
GENTLE = 0.12
"""Of the largest rates: half of the seeds go so easily about it that most of their runs get far."""
ASTRAY = (12.0, 300.0, 86_400.0, 691_200.0)
"""Seconds by which the clock of one ticker is wrong in some seeds, ahead or behind."""


class Process:
    """Something that runs, dies and returns. `life` counts its lives: what an earlier one left behind is void."""

    returns_within_s = (0.05, 4.0)

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.kind = name.rstrip("0123456789 ")
        self.life = 0
        self.alive = False
        self.busy = False
        self.fuse: int | None = None
        self.cutting = False
        self.database: Database | None = None

    def begin(self) -> None:
        """A new life."""
        self.life += 1
        self.alive = True
        self.skew = round(self.world.chance.uniform(-0.25, 0.25) * SECOND) if self.world.skewed else 0
        self.start()
        self.world.after(self.world.chance.uniform(0, 0.3), self)

    def open(self) -> Database:
        """This life's database, watched."""
        life = self.life

        def watch(when: str, sql: str) -> None:
            if life != self.life or not self.alive:
                raise Killed(self)
            self.world.at_statement(self, when, sql)

        self.database = watched(self.world.path, watch)
        return self.database

    def end(self) -> None:
        """Die: nothing of this life has any effect from now on."""
        self.alive = False
        self.fuse = None
        if self.database is not None:
            cut_off(self.database)
        self.die()

    # for the kinds of processes to say

    def has_its_database_to_itself(self) -> bool:
        """May its database be cut off now?"""
        return True

    def start(self) -> None:
        """Build this life's parts."""

    def astray(self) -> int:
        """Microseconds by which its clock is far off."""
        return 0

    def step(self) -> float:
        """One turn; seconds until the next."""
        raise NotImplementedError

    def die(self) -> None:
        """What its death means to others."""

    def history_went_back(self) -> None:
        """The store was put back to an earlier commit."""

    # Clock, for production code

    def now(self) -> int:
        return self.world.micros + self.skew + self.astray()

    def monotonic(self) -> float:
        return self.world.micros / SECOND

    def sleep(self, seconds: float) -> None:
        """Nobody waits in one thread; who wanted to tries again in its next turn."""


class World:
    """Everything of one seed."""

    checker: Checker
    broker: Broker
    web: Web
    receivers: Receivers
    kafka: Kafka
    door: Door
    cluster: SimulatedCluster
    """The hub's."""
    clusters: dict[str, SimulatedCluster]
    """By where workloads say that they run."""

    def __init__(self, seed: int, path: Path) -> None:
        self.seed = seed
        self.path = path
        self.chance = random.Random(seed)
        self.micros = START
        self.calm = False
        self.skewed = self.chance.random() < 0.5
        self.gentle = self.chance.random() < 0.5
        self.whims = 0.05 if self.gentle else self.chance.choice((0.3, 1.0))
        """How often sites and people do what ends a run, as a share of what they do at most."""
        kinds_on, hard = self.chance.choice((0.3, 0.65, 1.0)), GENTLE if self.gentle else 1.0
        self.rates = {
            name: hard * self.chance.uniform(0.1, 1.0) * most if self.chance.random() < kinds_on else 0.0
            for name, most in MAX_COUNTS.items()
        }
        for fault, rate in RARELY.items():
            if random.Random(f"{fault} in {seed}, mostly").random() < 0.1:
                self.rates[fault] = rate
        self.restores = Restores(self)
        self.double_clicks = random.Random(f"double clicks in {seed}").random() < 0.1
        """Whether people of coordinators ask for the same restart over and over. Drawn by a chance of its own."""
        self.scores = random.Random(f"scoring in {seed}").random() < 0.1
        """Whether tasks draw seats, score models and may stop early. Drawn by a chance of its own."""
        self.codes = random.Random(f"code that sites run in {seed}").random() < 0.06
        """Whether sites say which code they run, one of them other code, and tasks want the same. As above."""
        self.experiments = random.Random(f"a sweep in {seed}").random() < 0.08
        """Whether people of coordinators give runs parameters, rounds and first models of their own. As above."""
        self.own: dict[str, dict[str, Any]] = {}
        """Run -> what it was given, as it was asked for."""
        if self.rates["bad place"]:
            self.rates["bad place"] = self.chance.uniform(0.3, 0.9)
        self.deadly = 2 if self.gentle else DEADLY
        self.astray = self._drawn_astray()
        """Microseconds by which the second ticker's clock is ahead while the storm lasts."""
        self.processes: list[Process] = []
        self.projects: dict[str, str] = {}
        """Project -> its coordinator, as people tell each other."""
        self.shape: Callable[[str, dict[str, Any]], None] = lambda *_: None
        """What else is to be said of the project that a site makes. Site, and what it says."""
        self.closing: set[str] = set()
        """Projects that shall be archived: their coordinators begin nothing any more."""
        self.agents: dict[str, LookingAfter] = {}
        """Who looks after workloads at a site, by where these say that they run."""
        self.sealed: dict[str, bool] = {}
        """Project -> whether its payloads have to be sealed."""
        self.known_runs: list[tuple[str, str]] = []
        """(run, its coordinator)"""
        self.happened: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.died_at: Counter[str] = Counter()
        self.story: deque[str] = deque(maxlen=80)
        self._due: list[tuple[int, int, Process, int]] = []
        self._count = itertools.count()
        self._depth = 0
        self.waited_for = False
        """Does a request wait, in whose turn others take theirs?"""
        self._bad: dict[str, bool] = {}

    def _drawn_astray(self) -> int:
        if self.chance.random() >= 0.3:
            return 0
        return int(self.chance.choice(ASTRAY) * self.chance.choice((-1, 1)) * SECOND)

    def whim(self, rate: float) -> bool:
        """Does somebody do what he better would not? Never in the calm."""
        return not self.calm and self.chance.random() < rate * self.whims

    def tasks(self, name: str) -> list[dict[str, Any]]:
        """What the project of this site is to do; short spans, so that a storm sees many ends."""
        chance = self.chance

        def task(task: str, **more: Any) -> dict[str, Any]:
            contract = {
                "quorum": chance.choice((0.3, 0.5, 1.0)),
                "late": chance.choice(("drop", "next_round")),
                "too_few": chance.choice(("fail", "wait")),
                **{
                    f"{stage}_within_s": float(chance.randint(20, 40) if self.gentle else chance.randint(5, 20))
                    for stage in ("select", "train", "aggregate", "silent")
                },
            }
            return {"name": task, "model": "m", "contract": contract, **more}

        train = task("train", rounds=chance.randint(1, 3))
        check = task("check", aggregate=False, who="participants")
        self.tell(f"{name} has a plan")
        return [train, check] if chance.random() < 0.5 else [train]

    def measure(self, name: str, tasks: list[dict[str, Any]]) -> None:
        """Have the tasks of this site's project draw seats, score models and stop early, where no workload holds a
        seat. By a chance of its own, so that other seeds stay what they are. So it is with code that is to be the same.
        """
        for task in tasks if self.codes else ():
            if not task.get("workloads"):
                task["code"] = "same"
        if not self.scores:
            return
        chance = random.Random(f"scores of {name} in {self.seed}")
        for task in tasks:
            if task.get("workloads"):
                continue
            task["contract"] |= {
                "sample": chance.choice((0.4, 0.6, 1.0)),
                "sample_at_least": chance.choice((1, 2)),
                "score_within_s": float(chance.randint(5, 20)),
            }
            if task.get("aggregate", True):
                metric = chance.choice(("auc", "score.auc", "score.auc"))
                task |= {
                    "rounds": chance.randint(2, 4),
                    "score_every": chance.choice((1, 1, 2)),
                    "best": {"metric": metric, "mode": chance.choice(("max", "min"))},
                    "stop_early": {"metric": metric, "patience": chance.choice((1, 2))},
                }

    # chance

    def befalls(self, fault: str) -> bool:
        """Does this fault happen here and now?"""
        if self.calm or self.chance.random() >= self.rates[fault]:
            return False
        self.happened[fault] += 1
        return True

    def tell(self, text: str) -> None:
        """A line of the story that a failure prints."""
        self.story.append(f"{(self.micros - START) / SECOND:9.4f} {text}")

    # time

    def after(self, seconds: float, process: Process) -> None:
        """The process's next turn."""
        at = self.micros + max(1, int(seconds * SECOND))
        heapq.heappush(self._due, (at, next(self._count), process, process.life))

    def run(self, drained: Any) -> None:
        """The storm, then the calm until `drained` says None instead of what is left."""
        for process in self.processes:
            process.begin()
        self._until(START + int(STORM_S * SECOND))
        self.calm = True
        self.tell("the storm is over")
        for process in self.processes:
            if not process.alive:
                process.begin()
        end = self.micros + int(CALM_S * SECOND)
        left: str | None = "everything"
        while left is not None:
            self._until(self.micros + SECOND)
            left = drained()
            if left is not None and self.micros > end:
                raise Broken(f"not drained {CALM_S:.0f} s after the last fault: {left}")

    def _until(self, end: int) -> None:
        while self._due and self._due[0][0] <= end:
            self._turn(self._next())
            self.restores.turn()
        self.micros = max(self.micros, end)

    def _next(self) -> tuple[Process, int]:
        at, _, process, life = heapq.heappop(self._due)
        self.micros = max(self.micros, at)
        return process, life

    def _turn(self, whose: tuple[Process, int]) -> None:
        process, life = whose
        if life != process.life:
            return
        if not process.alive:
            process.begin()
            return
        if process.busy:
            self.after(0.1, process)
            return
        process.busy = True
        self.light_fuse(process)
        try:
            pause = process.step()
        except Killed as killed:
            if killed.process is not process:
                raise
            pause = None
        finally:
            process.busy = False
            process.fuse = None
        if pause is not None and process.alive and process.life == life:
            self.after(pause, process)
        self.checker.check()

    # faults

    def light_fuse(self, process: Process) -> None:
        """This turn may end in death, or with its database cut off, at one of its next places."""
        process.fuse = None
        for fault in ("crash", "cut"):
            if self.befalls(fault) and (fault == "crash" or process.has_its_database_to_itself()):
                process.cutting = fault == "cut"
                process.fuse = self.chance.randint(1, self.chance.choice((4, 16, 64, 160)))
                return

    def kill(self, process: Process) -> None:
        """It dies, and comes back in a while."""
        self.tell(f"{process.name} dies")
        process.end()
        process.life += 1
        self.after(self.chance.uniform(*process.returns_within_s), process)

    def place(self, process: Process, name: str, *, cuttable: bool = False) -> None:
        """A place where a process can die. Raises `Killed`; at a statement, also what a lost database raises."""
        self.micros += 20
        name = f"{process.kind}: {name}"
        self.places[name] += 1
        if self._is_bad(name) and self.died_at[name] < self.deadly and self.befalls("bad place"):
            self._die(process, name)
        if process.fuse is None:
            return
        process.fuse -= 1
        if process.fuse > 0:
            return
        if process.cutting and not cuttable:
            return
        process.fuse = None
        if process.cutting:
            self.tell(f"{process.name} loses its database, {name}")
            assert process.database is not None
            cut_off(process.database)
            raise sqlite3.OperationalError("the connection was lost")
        self._die(process, name)

    def _die(self, process: Process, name: str) -> NoReturn:
        self.died_at[name] += 1
        self.tell(f"{name}:")
        self.kill(process)
        raise Killed(process)

    def _is_bad(self, name: str) -> bool:
        """A few places of each seed are bad: who comes by often dies there. Over many seeds, each place is.

        Where nobody came by for long, seldom anybody does: such places are bad more often.
        """
        if name not in self._bad:
            share = BAD if self.micros - START < SELDOM_S * SECOND else BAD_IF_SELDOM
            self._bad[name] = random.Random(f"{self.seed} {name}").random() < share
        return self._bad[name]

    def at_statement(self, process: Process, when: str, sql: str) -> None:
        """Before and after every statement of every process."""
        place = place_of(sql)
        if place:
            self.place(process, f"{when} {place}", cuttable=place != "ROLLBACK")
        elif process.fuse is not None and process.cutting:
            self.place(process, "reading", cuttable=True)
        if when == "before" and self._depth < DEEPEST and self.befalls("stand still"):
            self._stand_still(process)

    def _stand_still(self, process: Process) -> None:
        """Others take their turns while this one is in the midst of a statement."""
        turns = self.chance.choice((1, 3, 10, 40))
        self.tell(f"{process.name} stands still for {turns} turns")
        life, fuse, cutting = process.life, process.fuse, process.cutting
        self._depth += 1
        try:
            began = self.micros
            for _ in range(turns):
                if self._due and self.micros - began < LONGEST_STILL_S * SECOND:
                    self._turn(self._next())
        finally:
            self._depth -= 1
        if process.life != life or not process.alive:
            raise Killed(process)
        process.fuse, process.cutting = fuse, cutting

    def let_others(self, process: Process, seconds: float, done: Callable[[], bool]) -> None:
        """They take turns while this one waits in the midst of its own, so long at most. Raises `Killed`."""
        assert not self.waited_for, "one waits at a time"
        life, fuse, cutting = process.life, process.fuse, process.cutting
        end = self.micros + max(1, int(seconds * SECOND))  # what is left of a wait may be less than a microsecond
        self.waited_for = True
        try:
            while not done() and self._due and self._due[0][0] <= end:
                self._turn(self._next())
        finally:
            self.waited_for = False
        if not done():
            self.micros = max(self.micros, end)
        if process.life != life or not process.alive:
            raise Killed(process)
        process.fuse, process.cutting = fuse, cutting
