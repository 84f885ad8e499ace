"""`make sim SEED= COUNT=`: seeds in a row on all cores; or with `--bugs` how many seeds each planted bug survives."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import time
from collections import Counter
from multiprocessing.pool import Pool

from tests.simulation.bugs import BUGS
from tests.simulation.run import Result, ground, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="how many seeds")
    parser.add_argument(
        "--bugs", nargs="*", help="plant these bugs (all without names) and count the seeds to each catch"
    )
    chosen = parser.parse_args()
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    ground()  # made once: the workers that are forked now inherit it, and this process takes it away
    with multiprocessing.get_context("fork").Pool() as pool:
        return _hold(pool, seeds) if chosen.bugs is None else _catch(pool, seeds, chosen.bugs)


def _hold(pool: Pool, seeds: range) -> int:
    began = time.monotonic()
    happened, places, died_at, runs = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    commands = failures = 0
    for done, result in enumerate(pool.imap(simulate, seeds), start=1):
        happened.update(result.happened)
        places.update(result.places)
        died_at.update(result.died_at)
        runs.update(result.runs)
        commands += result.commands
        if result.broken is not None:
            failures += 1
            print(failure(result), flush=True)
        if done % 100 == 0:
            print(f"{done} seeds, {failures} failed, {done / (time.monotonic() - began):.1f} a second", flush=True)
    spent = time.monotonic() - began
    print(f"{len(seeds)} seeds from {seeds[0]} in {spent:.0f} s ({len(seeds) / spent:.1f} a second), {failures} failed")
    print(f"commands decided {commands}; runs {_listed(runs)}")
    print(f"faults: {_listed(happened)}")
    print(f"a process died {died_at.total()} times, at {len(died_at)} of {len(places)} places")
    never = sorted(set(places) - set(died_at))
    if never:
        print(f"never at: {', '.join(never)}")
    return 1 if failures else 0


def failure(result: Result) -> str:
    """What broke, what came before it, and how to see it again."""
    lines = [f"seed {result.seed}: {result.broken}", *(f"  {line}" for line in result.story[-30:])]
    return "\n".join([*lines, f"seed {result.seed} again: make sim SEED={result.seed} COUNT=1"])


def _catch(pool: Pool, seeds: range, names: list[str]) -> int:
    chosen = [bug.name for bug in BUGS if not names or bug.name in names]
    survived = 0
    for name, tried, broken in pool.imap(functools.partial(_hunt, seeds), chosen):
        if broken is None:
            survived += 1
            print(f"{name:42} NOT CAUGHT by {len(seeds)} seeds", flush=True)
        else:
            print(f"{name:42} {tried:3} seeds: {broken[:110]}", flush=True)
    return 1 if survived else 0


def _hunt(seeds: range, name: str) -> tuple[str, int, str | None]:
    """The bug's name, how many seeds were tried, and what the last of them broke, if it did."""
    bug = next(bug for bug in BUGS if bug.name == name)
    for tried, seed in enumerate(seeds, start=1):
        if (broken := simulate(seed, bug).broken) is not None:
            return name, tried, broken
    return name, len(seeds), None


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
