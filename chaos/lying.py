"""Lies that real agents are told for a while, by a proxy between them and the hub; and what must not come of them.

Each agent is behind a proxy of its own all the time. It edits answers only while it lies, and always looks at what the
agent sends: nothing may be trained or aggregated of which the agent was last told a lie.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from chaos.faults import SOON, Fault, Undo
from chaos.liar import Asked, Forward, Liar, Told
from chaos.lies import OK, Json, entries
from chaos.stack import CLOCK
from config.clock import Micros
from fedyard.wire.plurals import counted

LIE_S = 15.0
NAMED_WITHIN_S = 60.0
"""So long a lie that was told goes on until the agent has said what it thinks of it."""
LOOK_EVERY_S = 0.5
NOWHERE = "99999999-0000-4000-8000-000000000000"
LARGEST = 2**53 - 1
"""What a number on the wire may be at most."""

Place = tuple[str, int, int]
"""Run, task, round."""
_SUBMITTED = re.compile(r"/v1/runs/([^/]+)/tasks/(\d+)/seats/[^/]+")
_AGGREGATED = re.compile(r"/v1/runs/([^/]+)/tasks/(\d+)/rounds/(\d+)/aggregated")


@dataclass(frozen=True)
class Lie:
    """named: the agent logs a line of one of these kinds. about: entries of this kind are not what the hub said.

    refused: what such an entry asks for must not be done. change: the entry as it is told; the same, if it is no
    occasion for this lie.
    """

    name: str
    agent: str
    about: str
    named: frozenset[str]
    change: Callable[[Json], Json]
    refused: bool = True

    def __str__(self) -> str:
        return self.name


def _task(entry: Json, **fields: object) -> Json:
    facts = entry["facts"]
    return {**entry, "facts": {**facts, "task": {**facts["task"], **fields}}}


def _another_task(entry: Json) -> Json:
    parameters = entry["facts"]["task"].get("parameters") or {}
    return _task(entry, parameters={**parameters, "learning_rate": 0.0001})


def _another_coordinator(entry: Json) -> Json:
    return {**entry, "facts": {**entry["facts"], "coordinator_site_id": NOWHERE}}


def _listing(change: Callable[[list[Json]], list[Json]]) -> Callable[[Json], Json]:
    """The updates that the coordinator is to aggregate; one is said to be enough."""

    def changed(entry: Json) -> Json:
        listed = entry["facts"]["submissions"]
        found = change(listed)
        return entry if found == listed else {**entry, "facts": {**entry["facts"], "submissions": found, "quorum": 1}}

    return changed


_NOT_SERVED, _REFUSED = frozenset({"not served"}), frozenset({"aggregation refused"})


def lies(precious: Path) -> list[Lie]:
    """All of them. precious: a folder that must stay as it is."""
    return [
        Lie("a stranger's project", "east", "invited", _NOT_SERVED, lambda entry: {**entry, "project_id": NOWHERE}),
        Lie("another coordinator", "east", "invited", _NOT_SERVED, _another_coordinator),
        Lie("another task", "east", "invited", frozenset({"our update was not used"}), _another_task, refused=False),
        Lie(
            "a path for an id",
            "east",
            "run_ended",
            frozenset({"entry not understood"}),
            lambda entry: {**entry, "run_id": str(precious)},
            refused=False,
        ),
        Lie(
            "a number beyond belief",
            "east",
            "task_ended",
            frozenset({"entry beyond belief"}),
            lambda entry: {**entry, "seq": LARGEST},
            refused=False,
        ),
        Lie("a list of one", "north", "aggregate", _REFUSED, _listing(lambda listed: listed[:1])),
        Lie("a list with doubles", "north", "aggregate", _REFUSED, _listing(lambda listed: [*listed, *listed[:1]])),
    ]


@dataclass
class Lied:
    """One that was told, or would have been. count: how often; named: the agent said so; ended_at: 0 while it lasts."""

    lie: Lie
    count: int = 0
    named: bool = False
    ended_at: Micros = 0


@dataclass
class Between:
    """What stands between one agent and the hub. liar: its proxy. believed: what it did, and must not have."""

    agent: str
    liar: Liar
    believed: list[str] = field(default_factory=list)
    submitted_at: Micros = 0
    """When the hub took an update of this agent last."""
    _lied: Lied | None = None
    _false: dict[Place, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.liar.rules = [self._watch, entries(self._told)]

    def begin(self, lied: Lied) -> None:
        with self._lock:
            self._lied = lied

    def end(self) -> None:
        with self._lock:
            self._lied = None

    @property
    def aggregated_falsely(self) -> Iterator[str]:
        """Runs whose last call to aggregate was a lie: none of them may have succeeded."""
        return (run for (run, _, _), about in self._false.items() if about == "aggregate")

    def _told(self, entry: Json) -> Json:
        """An entry as the agent gets it."""
        with self._lock:
            lied = self._lied
            if entry["kind"] not in ("invited", "aggregate") and (lied is None or entry["kind"] != lied.lie.about):
                return entry
            lies = lied is not None and entry["kind"] == lied.lie.about
            told = lied.lie.change(entry) if lied is not None and lies else entry
            place = (entry["run_id"], entry["task_seq"], entry["round"])
            if lied is not None and told is not entry:
                lied.count += 1
                if lied.lie.refused:
                    self._false[place] = entry["kind"]
            else:
                self._false.pop(place, None)  # the truth, perhaps at last
            return told

    def _watch(self, asked: Asked, forward: Forward) -> Told:
        """What the agent sends."""
        with self._lock:
            place = submission_in(asked) or model_in(asked)
            if place in self._false:
                self.believed.append(f"{self.agent} sent what {asked.path} wants, of which it was told a lie")
        told = forward(asked)
        if submission_in(asked) is not None and told.status in OK:
            self.submitted_at = CLOCK.now()
        return told


def submission_in(asked: Asked) -> Place | None:
    """Of which round this is an update."""
    found = _SUBMITTED.fullmatch(asked.path)
    if found is None or asked.method != "PUT" or b'"submit"' not in asked.body:
        return None
    body = msgspec.json.decode(asked.body, type=dict[str, Any])
    return (found[1], int(found[2]), int(body["round"])) if body.get("event") == "submit" else None


def model_in(asked: Asked) -> Place | None:
    """Of which round this is a model."""
    found = _AGGREGATED.fullmatch(asked.path)
    if found is None or "failure" in msgspec.json.decode(asked.body, type=dict[str, Any]):
        return None
    return found[1], int(found[2]), int(found[3])


def said(log: Path, agent: str, start: int) -> set[str]:
    """Kinds of the lines that an agent wrote behind that place of the agents' common log."""
    with log.open("rb") as lines:
        lines.seek(start)
        found = set()
        for line in lines:
            head, _, line_said = line.partition(b"| ")
            begin, end = line_said.find(b"{"), line_said.rfind(b"}")
            if agent.encode() in head and 0 <= begin < end:
                try:
                    found.add(str(msgspec.json.decode(line_said[begin : end + 1], type=dict[str, Any]).get("what")))
                except msgspec.DecodeError:
                    continue
        return found


