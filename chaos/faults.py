"""What can happen to the parts, each for a while and then no more; and the order in which it does."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from chaos.flood import Flood
from chaos.links import Link
from chaos.stack import Running, Server, Stack, children_of, group_of
from config.clock import Clock, Micros, wait_for
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from ops.place import CHECKOUT

FREEZE_S = 10.0
CUT_S = 10.0
FULL_S = 10.0
LIFE_S = 10.0
"""RabbitMQ 3.10 that is killed sooner after it came up can lose a queue (docs/limits.md)."""
FILL_S = 4.0
"""So long a decider takes commands in without being able to decide one, until it is killed with all of them."""
FLOOD_S = 10.0
WRONG_CLOCK_S = 15.0
ASTRAY_S = (691_200, -691_200, 45)
AT_ONCE = 2
SOON = 8
"""Among so many faults at the beginning are those that no test shall be without."""
EVERY_S = (1.5, 5.0)
"""From one fault's beginning to the next one's, if there is room for it."""

Undo = Callable[[], None]


class NotNow(Exception):
    """The part is down at the moment; another fault shall have the turn."""


@dataclass(frozen=True)
class Fault:
    """does: begins it and says how it ends; `seconds` lie in between. part: who cannot take another one meanwhile.

    component: whose recovery is measured. rest_s: how long the part is left alone afterwards. alone: nothing else lasts
    meanwhile. within: it is among the first so many, so that a short test has it, too.
    """

    kind: str
    part: str
    component: str
    does: Callable[[random.Random], Undo]
    seconds: float = 0.0
    rest_s: float = 2.0
    alone: bool = False
    within: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.part}"


@dataclass
class Injected:
    """One that happened. ended_at: 0 while it lasts."""

    kind: str
    part: str
    component: str
    at: Micros
    ended_at: Micros = 0
    error: str = ""


@dataclass
class Conductor:
    """Injects faults from a shuffled deck, `AT_ONCE` at a time, no two of one part."""

    deck: Sequence[Fault]
    chance: random.Random
    clock: Clock
    say: Callable[[str], None]
    history: list[Injected] = field(default_factory=list)
    _busy: set[str] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float) -> None:
        """Until the time is over and every fault has ended."""
        end = self.clock.monotonic() + seconds
        waiting = self._first()
        try:
            while (left := end - self.clock.monotonic()) > 0:
                if len(waiting) < len(self.deck):
                    waiting += self.chance.sample(list(self.deck), len(self.deck))
                if self._room.acquire(timeout=min(left, 1.0)):
                    self._begin(waiting)
                self.clock.sleep(min(max(end - self.clock.monotonic(), 0), self.chance.uniform(*EVERY_S)))
        finally:
            self.end()

    def _first(self) -> list[Fault]:
        """The deck, shuffled, with what shall come soon near its top."""
        first = self.chance.sample(list(self.deck), len(self.deck))
        others = [fault for fault in first if not fault.within]
        for fault in sorted((one for one in first if one.within), key=lambda one: one.within or 0, reverse=True):
            others.insert(self.chance.randrange(min(fault.within or 0, len(others) + 1)), fault)
        return others

    def end(self) -> None:
        """End what lasts, now."""
        self._ending.set()
        for thread in self._threads:
            thread.join(300)

    def _begin(self, waiting: list[Fault]) -> None:
        with self._lock:
            fault = next((one for one in waiting if one.part not in self._busy), None)
            if fault is None:
                self._room.release()
                return
            waiting.remove(fault)
            self._busy.add(fault.part)
        for _ in range(AT_ONCE - 1 if fault.alone else 0):
            self._room.acquire()
        chance = random.Random(self.chance.random())
        thread = threading.Thread(target=self._inject, args=(fault, chance), name=str(fault))
        self._threads.append(thread)
        thread.start()

    def _inject(self, fault: Fault, chance: random.Random) -> None:
        happened = Injected(fault.kind, fault.part, fault.component, self.clock.now())
        try:
            undo = fault.does(chance)
            self.say(f"{fault}")
            self.history.append(happened)
            try:
                wait_for(self._ending, fault.seconds)
            finally:
                undo()
        except NotNow:
            happened.error = ""
        except Exception as error:  # noqa: BLE001 - the table shows it, and the test fails by it
            happened.error = f"{fault}: {type(error).__name__}: {error}"
            self.say(happened.error)
            self.history.append(happened)
        finally:
            happened.ended_at = self.clock.now()
            self._room.release(AT_ONCE if fault.alone else 1)
            wait_for(self._ending, fault.rest_s)
            with self._lock:
                self._busy.discard(fault.part)


def deck_of(
    stack: Stack, agents: Running, site_links: Sequence[tuple[str, Link]], flood: Flood, others: Sequence[Fault]
) -> list[Fault]:
    """Every fault once; of a cluster those that are about it, the kill of a queue's leader most of all."""
    if len(stack.rabbitmq) > 1:
        leader = [fault for fault in _rabbitmq(stack) for _ in range(3 if fault.kind == "kill" else 1)]
        hub = _processes(stack.hub, {name: name for name in ("web", "decider", "decider-2", "relay")})
        return [
            *leader,
            *hub,
            *_full_hands(stack),
            *(cut for cut in _cuts(stack) if cut.component in ("web", "decider")),
        ]
    return [
        *_processes(stack.hub, {name: name for name in stack.names}),
        *_full_hands(stack),
        *_processes(agents, {"east": "site agent", "north": "coordinator's agent"}),
        *_postgres(stack),
        *_rabbitmq(stack),
        *_cuts(stack),
        _wrong_clock(stack),
        Fault("flood", "web caller", "", partial(_flooding, flood), FLOOD_S),
        *others,
        *(_cut(f"{name} > hub", link, component) for name, link in site_links for component in ("site agent",)),
    ]


