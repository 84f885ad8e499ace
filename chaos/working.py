"""Workloads under faults: their shims and programs as victims, and what is said of each attempt against its own books.

A program writes down when it begins and how it ends (program.sh, holder.py), in a file for each attempt that nobody
else writes. Pure but for what finds processes: books and the store's rows in, sentences out.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from chaos.compare import Store
from chaos.faults import SOON, Fault, NotNow, Undo
from config.clock import Clock, Micros
from fedyard.cluster.processes import Processes
from fedyard.wire.plurals import counted
from storage.database import Database

Key = tuple[str, int]
"""Workload and attempt."""
CLEARED_WITHIN_S = 20.0
LIVE = frozenset({"wanted", "starting", "running"})


@dataclass(frozen=True)
class Began:
    at: Micros
    pid: int


@dataclass(frozen=True)
class Program:
    """What one attempt's program wrote. ended: the code with which it ended by itself. told: it was asked to end."""

    began: Sequence[Began] = ()
    ended: int | None = None
    told: bool = False


@dataclass(frozen=True)
class Attempt:
    """A row of the store. log: of its evidence, None where there is none. holds: a seat of a run."""

    state: str
    reason: str = ""
    exit_code: int | None = None
    gone: bool = True
    log: bytes | None = None
    stopped: bool = False
    holds: bool = False


@dataclass(frozen=True)
class Working:
    """killed: attempts whose shim or program was killed. restores: from the begin of each backup until its hub was
    ready. running: programs that are there when all is over."""

    programs: Mapping[Key, Program]
    attempts: Mapping[Key, Attempt]
    killed: frozenset[Key] = frozenset()
    restores: Sequence[tuple[Micros, Micros]] = ()
    running: Sequence[Key] = ()


def findings(working: Working) -> dict[str, list[str]]:
    """Each zero of the table with the sentences that break it."""
    return {
        "programs run twice for an attempt": list(_twice(working)),
        "programs left running": [f"{_name(key)} runs still" for key in working.running],
        "workloads not final or not gone": list(_not_final(working)),
        "attempts that went otherwise than is said": list(_untrue(working)),
        "evidence lost": list(_without_evidence(working)),
    }


def _twice(working: Working) -> Iterator[str]:
    """But for what a restore took back: an attempt that was made in a history that is gone is wanted again."""
    for key, program in working.programs.items():
        times = sorted(one.at for one in program.began)
        for before, after in pairwise(times):
            if not any(before <= ready and after >= begun for begun, ready in working.restores):
                yield f"the program of {_name(key)} began {counted(len(times), 'time')}"
                break


def _not_final(working: Working) -> Iterator[str]:
    for key, one in working.attempts.items():
        if one.state in LIVE or not one.gone:
            yield f"{_name(key)} is {one.state}, and {'gone' if one.gone else 'not gone'}"


def _untrue(working: Working) -> Iterator[str]:
    """After a restore the hub may not know any more what it had ended and removed itself."""
    for key, one in working.attempts.items():
        program = working.programs.get(key, Program())
        match one.state:
            case "succeeded":
                is_so = program.ended == 0
            case "failed" if one.reason == "exit_code":
                is_so = (one.holds and bool(program.began)) or program.ended == one.exit_code
            case "failed" if one.reason == "signalled":
                is_so = key in working.killed
            case "failed" if one.reason == "deadline_passed":
                is_so = program.told and program.ended is None
            case "failed" if one.reason == "silent":
                is_so = one.holds
            case "stopped":
                is_so = one.stopped
            case "lost":
                is_so = key in working.killed or bool(working.restores)
            case _:
                is_so = one.state in LIVE
        if not is_so:
            yield f"{_name(key)} is {one.state} ({one.reason} {one.exit_code}), but {program}"
    if not working.restores:
        for key in working.programs.keys() - working.attempts.keys():
            yield f"{_name(key)} ran, and the hub does not know it"


def _without_evidence(working: Working) -> Iterator[str]:
    """Of what ended by itself it is there, and the log is whole."""
    for key, one in working.attempts.items():
        by_itself = one.state == "succeeded" or (one.state == "failed" and one.reason == "exit_code")
        if by_itself and one.log is None:
            yield f"{_name(key)} is {one.state}, and what it left is not on record"
        elif by_itself and not one.holds and one.log != f"attempt {key[1]} at {key[0]}\n".encode():
            yield f"the log of {_name(key)} is {one.log!r}"


def _name(key: Key) -> str:
    return f"attempt {key[1]} at workload {key[0]}"


# reading


