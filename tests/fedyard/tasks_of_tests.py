"""Tasks for tests: what they do is said by files in the site's folder, so that a test holds them where it wants."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedyard.tasks import Context, Result, Stopped, Task, TaskError, Unusable, Update
from fedyard.tasks.strategies import FedAdam


def _here() -> Path:
    """The site's folder: where the agent starts its children."""
    return Path.cwd()


def _note(what: str) -> None:
    with (_here() / "calls.log").open("a") as stream:
        stream.write(f"{what}\n")


class Gated(Task):
    """Each hook notes its call, then waits while the file `hold-<hook>` is there."""

    politely = True

    def _gate(self, context: Context, hook: str) -> None:
        _note(f"{hook} {context.round}")
        while (_here() / f"hold-{hook}").exists():
            if self.politely and context.stopping():
                _note(f"stopped {hook}")
                raise Stopped
            time.sleep(0.02)

    def prepare(self, context: Context) -> None:
        self._gate(context, "prepare")

    def train(self, context: Context, model: object) -> Result:
        context.log("training begins")
        context.log("loss is fine")
        self._gate(context, "train")
        start = 0.0 if model is None else float(model["total"][0])  # type: ignore[index]
        return Result({"total": np.array([start + 1.0])}, {"samples": 1.0, "started_from": start})

    def aggregate(self, context: Context, updates: object) -> Result:
        self._gate(context, "aggregate")
        values = [float(update.content["total"][0]) for update in updates]  # type: ignore[attr-defined]
        _note(f"aggregated {','.join(update.site_id for update in updates)}")  # type: ignore[attr-defined]
        return Result({"total": np.array([sum(values) / len(values)])}, {"sites": float(len(values))})

    def score(self, context: Context, model: object) -> dict[str, float]:
        self._gate(context, "score")
        if (_here() / "blind").exists():
            raise TaskError("there is no test data here")
        return {"total": float(model["total"][0]), "samples": 10.0}  # type: ignore[index]


class Large(Gated):
    """The same with `count` weights beside it, each of which is the total."""

    def train(self, context: Context, model: object) -> Result:
        return self._grown(context, super().train(context, model))

    def aggregate(self, context: Context, updates: object) -> Result:
        return self._grown(context, super().aggregate(context, updates))

    @staticmethod
    def _grown(context: Context, result: Result) -> Result:
        total = result.content["total"]  # type: ignore[call-overload, index]
        count = int(str(context.parameters["count"]))
        return Result({"total": total, "weights": np.full(count, total[0])}, result.metrics)


class Swapping(Large):
    """The same, and its process goes on: of whatever it finds in its folder it makes a link to the site's token."""

    def train(self, context: Context, model: object) -> Result:
        threading.Thread(target=self._swap, args=(context.folder, _here() / "token"), daemon=True).start()
        return super().train(context, model)

    @staticmethod
    def _swap(folder: Path, target: Path) -> None:
        for name in [f"out-{seq}" for seq in range(100)]:
            (folder / name).symlink_to(target)
        while True:
            for one in [*folder.glob("in-*"), *folder.glob("out-*")]:
                if not one.is_symlink():
                    link = folder / "link"
                    link.symlink_to(target)
                    link.replace(one)


class Doubling(Gated):
    """Goes twice as far from the model that the round began with as the sites went."""

    def aggregate(self, context: Context, updates: object) -> Result:
        start = 0.0 if context.model is None else float(context.model["total"][0])  # type: ignore[index, call-overload]
        mean = super().aggregate(context, updates)
        return Result({"total": start + 2 * (mean.content["total"] - start)}, mean.metrics)  # type: ignore[call-overload, index, operator]


class Stepping(Gated):
    """Its coordinator takes adaptive steps, and waits when it has kept their moments."""

    strategy = FedAdam(0.5)

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        result = self.strategy.aggregate(context, updates)
        self._gate(context, "aggregate")
        return result


class Stubborn(Gated):
    """Never asks whether it shall stop."""

    politely = False


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def ended() -> float:
    """How children of every kind end that are asked to: the signal that ended them, or the first code that is none."""
    by_exec = subprocess.Popen(["sleep", "600"])
    by_exec.terminate()
    by_fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    by_fork.start()
    by_fork.terminate()
    by_fork.join()
    return {-by_exec.wait(), -(by_fork.exitcode or 0)}.pop() if by_exec.wait() == by_fork.exitcode else 0.0


CONNECTION = int(sys.argv[-1]) if sys.argv[0].endswith("reaper.py") else -1
"""In the hooks' process: its connection to the agent, which compiled code that forks would hand on."""