def _processes(running: Running, components: dict[str, str]) -> Iterator[Fault]:
    for name, component in components.items():
        component = component.removesuffix("-2")  # noqa: PLW2901 - a stand-by does the same
        kill = _killing(running, name, any_of_them=component == "web")
        yield Fault("kill", name, component, kill, within=1 if name == "decider" else None)
        yield Fault("freeze", name, component, _freezing(partial(_group, running, name)), FREEZE_S)


def _full_hands(stack: Stack) -> Iterator[Fault]:
    """A decider that is killed when it has nothing to do, as mostly, has nothing to lose: let it gather something."""
    for name in ("decider", "decider-2"):
        yield Fault("kill, hands full", name, "decider", _filling(stack, name), FILL_S)


def _filling(stack: Stack, name: str) -> Callable[[random.Random], Undo]:
    link, kill = stack.links[f"{name} > postgres"], _killing(stack.hub, name, any_of_them=False)

    def fill(chance: random.Random) -> Undo:
        _pid(stack.hub, name)
        link.silence()

        def undo() -> None:
            try:
                kill(chance)
            finally:
                link.cut()
                link.resume()

        return undo

    return fill


def _group(running: Running, name: str) -> Sequence[int]:
    return group_of(_pid(running, name))


def _pid(running: Running, name: str) -> int:
    pid = running.pid(name)
    if pid is None:
        raise NotNow
    return pid


def _killing(running: Running, name: str, *, any_of_them: bool) -> Callable[[random.Random], Undo]:
    """kill -9 for the process itself, or for any of its own: granian has a worker beside its master."""

    def kill(chance: random.Random) -> Undo:
        group = group_of(_pid(running, name))
        if not group:
            raise NotNow
        _signal(chance.choice(group) if any_of_them else group[0], signal.SIGKILL)
        return _nothing

    return kill


def _freezing(pids: Callable[[], Sequence[int]]) -> Callable[[random.Random], Undo]:
    """SIGSTOP, and SIGCONT later. Should we be killed meanwhile, a shell thaws them."""

    def freeze(_chance: random.Random) -> Undo:
        frozen = list(pids())
        if not frozen:
            raise NotNow
        thaw = f"sleep {FREEZE_S + 5:g}; kill -CONT {' '.join(map(str, frozen))} 2>/dev/null"
        rescuer = subprocess.Popen(["sh", "-c", thaw], start_new_session=True)
        for pid in frozen:
            _signal(pid, signal.SIGSTOP)

        def undo() -> None:
            for pid in frozen:
                _signal(pid, signal.SIGCONT)
            with suppress(ProcessLookupError):
                os.killpg(rescuer.pid, signal.SIGKILL)
            rescuer.wait()

        return undo

    return freeze


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _nothing() -> None:
    pass


# PostgreSQL


