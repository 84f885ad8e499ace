"""`fedyard site privacy`: what updates with noise have cost."""

from __future__ import annotations

import click
import msgspec

from fedyard.actions.privacy import budgets
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.cli.listing import Listing
from fedyard.tasks.confined.entering import held
from fedyard.wire.command_line import JSON, Command, print_json


@click.command("privacy", cls=Command)
@JSON
@click.pass_obj
def privacy(folder: Folder, as_json: bool) -> None:
    """What updates with noise have cost, by project; and whether this system can confine tasks.

    From the agent's memory and site.toml: the hub is not asked.
    """
    can = held()
    state = State(folder.path / "state.sqlite")
    try:
        found = budgets(folder, state)
    finally:
        state.close()
    if as_json:
        print_json({"budgets": found, "confinement": {**msgspec.to_builtins(can), "lacks": can.lacks}})
        return
    print(f"tasks: {can.lacks or 'this system can confine them, to files and without network'}")
    if not found:
        print("no project's updates leave with noise: docs/privacy.md says how")
        return
    table = Listing(
        "project", "id", "epsilon spent", "allowed", "delta", "updates", "clip", "noise", "without noise", ids=("id",)
    )
    for one in found:
        table.add_row(
            one.name,
            one.project_id,
            f"{one.epsilon:.4g}",
            "" if one.allowed is None else f"{one.allowed:g}",
            f"{one.delta or one.at_delta or 0:g}",
            str(one.updates),
            "" if one.clip is None else f"{one.clip:g}",
            "" if one.noise is None else f"{one.noise:g}",
            str(one.without),
        )
    table.print()
