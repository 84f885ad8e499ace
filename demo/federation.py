"""What the stories of sites that train have in common: their folders, the project that they are let into, its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from demo.processes import DemoError
from demo.stage import COORDINATOR, SOON_S, Stage
from fedyard.actions.models import opened
from fedyard.actions.site import joining_of
from fedyard.agent.site import Folder
from fedyard.cli.show import watch
from fedyard.client.client import Client
from fedyard.tasks import Arrays
from fedyard.wire.answers import Run

RUN_WITHIN_S = 300.0
STAGE_WITHIN_S = 60.0
CONTRACT = {
    "select_within_s": STAGE_WITHIN_S,
    "train_within_s": STAGE_WITHIN_S,
    "aggregate_within_s": STAGE_WITHIN_S,
}


class Federation(Stage):
    """Sites with agents of their own, one of which coordinates and trains. about, data_format: of the project."""

    about: ClassVar[str] = ""
    data_format: ClassVar[str] = ""

    def _let_in(self) -> Client:
        """The admin of the hub, once it is ready."""
        self.hub = self._address()
        admin = self._admin()
        self.mark = self._mark(admin)
        self._say(f"hub        {self.hub} ({self.chosen.broker})")
        self._say_page()
        return admin

    def _federated(
        self,
        admin: Client,
        names: Sequence[str],
        settled: Callable[[Path, str], None],
        tasks: Sequence[dict[str, object]],
    ) -> str:
        """The project's id, once every site is a member of it. settled: writes a site's records to its folder."""
        self.folders = {name: Folder(self.chosen.folder / name) for name in names}
        for name, folder in self.folders.items():
            self._prepare(admin, name, [] if name == COORDINATOR else [self._join()])
            settled(folder.path, name)
        self._start_agent(COORDINATOR)
        self.coordinator = self._client_of(COORDINATOR)
        named = self.project_name + self.mark
        project_id = self.coordinator.create_project(
            named, list(tasks), description=self.about, data_format=self.data_format
        )
        joining_of(self.folders[COORDINATOR], self.coordinator).lead(project_id, named)
        others = [name for name in self.folders if name != COORDINATOR]
        for name in others:
            self._start_agent(name)
        self._approve(project_id, len(others))
        self._say(f"project    {named}: {COORDINATOR} coordinates and trains, the others asked and were let in")
        return project_id

    def _approve(self, project_id: str, count: int) -> None:
        """The coordinator lets in who asks, until so many are in."""

        def approved() -> bool:
            members = self.coordinator.members(project_id)
            for member in members:
                if member.state == "requested":
                    self.coordinator.put_member(project_id, member.site_id)
            return sum(member.state == "active" and member.role != "coordinator" for member in members) == count

        self._waited("the others have joined", approved, SOON_S)

    def _trained(self, project_id: str) -> Run:
        started = self.coordinator.start_run(project_id, finish_within_s=RUN_WITHIN_S)
        names = {site.id: site.name for site in self.coordinator.sites()}
        own = self.folders[COORDINATOR].site_id()
        run = watch(self.coordinator, started.id, names, self.console, site_id=own)
        if run.state != "succeeded":
            self._say(f"run {run.number} {run.state}: {run.reason}. {run.detail}")
        return run

    def _newest(self, project_id: str) -> Arrays:
        """The newest of the project's models, as the coordinator opens it."""
        project = self.coordinator.project(project_id)
        model = max(self.coordinator.models(project_id), key=lambda one: one.version)
        content = opened(self.folders[COORDINATOR], self.coordinator, project, model)
        if isinstance(content, bytes):
            raise DemoError(f"model version {model.version} is bytes, and should be arrays")
        return content

    def _ended(self, start: float, *, good: bool) -> bool:
        took = self.clock.monotonic() - start
        self._say(f"\n{'Done' if good else 'NOT as it should be: exit code 1'}, after {took:.0f} s.")
        self._look()
        return good
