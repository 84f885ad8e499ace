"""What a run has of its own, as options: --set and --rounds, of `run start` and, for the defaults, of `project set`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fedyard.actions.site import UsageError
from fedyard.cli.common import complain
from fedyard.wire.answers import TaskSpec
from fedyard.wire.own import parameters_said, rounds_said, unheard_of

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--set",
        "said_of_tasks",
        multiple=True,
        metavar="TASK.NAME=VALUE",
        help="a parameter: JSON, or a text; several times",
    ),
    click.option("--rounds", multiple=True, metavar="[TASK=]N", help="how many rounds"),
)


def own_fields(command: F) -> F:
    """The options `said_of_tasks` and `rounds`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def own_of(
    tasks: Sequence[TaskSpec], said: Sequence[str], rounds: Sequence[str]
) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    """Parameters and rounds by task, as they were said; what may be a typing error is told. Raises `UsageError`."""
    try:
        found = parameters_said(said, tasks), rounds_said(rounds, tasks)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for sentence in unheard_of(found[0], tasks):
        complain(sentence)
    return found