def _postgres(stack: Stack) -> Iterator[Fault]:
    server, thread = stack.postgres, stack.postgres_thread
    yield Fault("kill", "postgres", "postgres", _restarting_postgres(server, thread))
    yield Fault("freeze", "postgres", "postgres", _freezing(lambda: _postgres_pids(server)), FREEZE_S)
    disk = stack.disk
    if disk is None:
        return

    def full(_chance: random.Random) -> Undo:
        disk.fill()

        def undo() -> None:
            disk.free()
            if not server.pids:  # it ends when it cannot write its log; whoever looks after it starts it again
                thread.do(server.start)

        return undo

    yield Fault("disk full", "postgres", "postgres", full, FULL_S)


def _postgres_pids(server: PrivatePostgres) -> list[int]:
    return [pid for leader in server.pids for pid in (leader, *children_of(leader))]


def _restarting_postgres(server: PrivatePostgres, thread: Server) -> Callable[[random.Random], Undo]:
    def kill(_chance: random.Random) -> Undo:
        server.kill()
        return lambda: thread.do(server.start)

    return kill


# RabbitMQ


def _rabbitmq(stack: Stack) -> Iterator[Fault]:
    thread = stack.rabbitmq_thread

    def one(chance: random.Random) -> PrivateRabbitmq:
        """In a cluster the node that leads the queue of runs or of messages."""
        return stack.leader_of(chance.choice(("runs.v1", "messages.v1")))

    def kill(chance: random.Random) -> Undo:
        node = one(chance)
        node.kill()
        return lambda: thread.do(node.start)

    yield Fault("kill", "rabbitmq", "rabbitmq", kill, rest_s=LIFE_S)

    def freeze(chance: random.Random) -> Undo:
        node = one(chance)
        return _freezing(lambda: node.pids[:1])(chance)

    yield Fault("freeze", "rabbitmq", "rabbitmq", freeze, FREEZE_S, rest_s=LIFE_S)

    def alarm(begin: Sequence[str], end: Sequence[str]) -> Callable[[random.Random], Undo]:
        def set_off(chance: random.Random) -> Undo:
            node = one(chance)
            node.ctl(*begin)

            def undo() -> None:
                node.ctl(*end)

            return undo

        return set_off

    memory = alarm(
        ["set_vm_memory_high_watermark", "absolute", "1MB"], ["set_vm_memory_high_watermark", "absolute", "1GB"]
    )
    yield Fault("memory alarm", "rabbitmq", "rabbitmq", memory, FULL_S, rest_s=LIFE_S)
    disk = alarm(["set_disk_free_limit", "100000GB"], ["set_disk_free_limit", "50MB"])
    yield Fault("disk full", "rabbitmq", "rabbitmq", disk, FULL_S, rest_s=LIFE_S)


# people and machines


def _flooding(flood: Flood, _chance: random.Random) -> Undo:
    flood.start()
    return flood.stop


def _wrong_clock(stack: Stack) -> Fault:
    """Another ticker, on a machine whose clock is days off, while those that lead die: it must not lead."""

    def begin(chance: random.Random) -> Undo:
        ahead_s = chance.choice(ASTRAY_S)
        line = (
            f". {shlex.quote(str(stack.environment_of('ticker')))} && exec {sys.executable} -m chaos.astray {ahead_s}"
        )
        with (stack.folder / "astray.log").open("ab") as said:
            ticker = subprocess.Popen(
                ["sh", "-c", line], cwd=CHECKOUT, env=dict(stack.environment), stdout=said, stderr=said
            )
        for name in ("ticker", "ticker-2"):
            with suppress(NotNow):
                _signal(_pid(stack.hub, name), signal.SIGKILL)

        def undo() -> None:
            ticker.kill()
            ticker.wait()

        return undo

    return Fault("wrong clock", "another ticker", "", begin, WRONG_CLOCK_S)


# the network


def _cuts(stack: Stack) -> Iterator[Fault]:
    for name, link in stack.links.items():
        source, _, target = name.partition(" > ")
        component = source.removesuffix("-2")
        if component in ("bridge", "doer", "relay", "ticker") and target.startswith("rabbitmq"):
            component = ""  # they go on without it, so there is nothing to measure
        yield _cut(name, link, component)


def _cut(name: str, link: Link, component: str) -> Fault:
    """Nothing passes for a while; then what was held back arrives late, or the connections are gone."""

    def cut(chance: random.Random) -> Undo:
        link.silence()
        late = chance.random() < 0.5

        def undo() -> None:
            if not late:
                link.cut()
            link.resume()

        return undo

    return Fault("cut off", name, component, cut, CUT_S)