def start_sleepers() -> None:
    """Processes that would outlive the hooks: programs, forks, daemons; one of them deaf to signals."""
    pids = [subprocess.Popen(["sleep", "777"], pass_fds=[CONNECTION]).pid]
    pids.append(subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM HUP; sleep 777 & wait"]).pid)
    if not (forked := os.fork()):
        time.sleep(777)
    pids.append(forked)
    daemon, told = os.pipe()
    if not os.fork():  # the classic daemon: a child of nobody
        os.setsid()
        if not (again := os.fork()):
            time.sleep(777)
        os.write(told, str(again).encode())
        os._exit(0)
    pids.append(int(os.read(daemon, 20)))
    (_here() / "pids.new").write_text(" ".join(map(str, pids)))
    (_here() / "pids.new").rename(_here() / "pids")


def _nan(context: Context) -> Result:
    return Result(b"fine", {"loss": float("nan"), "best": -np.inf, "auc": 0.5, "p": 1j, "": 1, 3: 1})  # type: ignore[dict-item]


def _many(context: Context) -> Result:
    return Result(b"fine", {f"m{number}": number for number in range(100)})


def _no_metrics(context: Context) -> Result:
    return Result(b"fine", None)  # type: ignore[arg-type]


def _surrogates(context: Context) -> Result:
    context.log(os.fsdecode(b"caf\xe9.csv"))
    context.log(Unsayable())  # type: ignore[arg-type]
    print(os.fsdecode(b"caf\xe9.csv"))
    return Result(b"fine", {os.fsdecode(b"\xe9"): 1.0})


def _print(context: Context) -> Result:
    for stream in (sys.stdout, sys.stderr):
        print("training begins", file=stream, flush=True)
    return Result(b"fine")


def _zip(context: Context) -> Result:
    zipfile.ZipFile(__file__)
    raise AssertionError("not reached")


def _flood(context: Context) -> Result:
    """More than anybody wants to hear, and what no terminal should get."""
    for number in range(100_000):
        context.log(f"line {number}")
    context.log("y" * 100_000_000)
    context.log("\x00\x1b[2J\x9b31m\u202e")
    print("z" * 10_000_000, "\x00\x1b[2J")
    return Result(b"fine", {"huge": 10**400, "\x1b[2J": 1.0, "loss": 0.5})


def _long_reason(context: Context) -> Result:
    raise TaskError("\x1b\x00" * 10_000_000)


def _masked(context: Context) -> Result:
    return Result({"w": np.ma.masked_array([1.0, 2.0], mask=[True, False])})


def _arrays(context: Context) -> Result:
    return Result({f"layer{number}.weight": np.ones(3) for number in range(320)})


def _signal(context: Context) -> Result:
    return Result({"ended": np.array([ended()])})


def _crash(context: Context) -> Result:
    start_sleepers()
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("not reached")


def _cut(context: Context) -> Result:
    start_sleepers()
    os.write(CONNECTION, b"\x00\x00\x10\x00and no more")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def _sleepers(context: Context) -> Result:
    start_sleepers()
    return Result(b"fine")


def _exit(context: Context) -> Result:
    sys.exit("enough")
    raise AssertionError("not reached")


def _busy_sleepers(context: Context) -> Result:
    start_sleepers()
    while not context.stopping():
        time.sleep(0.02)
    raise Stopped


def _seeds(context: Context) -> Result:
    return Result(b"fine", {"seed": context.seed, "site_seed": context.site_seed})


ODD = {
    "seeds": _seeds,
    "flood": _flood,
    "long_reason": _long_reason,
    "busy_sleepers": _busy_sleepers,
    "nan": _nan,
    "many": _many,
    "no_metrics": _no_metrics,
    "surrogates": _surrogates,
    "print": _print,
    "zip": _zip,
    "masked": _masked,
    "arrays": _arrays,
    "signal": _signal,
    "crash": _crash,
    "cut": _cut,
    "sleepers": _sleepers,
    "exit": _exit,
}


class Odd(Task):
    """What people's tasks do; which of it is said by the parameter `how`."""

    def train(self, context: Context, model: object) -> Result:
        return ODD[str(context.parameters["how"])](context)


class Picky(Gated):
    """Cannot use the updates of the sites that its parameter `without` names."""

    def aggregate(self, context: Context, updates: object) -> Result:
        named = context.parameters["without"]
        assert isinstance(named, list)
        odd = {u.site_id: "its total is of another kind" for u in updates if u.site_id in named}  # type: ignore[attr-defined]
        if odd:
            raise Unusable(odd)
        return super().aggregate(context, updates)

    def evaluate(self, context: Context, model: object) -> dict[str, float]:
        raise FileNotFoundError(2, "no test file", "/srv/smith.csv")


class Nonsense(Gated):
    """What a site submits, if the file `nonsense` is there, is no number, or nothing that others know."""

    def train(self, context: Context, model: object) -> Result:
        result, file = super().train(context, model), _here() / "nonsense"
        if not file.exists():
            return result
        return Result({"nan": {"total": np.array([np.nan])}, "names": {"sum": np.ones(2)}}[file.read_text()])


class Counted(Gated):
    """Counts its calls in what it keeps, and says how many there were; it waits after it has written."""

    def _count(self, context: Context) -> float:
        file = context.keep / "count"
        count = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(count))
        return float(count)

    def train(self, context: Context, model: object) -> Result:
        count = self._count(context)
        return Result(super().train(context, model).content, {"kept": count})

    def aggregate(self, context: Context, updates: object) -> Result:
        count = self._count(context)
        return Result(super().aggregate(context, updates).content, {"kept": count})


class Failing(Task):
    """What it does is said by the parameter `how`."""

    def prepare(self, context: Context) -> None:
        if context.parameters.get("how") == "prepare":
            raise TaskError("the data of this site are too few")

    def train(self, context: Context, model: object) -> Result:
        match context.parameters["how"]:
            case "raise":
                float("patient Smith")
            case "talk":
                while True:
                    context.log("and another thing")
                    if context.stopping():
                        raise Stopped
            case "die":
                os._exit(9)
            case "large":
                return Result(bytes(10_000_000))
            case "aggregate":
                return Result(b"fine")
        return Result(b"", {})

    def aggregate(self, context: Context, updates: object) -> Result:
        raise ZeroDivisionError("patient Smith")
