"""A cluster that workloads run on in a simulation: what really happens there, and how little of it is seen.

Each object's fate is drawn when it is made, from its name alone: when it starts, how it ends. Calls fail before they
have an effect and after it, or take effect after their caller has given up; lists are late; for spans nothing answers.
In the calm nothing of that happens. Drawn by a chance of its own, as restores are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.ids import derive
from domain.workloads import owner_of
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.cluster.port import AttemptId, Evidence, Observed, Phase, Reason, Refused, Spec, Unavailable
from fedyard.wire.times import SECOND
from tests.simulation.world import START, Broken

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

NAME = "hub"
EVERY, FIRST, FIRST_OF_STREAMS = 8, 6, 3
"""Seeds in which workloads run: counted rather than drawn, so that all others are the histories that they were. In the
latter only the jobs of deployments do, and those at the hub alone."""
PLAYED = {ENROLMENT_TOKEN, "RESULT_URL"}
"""Secrets of those whose programs are played."""
KEY = b"workloads of a simulation".ljust(32, b"\0")
OWNER = owner_of(KEY)
STRANGER = derive("another hub", "owner")
LATE_S = 1.5
"""A list is older than this never. Less than what plan.py lets a cluster be late."""
FILES_KEPT_S = 10
"""So long after a project was archived its files are kept."""
AFTERWARDS_S = 0.5
"""So long after its caller has given up a call may still have its effect."""
_NEVER = 10**18
_AT_ONCE = (Reason.COMMAND_NOT_FOUND, Reason.CONFIG_INVALID)
_LATER = (
    *(Reason.NONE,) * 8,
    Reason.EXIT_CODE,
    Reason.OUT_OF_MEMORY,
    Reason.EVICTED,
    Reason.EVICTED,
    Reason.NODE_LOST,
    Reason.NAMESPACE_GONE,
    Reason.SIGNALLED,
    Reason.VANISHED,
    Reason.VANISHED,
)
_HELD_UP = (Reason.IMAGE_NOT_PULLED, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED)


@dataclass
class Object:
    """One attempt that was made, all of its life. Times in microseconds; ended: NONE is well.

    stop_at: when its end was asked for. removed_at: when nothing of it was there any more. by: what removed it.
    begun: its program is played (programs.py).
    """

    spec: Spec
    uid: str
    made_at: int
    starts_at: int
    runs_at: int
    ends_at: int
    ended: Reason
    held_up: Reason
    replicas: int
    stop_at: int = _NEVER
    removed_at: int = _NEVER
    by: str = ""
    begun: bool = False

    @property
    def over_at(self) -> int:
        """From when on its program runs no more."""
        return min(self.ends_at, self.removed_at)

    def runs(self, at: int) -> bool:
        """Does its program?"""
        return self.runs_at <= at < self.over_at

    def ran(self, at: int) -> bool:
        """Has its program ever, by now?"""
        return self.runs_at <= min(at, self.over_at)

    def dies(self, at: int, reason: Reason) -> None:
        """Its program ends now."""
        if self.runs(at):
            self.ends_at, self.ended = at, reason

    def there(self, at: int) -> bool:
        return self.made_at <= at < self.removed_at

    def phase(self, at: int) -> Phase:
        if at >= min(self.ends_at, self.stop_at):
            return Phase.SUCCEEDED if self.ends_at <= self.stop_at and self.ended == Reason.NONE else Phase.FAILED
        return Phase.RUNNING if at >= self.runs_at else Phase.STARTING

    def reason(self, at: int) -> Reason:
        phase = self.phase(at)
        if phase == Phase.FAILED:
            return self.ended if self.ends_at <= self.stop_at else Reason.SIGNALLED
        return self.held_up if phase == Phase.STARTING and at >= self.starts_at else Reason.NONE

    def log(self, at: int) -> bytes:
        """A line for each second that it ran."""
        ran = max(0, min(at, self.ends_at, self.stop_at) - self.runs_at) // SECOND
        return b"".join(b"%d %s\n" % (n, self.uid.encode()) for n in range(min(ran, 200)))

    def seen(self, at: int) -> Observed:
        phase, running = self.phase(at), at >= self.runs_at
        over = phase in (Phase.SUCCEEDED, Phase.FAILED)
        return Observed(
            id=self.spec.id,
            attempt=self.spec.attempt,
            place=self.spec.place,
            phase=phase,
            uid=self.uid,
            reason=self.reason(at),
            exit_code=None if not over else 0 if phase == Phase.SUCCEEDED else 1,
            ready=self.replicas if phase == Phase.RUNNING else 0,
            replicas=self.replicas,
            stopping=at >= self.stop_at,
            created_s=self.made_at / SECOND,
            started_s=self.runs_at / SECOND if running else None,
            ended_s=min(self.ends_at, self.stop_at) / SECOND if over else None,
        )


class SimulatedCluster:
    """name: as workloads say where they run. owner: whose workloads those of this world are.

    on: whether this seed has it. objects: all that was ever made. refused: attempts that it would not make. places:
    owner and project, until when something of it is there. volumes: those with files that are to outlive workloads.
    """

    def __init__(self, world: World, name: str = NAME, owner: str = OWNER) -> None:
        self._world = world
        self.name, self.owner = name, owner
        whose = "" if name == NAME else f"{name} of "
        self._chance = random.Random(f"cluster of {whose}{world.seed}")
        self.on = world.seed % EVERY == FIRST or (name == NAME and world.seed % EVERY == FIRST_OF_STREAMS)
        self._rate = self._chance.choice((0.0, 0.05, 0.2))
        self._late_s = self._chance.choice((0.0, 0.5, LATE_S))
        self._away_until = 0
        self._looked_at = 0
        self._refusals = 0
        self.objects: list[Object] = []
        self.refused: set[tuple[str, int, Reason]] = set()
        self.places: dict[tuple[str, str], int] = {}
        self.volumes: set[tuple[str, str]] = set()
        if self.on:
            self.left_behind = [self._left_behind(owner), self._left_behind(STRANGER)]

    def of(self, process: Process) -> View:
        """As this process calls it."""
        return View(self._world, self, process)

    def attempts(self, ident: str, attempt: int) -> list[Object]:
        return [one for one in self.objects if (one.spec.id, one.spec.attempt) == (ident, attempt)]

    def living(self, owner: str | None = None) -> list[Object]:
        """What is there now, of this world's or of another owner."""
        owner = self.owner if owner is None else owner
        return [one for one in self.objects if one.spec.owner == owner and one.there(self._world.micros)]

    def _left_behind(self, owner: str) -> Object:
        """By a history that is gone, or by somebody else: it runs, and no record knows it."""
        name = f"left behind by {owner}"
        spec = Spec(owner=owner, place=derive(name, "place"), id=derive(name, "id"), attempt=1, kind="job", image="any")
        one = Object(spec, name, START, START, START, _NEVER, Reason.NONE, Reason.NONE, 1)
        self.objects.append(one)
        return one

    # what calls do

    def befalls(self) -> bool:
        return not self._world.calm and self._chance.random() < self._rate

    def check_away(self) -> None:
        now = self._world.micros
        if self.befalls() and self._chance.random() < 0.2:
            self._away_until = now + int(self._chance.uniform(0.5, 5) * SECOND)
            self._world.tell("the cluster is away")
        if now < self._away_until and not self._world.calm:
            self._world.happened["cluster away"] += 1
            raise Unavailable("it does not answer")

    def late_s(self) -> float:
        return self._chance.uniform(0, AFTERWARDS_S)

    def looked_from(self) -> int:
        """The moment that a list is of: perhaps an earlier one, but never before that of the list before."""
        lag_s = 0.0 if self._world.calm else self._late_s * self._chance.uniform(0.5, 1)
        self._looked_at = max(self._looked_at, self._world.micros - int(lag_s * SECOND))
        return self._looked_at

    def make(self, spec: Spec, at: int) -> Object:
        """It, or what is there under its name."""
        before = self.attempts(spec.id, spec.attempt)
        for one in before:
            if one.spec.owner == spec.owner and one.removed_at > at:
                one.made_at = min(one.made_at, at)
                return one
        place = (spec.owner, spec.place)
        if at < self.places.get(place, 0) < _NEVER:
            raise Unavailable("its place is about to go")
        name = f"{self._world.seed} {spec.id} {spec.attempt} {len(before)}"
        fate = random.Random(f"{name} {self._refusals}")
        if not before and fate.random() < 0.1:
            reason = fate.choice((Reason.IMAGE_UNUSABLE, Reason.CONFIG_INVALID, Reason.QUOTA_EXCEEDED))
            if reason != Reason.QUOTA_EXCEEDED or not self._world.calm:
                self._refusals += 1
                self.refused.add((spec.id, spec.attempt, reason))
                raise Refused(reason, "it would not")
        one = self._fated(random.Random(name), spec, f"uid-{len(self.objects)}", at)
        self._world.checker.may_be_made(one, before)
        self.objects.append(one)
        self.places[place] = _NEVER
        if spec.volume is not None:
            self.volumes.add(place)
        self._world.tell(f"the cluster makes {spec.kind} {spec.id} attempt {spec.attempt}: {one.ended or 'well'}")
        return one

    def _fated(self, fate: random.Random, spec: Spec, uid: str, at: int) -> Object:
        starts = at + int(fate.uniform(0, 1) * SECOND)
        held_up = fate.choice(_HELD_UP) if fate.random() < 0.2 else Reason.NONE
        spans = (1, 5) if held_up == Reason.NONE else (5, 30)
        runs = starts + int(fate.uniform(*spans) * SECOND)
        ended = fate.choice(_LATER) if spec.kind == "job" or fate.random() < 0.3 else Reason.NONE
        ends = runs + int(fate.choice((0.1, 2, 6, 20)) * fate.uniform(0.5, 1.5) * SECOND)
        if ended == Reason.NONE and (spec.kind == "service" or fate.random() < 0.2):
            ends = _NEVER
        if PLAYED & spec.secrets.keys() and fate.random() < 0.6:  # it takes part until it is stopped
            ended, ends = Reason.NONE, _NEVER
        if fate.random() < 0.07:
            ended, ends = fate.choice(_AT_ONCE), runs
        if spec.kind == "job" and held_up == Reason.NONE and fate.random() < 0.25:  # it is done before anybody looks
            starts = at
            runs, ends = at + int(0.1 * SECOND), at + int(fate.uniform(0.2, 0.5) * SECOND)
        made = Object(spec, uid, at, starts, runs, ends, ended, held_up, spec.replicas)
        if ended == Reason.VANISHED:
            made.removed_at, made.ends_at, made.by = ends, _NEVER, "luck"
        return made

    def end(self, which: AttemptId, at: int) -> bool:
        """True if nothing of it is there."""
        here = [
            one for one in self.attempts(which.id, which.attempt) if one.spec.owner == which.owner and one.there(at)
        ]
        for one in here:
            if one.stop_at == _NEVER:
                self._world.checker.may_be_removed(one, at)
                one.stop_at = at
                lingers_s = self._chance.choice((0.0, 0.0, 0.3, 2.0, 6.0))
                if at + int(lingers_s * SECOND) < one.removed_at:
                    one.removed_at, one.by = at + int(lingers_s * SECOND), "stop"
        return not any(one.there(at) for one in here)

    def remove_place(self, owner: str, place: str, at: int) -> bool:
        """True if nothing of it is there."""
        until = self.places.get((owner, place), 0)
        if until == _NEVER:
            self._world.checker.place_may_go(self, owner, place, at)
            until = at + int(self._chance.choice((0.0, 0.3, 4.0)) * SECOND)
            self.places[owner, place] = until
            for one in self.living(owner):
                if one.spec.place == place and until < one.removed_at:
                    one.removed_at, one.by = until, "place"
        if at < until:
            return False
        self.volumes.discard((owner, place))
        return True

    def places_of(self, owner: str) -> set[str]:
        """Of which something is there now."""
        return {place for (whose, place), until in self.places.items() if whose == owner and self._world.micros < until}


