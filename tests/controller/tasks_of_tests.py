"""Tasks for tests: what they do is said by files in the site's folder, so that a test holds them where it wants."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from controller.tasks import Context, Result, Stopped, Task, TaskError


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


class Stubborn(Gated):
    """Never asks whether it shall stop."""

    politely = False


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
            case "nan":
                return Result(b"", {"loss": float("nan")})
            case "aggregate":
                return Result(b"fine")
        return Result(b"", {})

    def aggregate(self, context: Context, updates: object) -> Result:
        raise ZeroDivisionError("patient Smith")
