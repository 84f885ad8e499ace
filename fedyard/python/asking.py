"""Who asks the hub from Python: an account or a site by its token, with a site's folder where things are opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from fedyard.actions.naming import names_of
from fedyard.actions.site import PATIENCE_S, UsageError, asking_hub
from fedyard.agent.site import Folder
from fedyard.client import client
from fedyard.client.operating import OperatorsCalls
from fedyard.client.people import PeoplesCalls
from fedyard.wire import answers as a

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


class NeedsFolder(UsageError):
    """What is sealed is opened with a site's keys, which lie in its folder; the client was made without one."""


class Asking(PeoplesCalls, OperatorsCalls, client.Client):
    """Every call of the API, with a site's folder or without.

    hub: its address. token: of the account or of the site that asks. folder: of a site that takes part; what needs one
    raises `NeedsFolder` without it, and is done with that site's own token. ca_file, allow_plain_http, proxy and the
    others: as `fedyard.client.calls.Calls` has them.
    """

    def __init__(
        self,
        hub: str,
        token: str,
        folder: str | PathLike[str] | None = None,
        *,
        ca_file: str | PathLike[str] | None = None,
        give_up_s: float = 60.0,
        allow_plain_http: Collection[str] = (),
        transfer_hosts: Collection[str] = (),
        proxy: str | None = None,
        closing: threading.Event | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(
            hub,
            token,
            give_up_s=give_up_s,
            ca_file=None if ca_file is None else str(ca_file),
            allow_plain_http=allow_plain_http,
            transfer_hosts=transfer_hosts,
            proxy=proxy,
            closing=closing,
            waiting=waiting,
        )
        self.folder = None if folder is None else Folder(Path(folder))
        self._site: client.Client | None = None
        self._ca_file = None if ca_file is None else str(Path(ca_file).resolve())
        self._proxy = proxy

    @classmethod
    def of_site(cls, folder: str | PathLike[str]) -> Self:
        """As an enrolled site, with its token, as its site.toml says. Raises `SiteError`."""
        found = Folder(Path(folder))
        settings = found.settings()
        found.site_id()
        return cls(
            settings.hub,
            found.token(),
            folder,
            ca_file=settings.ca_file,
            give_up_s=PATIENCE_S,
            allow_plain_http=settings.plain_hosts,
            transfer_hosts=settings.transfer_hosts,
            proxy=settings.proxy,
        )

    def __repr__(self) -> str:
        opens = "no folder: opens nothing sealed" if self.folder is None else f"folder={str(self.folder.path)!r}"
        return f"{type(self).__name__}({self.hub!r}, {opens})"

    def close(self) -> None:
        super().close()
        if self._site is not None:
            self._site.close()

    def as_site(self, what: str) -> tuple[Folder, client.Client]:
        """The folder, and who asks with its site's token. what: is to be done with them. Raises `NeedsFolder`."""
        if self.folder is None:
            raise NeedsFolder(
                f"{what} needs the folder of a site that takes part: the hub has it sealed, and the keys lie there. "
                'Say Client(hub, token, folder="…"), or Client.of_site("…")'
            )
        if self._site is None:
            self._site = asking_hub(self.folder, give_up_s=self.give_up_s)
        return self.folder, self._site

    def leads(self, coordinator_site_id: str) -> bool:
        """Is the folder that of the site which coordinates?"""
        return self.folder is not None and self.folder.site_id() == coordinator_site_id

    def sees_as(self, run: a.Run) -> str:
        """The id of the site for which this caller looks at a run: an account looks for the sites of its organisation,
        and one that sees every record for the coordinator."""
        me = self.me()
        if me.kind == "site":
            return me.id
        if me.role in ("admin", "auditor") or self.leads(run.coordinator_site_id):
            return run.coordinator_site_id
        own = [site.id for site in self.sites() if site.organisation_id == me.organisation_id]
        return next((one for one in own if one == run.coordinator_site_id), own[0] if own else "")

    def site_names(self) -> Mapping[str, str]:
        """Sites' names by id, as far as the caller may see them."""
        return names_of(self)


def bound(kind: type[S], found: msgspec.Struct, client: Asking, **more: object) -> S:
    """What the hub answered as one of our classes, which remembers who asked. more: what else it remembers."""
    made = kind(**{name: getattr(found, name) for name in found.__struct_fields__})
    msgspec.structs.force_setattr(made, "_asked", {"client": client, **more})
    return made


def asked(made: msgspec.Struct) -> dict[str, Any]:
    """What `bound` gave it. Raises `UsageError` for one that was made otherwise."""
    found: dict[str, Any] | None = getattr(made, "_asked", None)
    if found is None:
        raise UsageError(f"this {type(made).__name__} was not given out by a client: ask one for it")
    return found


def client_of(made: msgspec.Struct) -> Asking:
    found = asked(made)["client"]
    assert isinstance(found, Asking)
    return found