class Lying:
    """The faults, one for each agent, and what came of them. log: of the agents."""

    def __init__(self, between: Mapping[str, Between], folder: Path, log: Path, say: Callable[[str], None]) -> None:
        self.between, self.log, self.say = between, log, say
        self.history: list[Lied] = []
        self.precious = folder / "precious"
        self.precious.mkdir()
        (self.precious / "file").write_text("kept\n")
        self._lies = lies(self.precious)
        self._left: dict[str, list[Lie]] = {}

    def faults(self) -> Sequence[Fault]:
        return [Fault("lie", name, "", partial(self._begin, name), LIE_S, within=SOON) for name in self.between]

    def believed(self) -> list[str]:
        """What came of lies and must not have."""
        found = [sentence for between in self.between.values() for sentence in between.believed]
        if not (self.precious / "file").is_file():
            found.append(f"{self.precious} was deleted")
        return found

    def not_named(self) -> list[str]:
        return [
            f"{lied.lie.agent} did not say that it was told {lied.lie.name}, {counted(lied.count, 'time')}"
            for lied in self.history
            if lied.count and not lied.named
        ]

    def waiting_for(self) -> list[str]:
        """Agents of which no update was taken since they were lied to."""
        return [
            name
            for name, between in self.between.items()
            if any(lied.lie.agent == name and between.submitted_at <= lied.ended_at for lied in self.history)
        ]

    def _begin(self, agent: str, chance: random.Random) -> Undo:
        left = self._left.setdefault(agent, [])
        if not left:
            left += chance.sample(mine := [lie for lie in self._lies if lie.agent == agent], len(mine))
        lied = Lied(left.pop())
        self.history.append(lied)
        self.say(f"{agent} is told {lied.lie.name}")
        start = self.log.stat().st_size
        self.between[agent].begin(lied)
        return lambda: self._end(lied, start)

    def _end(self, lied: Lied, start: int) -> None:
        """The truth again, once the agent has said what it thinks of what it was told."""
        end = CLOCK.monotonic() + NAMED_WITHIN_S
        try:
            while not lied.named and CLOCK.monotonic() < end:
                lied.named = bool(said(self.log, lied.lie.agent, start) & lied.lie.named)
                CLOCK.sleep(LOOK_EVERY_S)
        finally:
            self.between[lied.lie.agent].end()
            lied.ended_at = CLOCK.now()
