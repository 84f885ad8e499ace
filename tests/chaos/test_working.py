"""What is said of workloads against what their programs wrote: whole books pass, and what they disagree in shows."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from chaos.working import Attempt, Began, Key, Program, Working, findings, programs_in
from ops.place import CHECKOUT

WELL, BAD, STOPPED, KILLED, HELD = ("well", 1), ("bad", 1), ("stopped", 1), ("killed", 1), ("held", 1)


def _log(key: Key) -> bytes:
    return f"attempt {key[1]} at {key[0]}\n".encode()


def whole() -> Working:
    """One that went well, one that did not, one that was stopped, one whose shim was killed, and one with a seat."""
    return Working(
        programs={
            WELL: Program([Began(1, 10)], ended=0),
            BAD: Program([Began(2, 11)], ended=3),
            STOPPED: Program([Began(3, 12)], told=True),
            KILLED: Program([Began(4, 13)]),
            HELD: Program([Began(5, 14)]),
        },
        attempts={
            WELL: Attempt("succeeded", exit_code=0, log=_log(WELL)),
            BAD: Attempt("failed", "exit_code", 3, log=_log(BAD)),
            STOPPED: Attempt("stopped", stopped=True),
            KILLED: Attempt("lost", "vanished"),
            HELD: Attempt("failed", "exit_code", 1, log=b"401\n", holds=True),
        },
        killed=frozenset({KILLED}),
    )


def broken(working: Working) -> set[str]:
    return {name for name, sentences in findings(working).items() if sentences}


def with_attempt(key: Key, attempt: Attempt) -> Working:
    return replace(whole(), attempts={**whole().attempts, key: attempt})


def with_program(key: Key, program: Program) -> Working:
    return replace(whole(), programs={**whole().programs, key: program})


def test_whole_books_are_zeros():
    assert broken(whole()) == set()


def test_a_program_that_ran_twice_shows_but_not_across_a_restore():
    twice = with_program(WELL, Program([Began(10, 1), Began(20, 2)], ended=0))
    assert broken(twice) == {"programs run twice for an attempt"}
    assert broken(replace(twice, restores=[(12, 18)])) == set()
    assert broken(replace(twice, restores=[(21, 30)])) == {"programs run twice for an attempt"}


def test_what_runs_on_shows():
    assert broken(replace(whole(), running=[STOPPED])) == {"programs left running"}


@pytest.mark.parametrize("state", ["wanted", "starting", "running"])
def test_what_is_not_over_shows(state: str):
    assert broken(with_attempt(STOPPED, Attempt(state, gone=False))) == {"workloads not final or not gone"}


def test_what_is_not_gone_shows():
    kept = replace(whole().attempts[WELL], gone=False)
    assert broken(with_attempt(WELL, kept)) == {"workloads not final or not gone"}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (BAD, Attempt("succeeded", exit_code=0, log=_log(BAD))),
        (WELL, Attempt("failed", "exit_code", 3, log=_log(WELL))),
        (BAD, Attempt("failed", "exit_code", 4, log=_log(BAD))),
        (WELL, Attempt("stopped")),
        (WELL, Attempt("lost", "vanished")),
        (WELL, Attempt("failed", "signalled", 137)),
        (WELL, Attempt("failed", "silent")),
        (WELL, Attempt("failed", "evicted")),
        (KILLED, Attempt("failed", "deadline_passed")),
        (("never run", 1), Attempt("succeeded", exit_code=0, log=_log(("never run", 1)))),
    ],
)
def test_what_went_otherwise_shows(key: Key, said: Attempt):
    assert broken(with_attempt(key, said)) == {"attempts that went otherwise than is said"}


def test_what_the_hub_does_not_know_shows_but_not_after_a_restore():
    strange = with_program(("strange", 1), Program([Began(1, 1)], ended=0))
    assert broken(strange) == {"attempts that went otherwise than is said"}
    assert broken(replace(strange, restores=[(0, 9)])) == set()


def test_lost_evidence_shows():
    for log in (None, b"", _log(BAD)):
        assert broken(with_attempt(WELL, replace(whole().attempts[WELL], log=log))) == {"evidence lost"}


def test_the_program_writes_its_own_books(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    environment = os.environ | {"FEDYARD_WORKLOAD_ID": "some-id", "FEDYARD_WORKLOAD_ATTEMPT": "2"}
    command = ["/bin/sh", str(CHECKOUT / "chaos" / "program.sh"), str(folder)]
    ran = subprocess.run([*command, "0", "3"], env=environment, capture_output=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (3, b"attempt 2 at some-id\n")
    told = subprocess.Popen([*command, "60", "0"], env=environment, stdout=subprocess.PIPE)
    assert told.stdout is not None
    assert told.stdout.readline() == b"attempt 2 at some-id\n"
    told.terminate()
    assert told.wait(30) == 143
    told.stdout.close()
    written = programs_in(folder)[("some-id", 2)]
    assert [one.pid > 1 for one in written.began] == [True, True]
    assert (written.ended, written.told) == (3, True)
