"""An agent in this process: it starts at once, and what it logged can be looked at."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedyard.agent.agent import Agent
from fedyard.clock import Clock
from tests.fedyard.world import SiteProcess, World


class AgentThread:
    """A site's agent; `failure` is what ended it, if it was not asked to end."""

    def __init__(self, site: SiteProcess, clock: Clock | None = None) -> None:
        self.site = site
        self.failure: BaseException | None = None
        self._log = io.StringIO()
        self._agent = Agent(site.folder, log=self._log, clock=clock)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> AgentThread:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._agent.stop()
        self._thread.join()

    def runs(self) -> bool:
        return self._thread.is_alive()

    def lines(self, what: str | None = None) -> list[dict[str, Any]]:
        """What it logged, of one kind or all of it."""
        lines = [json.loads(line) for line in self._log.getvalue().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if what in (None, line["what"])]

    def _run(self) -> None:
        try:
            self._agent.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failure = error


@contextmanager
def at_work(world: World, folder: Path, *, honest: str, lied_to: str, hub: str) -> Iterator[list[AgentThread]]:
    """Two agents: the one whose hub is honest, and the one that is lied to by `hub`."""
    sites = [*world.sites(folder, honest), *world.sites(folder, lied_to, hub=hub)]
    agents = [AgentThread(site).start() for site in sites]
    try:
        yield agents
    finally:
        for agent in agents:
            agent.stop()
