"""A new site: its folder, and its place in the network."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fedyard.actions.site import UsageError, asking_hub, silent
from fedyard.agent.misspelled import said_of_settings
from fedyard.agent.site import Folder, Settings, client_to
from fedyard.agent.upkeep import tend
from fedyard.clock import micros_now


def enrol(
    folder: Folder,
    settings: Settings,
    token: str,
    *,
    later: bool = False,
    waiting: Callable[[str], None] = lambda _: None,
) -> None:
    """Make the folder, and have the hub take the site, with a sealing key, unless its agent is to ask `later`.

    token: of an enrolment. waiting: told what people should know while they wait. Raises `UsageError` for settings that
    site.toml could not have, `SiteError` where there is a site already, `Unprotected`, `Refused`, `Unavailable`.
    """
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except msgspec.ValidationError as error:
        raise UsageError(said_of_settings(error, Settings)) from None
    client_to(settings, token)  # refuses an unprotected hub before anything is written
    with folder.made_whole():
        folder.create(settings, token)
        if not later:
            folder.enrol(settings, waiting=waiting)
    if not later:
        tend(folder.keyring(), settings.keys, asking_hub(folder, waiting), micros_now(), log=silent)
