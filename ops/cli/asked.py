"""What an operator's command was asked about: which hub, with which settings, on which database."""

from __future__ import annotations

import os
from pathlib import Path

import click

from config.settings import IN_FILES, Settings
from ops.place import recall
from storage.database import Database, open_database
from storage.migrate import missing

FILE = click.Path(path_type=Path)
"""A file or folder that a command looks after itself, with sentences of its own."""


class Unfit(Exception):
    """The command cannot be carried out as things are; says what to do."""


def ours() -> dict[str, str]:
    """The variables of the environment that are meant for a hub."""
    return {name: value for name, value in os.environ.items() if name.startswith("FEDYARD_")}


def settings_of(data: Path) -> Settings:
    """The environment's, on top of how the hub in the folder was started last."""
    there, said = recall(data), ours()
    named = {"FEDYARD_DATABASE_URL", "FEDYARD_DATABASE_URL_FILE"} & said.keys()
    if there is None and not named:
        raise Unfit(
            f"no hub was started on {data} yet: name its folder with --data, start one (make up, or fedyard-hub "
            "embedded), or set FEDYARD_DATABASE_URL"
        )
    remembered = dict(there.environment) if there else {}
    for variable, name in IN_FILES.items():
        if variable in said:
            remembered.pop(name, None)
    return Settings.read({**remembered, **said})


def database_of(data: Path) -> Database:
    """The hub's database, with the schema that this program knows."""
    database = open_database(settings_of(data).database_url, pool=1, name="fedyard cli")
    wanted = missing(database)
    if wanted:
        raise Unfit(f"the schema lacks {', '.join(wanted)}: run fedyard-hub migrate")
    return database
