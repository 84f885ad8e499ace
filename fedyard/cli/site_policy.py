"""`fedyard site policy`, `approve` and `refuse`: the site's own word, and what waits for its people."""

from __future__ import annotations

import click

from fedyard.actions.policy import answer, in_effect, lines_of
from fedyard.agent.site import Folder, SiteError
from fedyard.agent.state import State
from fedyard.cli.common import time_of
from fedyard.clock import micros_now
from fedyard.wire.command_line import JSON, Command, print_json


def _state(folder: Folder) -> State:
    path = folder.path / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    return State(path)


@click.command("policy", cls=Command)
@JSON
@click.pass_obj
def policy(folder: Folder, as_json: bool) -> None:
    """What site.toml says of each project, and what waits for a person.

    From the agent's memory and site.toml: the hub is not asked. The agent reads site.toml when it starts.
    """
    state = _state(folder)
    try:
        found = in_effect(folder, state, micros_now())
    finally:
        state.close()
    if as_json:
        print_json(found)
        return
    for one in found.projects:
        print(f"{one.name} ({one.project_id}): {one.began} runs began within 24 hours")
        for line in lines_of(one.policy):
            print(f"  {line}")
    if not found.projects:
        print("no project is served here")
    for wait in found.waiting:
        until = f", until {time_of(wait.until)}" if wait.until else ""
        print(f"run {wait.run_id} of {wait.project or wait.project_id} waits for a person{until}")
        print(f"  task {wait.name}, code {wait.code or 'not known'}: {bytes(wait.task).decode()}")
        for change in wait.changes:
            print(f"  changed: {change}")


@click.command("approve", cls=Command)
@click.argument("run", metavar="RUN")
@click.pass_obj
def approve(folder: Folder, run: str) -> None:
    """Let a run go on that waits for a person here.

    RUN is its id, or how that begins.
    """
    state = _state(folder)
    try:
        for one in answer(state, run, "approved", micros_now()):
            print(f"approved: task {one.name} of run {one.run_id}")
    finally:
        state.close()


@click.command("refuse", cls=Command)
@click.argument("run", metavar="RUN")
@click.option("--reason", default="", metavar="TEXT", help="for the run's coordinator; the hub reads it, too")
@click.pass_obj
def refuse(folder: Folder, run: str, reason: str) -> None:
    """Refuse a run that waits for a person here, for good.

    RUN is its id, or how that begins. The site's seat fails.
    """
    state = _state(folder)
    try:
        for one in answer(state, run, "refused", micros_now(), reason):
            print(f"refused: task {one.name} of run {one.run_id}")
    finally:
        state.close()
