"""What archived projects have at this site's cluster, their volumes too: removed when the hub says that it shall go.

The hub keeps what is wanted, and says so a day after a project with files was archived. A site whose people decide that
themselves says `keep_places` in site.toml. Whatever the hub says, nothing goes in which something is wanted or seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus

import msgspec

from fedyard.client.client import Client
from fedyard.client.errors import Refused as HubRefused
from fedyard.clock import Clock, draw_key
from fedyard.cluster.port import Cluster, Refused
from fedyard.wire.types import Uuid

EVERY_S, AGAIN_S = 300.0, 15.0
"""How often the hub is asked, and how soon a place is looked at again that has not gone yet."""
MAX_AT_ONCE = 100


class _Place(msgspec.Struct, frozen=True):
    project_id: Uuid


class _Listed(msgspec.Struct, frozen=True):
    items: list[_Place]


class Places:
    """Used by one thread."""

    def __init__(self, site_id: str, client: Client, clock: Clock, log: Callable[..., None]) -> None:
        self._site_id, self._client, self._clock, self._log = site_id, client, clock, log
        self._next = float("-inf")

    def look(self, cluster: Cluster, busy: Collection[str]) -> None:
        """Remove those that shall go, if it is time to look. busy: where something is wanted or seen.

        Raises `Unavailable` of either side.
        """
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_S
        for project in self._to_end():
            if project in busy or not self._gone(cluster, project):
                self._next = now + AGAIN_S
            else:
                self._report(project)

    def _to_end(self) -> list[str]:
        path = f"/v1/sites/{self._site_id}/places"
        try:
            return [one.project_id for one in self._client.read(path, _Listed).items[:MAX_AT_ONCE]]
        except HubRefused as error:
            if error.token_unknown:
                raise
            if error.status != HTTPStatus.NOT_FOUND:  # that is a hub that does not know of places yet
                self._log("places not listed", reason=error.slug)
            return []

    def _gone(self, cluster: Cluster, project: str) -> bool:
        """Ask for its end; a stranger's of that name is left alone, so nothing of ours is there."""
        try:
            return cluster.remove_place(self._site_id, project)
        except Refused:
            return True

    def _report(self, project: str) -> None:
        try:
            path = f"/v1/sites/{self._site_id}/places/{project}/gone"
            self._client.write("PUT", path, None, dict, key=draw_key())
        except HubRefused as error:
            if error.token_unknown:
                raise
            return  # it knows already
        self._log("place removed", project=project)