class View:
    """The port, for one process. It may die before a call and after it."""

    def __init__(self, world: World, cluster: SimulatedCluster, process: Process) -> None:
        self._world = world
        self._cluster = cluster
        self._process = process

    def missing(self) -> list[str]:
        self._before()
        return []

    def ensure(self, spec: Spec) -> Observed:
        self._before()
        if self._cluster.befalls():  # nobody hears of it, and it may happen a little later
            self._cluster.make(spec, self._world.micros + int(self._cluster.late_s() * SECOND))
            raise Unavailable("no answer")
        one = self._cluster.make(spec, self._world.micros)
        self._after()
        return one.seen(max(one.made_at, self._world.micros))

    def observe(self, owner: str) -> list[Observed]:
        self._before()
        at = self._cluster.looked_from()
        return [one.seen(at) for one in self._cluster.objects if one.spec.owner == owner and one.there(at)]

    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        self._before()
        now = self._world.micros
        for one in self._cluster.attempts(which.id, which.attempt):
            if one.there(now):
                self._after()
                return Evidence(log=one.log(now)[-log_bytes:], events=[f"made {one.uid}"])
        return Evidence()

    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        raise Broken(f"nobody reads the log of {which} from byte {after} on, {most} at most")

    def scale(self, which: AttemptId, replicas: int) -> None:
        self._before()
        for one in self._cluster.attempts(which.id, which.attempt):
            if one.there(self._world.micros):
                one.replicas = replicas
        self._after()

    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        assert grace_s >= 0
        self._before()
        gone = self._cluster.end(which, self._world.micros)
        self._after()
        return gone

    def remove_place(self, owner: str, place: str) -> bool:
        self._before()
        gone = self._cluster.remove_place(owner, place, self._world.micros)
        self._after()
        return gone

    def wait(self, seconds: float) -> None:
        """Nobody waits in one thread."""

    def close(self) -> None:
        """Nothing is held."""

    def _before(self) -> None:
        self._world.place(self._process, "before a call to the cluster")
        self._cluster.check_away()
        if self._cluster.befalls():
            raise Unavailable("it was never asked")

    def _after(self) -> None:
        self._world.place(self._process, "after a call to the cluster")
        if self._cluster.befalls():
            raise Unavailable("it was done, and nobody hears of it")
