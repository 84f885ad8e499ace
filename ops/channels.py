"""The embedded server's connections: how many an address may have, and who is told when a client hangs up.

waitress takes in requests, bodies included, without a thread, so that half of one costs no more than its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from web.http.calls import WHEN_GONE


class Task(WSGITask):  # type: ignore[misc]
    """A request on its way through the app, which can ask to be told when the client hangs up."""

    def get_environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = super().get_environment()
        environment[WHEN_GONE] = self.channel.when_gone
        return environment


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection. One address has half of all that there may be, so that it cannot keep the others out."""

    task_class = Task

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self._told: list[Callable[[], None]] = []
        super().__init__(server, sock, addr, adj, map=map)
        here = sum(1 for other in server.active_channels.values() if other.addr[0] == addr[0])
        if here > adj.connection_limit // 2:
            self.handle_close()

    def when_gone(self, told: Callable[[], None]) -> None:
        """Call this when the client hangs up, at once if it has; only the newest request's is kept."""
        self._told = [told]
        if not self.connected:
            told()

    def handle_close(self) -> None:
        super().handle_close()
        for told in self._told:
            told()
