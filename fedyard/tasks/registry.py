"""Which class does a task's `model`: one of ours by name, or a dotted path that this site allows."""

from __future__ import annotations

import importlib
from collections.abc import Collection

from fedyard.tasks import Task, TaskError
from fedyard.tasks.logistic_regression import LogisticRegression

BUILT_IN: dict[str, type[Task]] = {"logistic_regression": LogisticRegression}


def task_of(model: str, allowed: Collection[str]) -> Task:
    """A new task for `model`. A project's word never imports code that the site's own configuration does not name."""
    if model in BUILT_IN:
        return BUILT_IN[model]()
    if model not in allowed:
        raise TaskError(
            f"this site does not know the model {model!r}: it knows {', '.join(sorted(BUILT_IN))}, and of the form "
            "package.module:Class what its site.toml allows"
        )
    module, _, name = model.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise TaskError(f"the model {model!r} is allowed here, but cannot be imported") from None
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TaskError(f"the model {model!r} is no fedyard.tasks.Task")
    return found()
