"""Which class does a task's `model`: one of ours by name, or a dotted path that this site allows."""

from __future__ import annotations

import importlib
from collections.abc import Collection

from fedyard.tasks import Task, TaskError
from fedyard.tasks.logistic_regression import LogisticRegression
from fedyard.tasks.ready.regression import LinearRegression, LogisticGlm
from fedyard.tasks.ready.survival import KaplanMeier
from fedyard.tasks.ready.table_one import TableOne
from fedyard.wire.shown import shown

BUILT_IN: dict[str, type[Task]] = {
    "kaplan_meier": KaplanMeier,
    "linear_regression": LinearRegression,
    "logistic_glm": LogisticGlm,
    "logistic_regression": LogisticRegression,
    "table_one": TableOne,
}


def why_unknown(model: str, allowed: Collection[str]) -> str:
    """Why this site runs no such model, in a sentence; empty if it does. Nothing is imported."""
    if model in BUILT_IN or model in allowed:
        return ""
    return (
        f"this site does not know the model {model!r}: it knows {', '.join(sorted(BUILT_IN))}, and of the form "
        "package.module:Class what its site.toml allows"
    )


def task_of(model: str, allowed: Collection[str]) -> Task:
    """A new task for `model`. A project's word never imports code that the site's own configuration does not name."""
    if model in BUILT_IN:
        return BUILT_IN[model]()
    if unknown := why_unknown(model, allowed):
        raise TaskError(unknown)
    where, _, name = model.partition(":")
    try:
        module = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if where.endswith(".py"):
            raise TaskError(
                f"the model {model!r} names a file: name its module, {shown(where[:-3], 100)}:{shown(name, 100)}"
            ) from None
        # what else goes wrong there is told as any fault of a task's own code
        raise TaskError(
            f"the model {model!r} is allowed here, but there is no module {shown(str(error.name), 100)!r}: put its "
            "file into the site's folder, or install its package where the agent runs"
        ) from None
    except ValueError:
        raise TaskError(f"the model {model!r} is allowed here, but cannot be imported") from None
    found = getattr(module, name, None)
    if found is None:
        raise TaskError(f"the model {model!r} is allowed here, but {where} has no {name}")
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TaskError(f"the model {model!r} is no fedyard.tasks.Task")
    if missing := sorted(found.__abstractmethods__):
        raise TaskError(f"the model {model!r} has no {' and no '.join(missing)}, which each task needs")
    return found()
