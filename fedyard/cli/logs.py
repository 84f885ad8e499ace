"""`fedyard logs`: what the sites' tasks say while they work."""

from __future__ import annotations

import sys

import click

from fedyard.actions.logs import piece_opened
from fedyard.actions.naming import names_of, run_named
from fedyard.actions.site import courier_of
from fedyard.agent.courier import Courier
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of, time_of
from fedyard.sealed.errors import SealError
from fedyard.wire import answers as a
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.shown import MAX_LINE, shown

LOOK_AGAIN_S = 5
"""While a log is followed: how often it is looked whether the run has ended, which wakes no reader of logs."""


@click.command("logs", cls=Command)
@click.argument("run")
@click.option("--follow", is_flag=True, help="until the run is finished")
@click.option("--site", metavar="SITE", help="of this site only: its name or id")
@JSON
@click.pass_obj
def logs(folder: Folder, run: str, follow: bool, site: str | None, as_json: bool) -> int:
    """What the sites' tasks say while they work in a RUN.

    RUN: PROJECT/NUMBER, the run's id, or how that begins.
    """
    client = client_of(folder)
    courier = courier_of(folder, client)
    found = run_named(client, run)
    names = names_of(client)
    site_id = next((s for s, name in names.items() if site in (s, name)), site)
    place, good, finished = 0, True, found.finished
    while True:
        wait = LOOK_AGAIN_S if follow and not finished else 0
        pieces = client.logs(found.id, site_id=site_id, after=place, wait=wait)
        for piece in pieces:
            place = piece.at
            name = names.get(piece.site_id, piece.site_id)
            good = _print_piece(courier, found, piece, name, as_json=as_json) and good
        if not pieces:
            if finished or not follow:
                return 0 if good else 1
            finished = client.run(found.id).finished


def _print_piece(courier: Courier, run: a.Run, piece: a.LogPiece, name: str, *, as_json: bool) -> bool:
    """False if the piece cannot be trusted; then that is said in its place. as_json: a line of JSON for each piece."""
    where = f"{name} task {piece.task_seq} round {piece.round}"
    try:
        opened = piece_opened(courier, run, piece)
    except SealError as error:
        print(f"{where}: piece {piece.seq} is not shown ({error.slug}): {error}", file=sys.stderr)
        return False
    if as_json:
        about = {"site_id": piece.site_id, "site": name, "task": piece.task_seq, "round": piece.round}
        print_json({**about, "seq": opened.seq, "at": time_of(opened.at), "text": opened.text}, one_line=True)
        return True
    for line in opened.text.splitlines():
        print(f"{time_of(opened.at)} {where}  {shown(line, MAX_LINE)}", flush=True)
    return True