def working_of(database: Database, books: Path, victims: Victims, store: Store) -> Working:
    """All of it, when everything has drained."""
    return Working(
        programs=programs_in(books),
        attempts=attempts_in(database),
        killed=frozenset(victims.killed),
        restores=store.restores,
        running=running(books),
    )


def programs_in(folder: Path) -> dict[Key, Program]:
    """What all programs wrote."""
    return {_key(path): _program(path.read_text()) for path in sorted(folder.iterdir())}


def _key(path: Path) -> Key:
    workload, _, attempt = path.name.rpartition("-")
    return workload, int(attempt)


def _program(text: str) -> Program:
    lines = [line.split() for line in text.splitlines()]
    ended = [int(line[2]) for line in lines if line[0] == "ended"]
    return Program(
        began=[Began(int(line[1]) // 1000, int(line[2])) for line in lines if line[0] == "began"],
        ended=ended[-1] if ended else None,
        told=any(line[0] == "told" for line in lines),
    )


def attempts_in(database: Database) -> dict[Key, Attempt]:
    """What the hub says of all attempts."""
    with database.connection():
        rows = database.all(
            "SELECT attempts.workload_id, attempts.attempt, attempts.state, attempts.reason, attempts.exit_code,"
            " attempts.gone_at, evidence.log, workloads.stop_at, workloads.run_id FROM workload_attempts AS attempts"
            " JOIN workloads ON workloads.id = attempts.workload_id LEFT JOIN workload_evidence AS evidence"
            " ON evidence.workload_id = attempts.workload_id AND evidence.attempt = attempts.attempt"
        )
    return {
        (str(ident), int(attempt)): Attempt(
            state=str(state),
            reason=str(reason),
            exit_code=code,
            gone=gone_at is not None,
            log=None if log is None else bytes(log),
            stopped=stop_at is not None,
            holds=run_id is not None,
        )
        for ident, attempt, state, reason, code, gone_at, log, stop_at, run_id in rows
    }


def going_on(database: Database) -> int:
    """Attempts of which something may be there still."""
    with database.connection():
        row = database.one(
            "SELECT count(*) FROM workload_attempts AS attempts JOIN workloads ON workloads.id = attempts.workload_id"
            " WHERE attempts.gone_at IS NULL OR workloads.state IN ('wanted', 'starting', 'running')"
        )
    assert row is not None
    return int(row[0])


def running(folder: Path) -> list[Key]:
    """Attempts whose programs are there now."""
    return [
        key for key, program in programs_in(folder).items() if any(_lives(one.pid, folder) for one in program.began)
    ]


def _lives(pid: int, folder: Path) -> bool:
    """That process, and no other that has its number by now."""
    with suppress(OSError):
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def clear(root: Path, clock: Clock) -> None:
    """End whatever a cluster of processes has left, as it outlives its hub or agent; root: its folder."""
    places = [place for place in (root / "places").iterdir() if place.is_dir()] if (root / "places").is_dir() else []
    cluster = Processes(root, images={})
    end = clock.monotonic() + CLEARED_WITHIN_S
    try:
        for place in places:
            owner = (place / "owner").read_text()
            while not cluster.remove_place(owner, place.name) and clock.monotonic() < end:
                clock.sleep(0.1)
    finally:
        cluster.close()


# killing


class Victims:
    """Programs of workloads, and their shims. killed: whose."""

    def __init__(self, books: Path) -> None:
        self._books = books
        self.killed: set[Key] = set()

    def faults(self) -> list[Fault]:
        return [
            Fault("kill", "shim of a workload", "", self._killing(_parent_of), within=SOON),
            Fault("kill", "program of a workload", "", self._killing(lambda pid: pid)),
        ]

    def _killing(self, of: Callable[[int], int]) -> Callable[[random.Random], Undo]:
        def kill(chance: random.Random) -> Undo:
            found = [
                (key, one.pid)
                for key, program in programs_in(self._books).items()
                for one in program.began[-1:]
                if program.ended is None and _lives(one.pid, self._books)
            ]
            if not found:
                raise NotNow
            key, pid = chance.choice(found)
            self.killed.add(key)
            with suppress(ProcessLookupError):
                os.kill(of(pid), signal.SIGKILL)
            return lambda: None

        return kill


def _parent_of(pid: int) -> int:
    """A program's shim. Raises `NotNow` if the program is gone, and its parent is somebody else."""
    with suppress(OSError, IndexError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if b"fedyard" in Path(f"/proc/{parent}/cmdline").read_bytes():
            return parent
    raise NotNow
