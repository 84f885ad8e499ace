"""A task and its contract in words: what is trained where, what a round needs, and what becomes of who is late.

Each sentence says one rule of docs/architecture.md's rounds, with the task's own numbers; nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from fedyard.look.filters import span
from fedyard.wire.plurals import counted
from fedyard.wire.sampling import needed_of, size_of


class Contract(Protocol):
    """What a round promises, in the hub's class and in the site's. Spans are seconds."""

    @property
    def quorum(self) -> float: ...
    @property
    def quorum_of(self) -> str: ...
    @property
    def select_within_s(self) -> float: ...
    @property
    def train_within_s(self) -> float: ...
    @property
    def aggregate_within_s(self) -> float: ...
    @property
    def silent_within_s(self) -> float: ...
    @property
    def late(self) -> str: ...
    @property
    def too_few(self) -> str: ...
    @property
    def sample(self) -> float: ...
    @property
    def sample_of(self) -> str: ...
    @property
    def sample_at_least(self) -> int: ...
    @property
    def score_within_s(self) -> float: ...


class Measure(Protocol):
    """By which metric rounds are compared."""

    @property
    def metric(self) -> str: ...
    @property
    def mode(self) -> str: ...


class Patience(Measure, Protocol):
    """When a task ends early."""

    @property
    def patience(self) -> int: ...
    @property
    def min_delta(self) -> float: ...


def what(model: str, rounds: int, who: str | Sequence[str], held: int) -> str:
    """What is trained, how often, and where. held: seats that workloads hold beside the sites'."""
    if who == "all":
        where = "every active member, the coordinator's own site among them"
    elif who == "participants":
        where = "every participant; the coordinator's own site does not train"
    else:
        where = counted(len(who), "named site")
    beside = f", and in {counted(held, 'workload that holds a seat', 'workloads that hold seats')}" if held else ""
    return f"{counted(rounds, 'round')} of the model {model} at {where}{beside}."


def when(after: Sequence[str]) -> str:
    """When the task begins, and with which model."""
    if not after:
        return "It begins with the run."
    if len(after) == 1:
        return f"It begins once {after[0]} has succeeded, with the newest model of that."
    names = f"{', '.join(after[:-1])} and {after[-1]}"
    return f"It begins once {names} have succeeded, with the model of whichever ended last."


def promises(contract: Contract, *, aggregate: bool, seats: int | None = None) -> list[str]:
    """The contract, a sentence a rule. aggregate: does the coordinator make a model of each round? seats: how many the
    task would have now, if that is known."""
    done = "the coordinator's model" if aggregate else "the reports of its sites"
    times = f"Sites have {span(contract.select_within_s)} to get ready and {span(contract.train_within_s)} to train"
    times += f"; the coordinator has {span(contract.aggregate_within_s)} to aggregate." if aggregate else "."
    late = {
        "drop": "A site that misses a deadline is out of the task.",
        "next_round": "A site that misses a deadline may come back with the next round.",
    }
    few = {
        "fail": "With fewer at a deadline the round fails, and with it the task.",
        "wait": "With fewer at a deadline it waits for as long once more, until the run's own deadline.",
    }
    return [
        *_draws(contract, seats),
        f"A round is done with {done}. {_needs(contract, seats)}",
        times,
        f"A site that is waited for and not heard of for {span(contract.silent_within_s)} is left out of the round.",
        late.get(contract.late, f"Who misses a deadline: {contract.late}."),
        few.get(contract.too_few, f"With fewer at a deadline: {contract.too_few}."),
    ]


def measures(
    contract: Contract, score_every: int, rounds: int, best: Measure | None, stop_early: Patience | None
) -> list[str]:
    """What a task's models are measured by at the sites, and what follows from it, a sentence a rule."""
    found = []
    if score_every:
        which = "each round" if score_every == 1 else f"every {score_every}th round and of the last one"
        found.append(
            f"The sites score the model of {which} on their own data; a round waits for that for "
            f"{span(contract.score_within_s)} at most."
        )
    if best is not None:
        found.append(f"Its best model is that of the round with the {_end(best)} {best.metric}.")
    if stop_early is not None:
        by = f" by more than {stop_early.min_delta:g}" if stop_early.min_delta else ""
        word = "higher" if stop_early.mode == "max" else "lower"
        found.append(
            f"It ends before round {rounds} once {counted(stop_early.patience, 'round')} in a row had no {word} "
            f"{stop_early.metric}{by} than the best one before."
        )
    return found


def same_code(rule: str) -> list[str]:
    """What a task asks of the code that its sites run. rule: its `code`."""
    if rule == "any":
        return []
    which = "the first of them that is ready has" if rule == "same" else f"has the digest {rule}"
    return [f"All sites run the code that {which}; a seat with other code fails."]


def _end(measure: Measure) -> str:
    return "highest" if measure.mode == "max" else "lowest"


def _draws(contract: Contract, seats: int | None) -> list[str]:
    """Which seats take part in a round, where not all do."""
    if contract.sample_of == "fraction" and contract.sample >= 1:
        return []
    if contract.sample_of == "count":
        some = counted(int(contract.sample), "seat")
    else:
        some = f"{percent(contract.sample)} of the seats, rounded up"
    least = f" and {contract.sample_at_least} at least" if contract.sample_at_least > 1 else ""
    now = f": {size_of(contract, seats)} of {seats} now" if seats else ""
    return [f"Each round draws {some}{least}{now}; the others rest in it."]


def _needs(contract: Contract, seats: int | None) -> str:
    if contract.quorum_of == "count":
        needed = f"It needs {counted(int(contract.quorum), 'seat')}"
        return f"{needed}." if seats is None else f"{needed}; there would be {size_of(contract, seats)} now."
    whose = " that it draws" if _draws(contract, None) else ""
    if contract.quorum == 1:
        return f"It needs every seat{whose}."
    needed = f"It needs {percent(contract.quorum)} of the seats{whose}, rounded up"
    return f"{needed}." if not seats else f"{needed}: {needed_of(contract, seats)} of {size_of(contract, seats)} now."


def percent(fraction: float) -> str:
    """A fraction as a percentage, with all digits that it has."""
    return f"{(Decimal(repr(fraction)) * 100).normalize():f} %"
