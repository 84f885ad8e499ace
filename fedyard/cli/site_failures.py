"""`fedyard site failures`: why hooks failed here, which nobody else is told."""

from __future__ import annotations

import click

from fedyard.actions.site import UsageError
from fedyard.agent.failures import FOLDER, Failures
from fedyard.agent.site import Folder
from fedyard.cli.common import time_of
from fedyard.cli.listing import Listing
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.plurals import counted


@click.command("failures", cls=Command)
@click.argument("run", metavar="[RUN]", required=False)
@JSON
@click.pass_obj
def failures(folder: Folder, run: str | None, as_json: bool) -> None:
    """Task runs of which a hook failed at this site, the newest first; with RUN the tracebacks of that one.

    RUN is its id, or how that begins. What is shown stays at this site, and may tell of its data.
    """
    found = [one for one in Failures(folder.path).all() if one.run_id.startswith(run or "")]
    if run and not found:
        raise UsageError(f"no hook of a run {run} is known to have failed here; those of which one has: {FOLDER}/")
    if as_json:
        print_json(found)
        return
    if run:
        for one in found:
            print(one.text, end="")
        return
    if not found:
        print("no hook is known to have failed here")
        return
    table = Listing("run", "task", "newest", "file", ids=("run",))
    for one in found:
        table.add_row(one.run_id, str(one.task_seq), time_of(one.at), one.file)
    table.print()
    print(f"{counted(len(found), 'task run')}; with the beginning of a run's id the tracebacks are shown")
