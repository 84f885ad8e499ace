"""What a project says of itself, as options of `project create` and `project set`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

import click
import msgspec

from fedyard.actions.site import UsageError
from fedyard.wire.answers import Infrastructure
from fedyard.wire.types import Joining, Sealed

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--description", metavar="TEXT", help="what it is about"),
    click.option("--data-format", metavar="TEXT", help="how a site's data have to look"),
    click.option("--client-image", metavar="IMAGE", help="what data organisations run, where they run no agent"),
    click.option("--joining", type=click.Choice(get_args(Joining))),
    click.option("--sealed", type=click.Choice(get_args(Sealed)), help="must payloads be? initial files are not"),
    click.option("--goal-count", type=click.IntRange(1, 100_000), help="sites that a round needs, of every task"),
    click.option("--coordinator-image", metavar="IMAGE", help="of the project's own coordinator, as in Fedota"),
    click.option("--selector-image", metavar="IMAGE", help="of its selectors"),
    click.option("--selectors", type=click.IntRange(1, 64), help="how many of them (2)"),
    click.option("--where", metavar="PLACE", help="where both run: hub, a cluster of the hub's, or site:ID"),
    click.option(
        "--deadline", "deadlines", multiple=True, metavar="STAGE=SECONDS", help="of its rounds' stages, once for each"
    ),
    click.option(
        "--require", "required_files", multiple=True, metavar="PATH", help="files that the archive must have at its top"
    ),
)
_PLAIN = ("description", "data_format", "client_image", "joining", "sealed")
_STAGES = ("selection", "configuration", "reporting")
_PARTS = ("coordinator_image", "selector_image", "selectors", "where", "required_files")


def project_fields(command: F) -> F:
    """The options; the command gets them by their names, None (or nothing) where they were not said."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def plain_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were said, as the client takes them; without the infrastructure."""
    return {name: said[name] for name in _PLAIN if said[name] is not None}


def infrastructure_of(said: Mapping[str, Any], before: Infrastructure | None = None) -> dict[str, Any] | None:
    """What was said of the infrastructure, over what it was; None where nothing was. Raises `UsageError`."""
    parts = {name: said[name] for name in _PARTS if said[name]}
    if not parts and not said["deadlines"]:
        return None
    if "required_files" in parts:
        parts["required_files"] = list(parts["required_files"])
    whole = (msgspec.to_builtins(before) if before else {}) | parts
    if said["deadlines"]:
        whole["deadlines"] = whole.get("deadlines", {}) | dict(map(_deadline, said["deadlines"]))
    for name in _PARTS[:2]:
        if not whole.get(name):
            raise UsageError(f"infrastructure has both images: say --{name.replace('_', '-')}, too")
    return whole


def _deadline(said: str) -> tuple[str, float]:
    """As the API has it. Raises `UsageError`."""
    stage, _, seconds = said.partition("=")
    if stage.lower() not in _STAGES or not seconds.isdecimal():
        raise UsageError(f"--deadline {said}: say {', '.join(_STAGES)}, and whole seconds, as in selection=3600")
    return f"{stage.lower()}_s", float(seconds)


def with_goal(tasks: Sequence[dict[str, Any]], goal_count: int | None) -> list[dict[str, Any]]:
    """The tasks, each with this count as its contract's quorum."""
    if goal_count is None:
        return list(tasks)
    quorum = {"quorum": goal_count, "quorum_of": "count"}
    return [{**task, "contract": {**task.get("contract", {}), **quorum}} for task in tasks]
