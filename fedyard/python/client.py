"""`fedyard.Client`: the whole API for programs and notebooks, and runs, projects and models that know what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

from fedyard.actions.comparing import MAX_RUNS
from fedyard.actions.enrolling import enrol as make_site
from fedyard.actions.messages import read
from fedyard.actions.naming import ID_LENGTH, project_named, run_named
from fedyard.actions.projects import Left, create, join, leave, meant
from fedyard.actions.site import UsageError
from fedyard.agent.consents import UNKNOWN, parse_coordinator
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import KEEP_ENTRIES, State
from fedyard.client.listed import Listed
from fedyard.client.transfer import Transfer
from fedyard.clock import draw_key
from fedyard.python.asking import Asking, bound, client_of
from fedyard.python.models import Model
from fedyard.python.projects import Project
from fedyard.python.runs import Comparison, Run
from fedyard.tasks.settings import Tasks
from fedyard.wire import answers as a
from fedyard.wire import types as w

_OF_RUNS = ("update", "model")
"""Messages as well, but nobody's to read."""


class Received(a.Answer, frozen=True, kw_only=True, dict=True):
    """A message that came to the folder's site. seq: of its entry in the inbox."""

    seq: int
    at: datetime
    kind: str
    sender: str
    project_id: str
    size_bytes: int

    def content(self) -> bytes:
        """As the site's agent has opened it. Raises `UsageError` where it has not."""
        folder, _ = client_of(self).as_site("opening a message")
        state = State(folder.path / "state.sqlite")
        try:
            found = read(state, self.seq)
        finally:
            state.close()
        return found if isinstance(found, bytes) else found.read_bytes()


class Client(Asking):
    """Whoever asks a hub from Python: every call of its API, checked and typed, and what follows from several of them.

        client = fedyard.Client("https://hub.example", token)                 # an account, or a site
        client = fedyard.Client("https://hub.example", token, folder="site")  # and what is sealed, with a site's keys
        client = fedyard.Client.of_site("site")                               # as that site

    Safe to use from many threads, and each write safe to repeat. Raises `Refused` for what the hub refuses,
    `Unavailable` where it does not answer for `give_up_s`, `NeedsFolder` where something is to be opened or sealed and
    no site's folder was given.
    """

    # projects

    def projects(
        self, *, name: str | None = None, member: str | None = None, coordinator: str | None = None
    ) -> Listed[Project]:
        """member, coordinator: ids of sites."""
        found = super().projects(name=name, member=member, coordinator=coordinator)
        return Listed(bound(Project, one, self) for one in found)

    def project(self, project_id: str) -> Project:
        """By its id, or by its name. Raises `UsageError` if there is none, `NotChosen` if there are several."""
        found = super().project(project_id) if len(project_id) == ID_LENGTH else project_named(self, project_id)
        return bound(Project, found, self)

    def create_project(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]],
        *,
        description: str = "",
        data_format: str = "",
        client_image: str = "",
        joining: w.Joining = "approval",
        sealed: w.Sealed = "required",
        infrastructure: Mapping[str, object] | None = None,
        coordinator_site_id: str | None = None,
        max_live_runs: int | None = None,
        key: str | None = None,
    ) -> str:
        """The new project's id. With a folder its site coordinates it, and its agent holds the hub to these tasks;
        without, the site that asks does, or the one that an account names. infrastructure: as docs/api.md has it."""
        said: dict[str, Any] = {
            "description": description,
            "data_format": data_format,
            "client_image": client_image,
            "joining": joining,
            "sealed": sealed,
            "infrastructure": infrastructure,
            "max_live_runs": max_live_runs,
            "key": key,
        }
        if self.folder is not None and coordinator_site_id in (None, self.folder.site_id()):
            folder, site = self.as_site("coordinating a project")
            return create(folder, site, name, tasks, "the tasks", **said)
        return super().create_project(name, tasks, coordinator_site_id=coordinator_site_id, **said)

    def join(self, project: str, *, coordinator: str = UNKNOWN, notes: str = "") -> a.Membership | None:
        """Have the folder's site serve a project (name or id), and join it, ask to, or accept its invitation.

        coordinator: its site id, or its fingerprint (twelve words); unknown: the first one is believed. The
        membership, None if this site coordinates it.
        """
        folder, site = self.as_site("joining a project")
        try:
            wanted = parse_coordinator(coordinator)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return join(folder, site, meant(site, project, wanted), wanted, notes)[1]

    def leave(self, project: str) -> Left:
        """Have the folder's site serve a project (name or id) no longer."""
        return leave(*self.as_site("leaving a project"), project)

    # sites

    def new_site(
        self,
        folder: str | PathLike[str],
        name: str,
        *,
        data: Mapping[str, str | PathLike[str]] | None = None,
        allow: Sequence[str] = (),
        description: str = "",
        organisation_id: str | None = None,
    ) -> Client:
        """Make a folder for a new site here and enrol it: an admin's call. The client of the new site.

        data: files by name, relative to the folder, as tasks will ask for them. allow: `module:Class` of tasks that may
        run there. organisation_id: None: the caller's own. Its agent is a program of its own: `fedyard site run`.
        Raises `SiteError` where there is a site already, `UsageError`, `Refused`.
        """
        organisation = organisation_id or self.me().organisation_id
        if organisation is None:
            raise UsageError("say of which organisation the new site is: organisation_id")
        settings = Settings(
            hub=self.hub,
            name=name,
            description=description,
            ca_file=self._ca_file,
            proxy=self._proxy,
            allow_plain_http=[*self._allow_plain_http] or False,
            transfer_hosts=[*self._transfer_hosts],
            tasks=Tasks(allow=[*allow]),
            data={title: str(file) for title, file in (data or {}).items()},
        )
        made = self.create_enrolment(organisation, f"for {name}")
        assert made.token is not None, "the hub drew it for this call"
        make_site(Folder(Path(folder)), settings, made.token)
        return type(self).of_site(folder)

    # runs

    def runs(
        self, *, project_id: str | None = None, state: str | None = None, site_id: str | None = None
    ) -> Listed[Run]:
        """site_id: of a site that has a seat in them, or had one."""
        found = super().runs(project_id=project_id, state=state, site_id=site_id)
        return Listed(bound(Run, one, self) for one in found)

    def run(self, run_id: str, *, after: int | None = None, wait: int = 0) -> Run:
        """By its id, by how that begins, or as PROJECT/NUMBER. after, wait: as soon as its version is above that, or as
        it is after so many seconds."""
        named = run_id if len(run_id) == ID_LENGTH and "/" not in run_id else run_named(self, run_id).id
        return bound(Run, super().run(named, after=after, wait=wait), self)

    def compare(self, *runs: str | a.Run, everything: bool = False) -> Comparison:
        """Runs beside each other. everything: also in what their tasks do not differ. Raises `UsageError`."""
        if not 2 <= len(runs) <= MAX_RUNS:
            raise UsageError(f"name 2 to {MAX_RUNS} runs to compare")
        found = [self.run(one if isinstance(one, str) else one.id) for one in runs]
        return Comparison(found, everything=everything)

    # models and files

    def models(self, project_id: str) -> Listed[Model]:
        return Listed(bound(Model, one, self, project_id=project_id) for one in super().models(project_id))

    def upload_artifact(
        self,
        file: str | PathLike[str],
        project_id: str,
        kind: w.ArtifactKind = "result",
        *,
        archive: bool | None = None,
        key: str | None = None,
    ) -> str:
        """The id of the artifact, stored as it is: nothing seals it. archive: initial files that the hub is to read."""
        return Transfer(self).upload(
            Path(file), project_id=project_id, kind=kind, key=key or draw_key(), archive=archive
        )

    def download_artifact(self, artifact_id: str, to: str | PathLike[str]) -> Path:
        """The artifact's bytes as they are stored, checked against its digest; the file."""
        Transfer(self).download(artifact_id, Path(to))
        return Path(to)

    # messages

    def messages(self, *, last: int = KEEP_ENTRIES) -> Listed[Received]:
        """Messages among the newest entries of the inbox of the folder's site, oldest first. Raises `NeedsFolder`."""
        folder, site = self.as_site("reading messages")
        names = {one.id: one.name for one in site.sites()}
        state = State(folder.path / "state.sqlite")
        entries = state.inbox.latest(last)
        state.close()
        found: Listed[Received] = Listed()
        for entry in entries:
            message = entry.message
            if entry.kind != "message" or message is None or message.kind in _OF_RUNS:
                continue
            sender = message.sender_site_id or ""
            one = Received(
                seq=entry.seq,
                at=entry.created_at,
                kind=message.kind,
                sender=names.get(sender, sender),
                project_id=entry.project_id or "",
                size_bytes=message.size_bytes,
            )
            found.append(bound(Received, one, self))
        return found

    # the API itself

    def description(self) -> dict[str, object]:
        """The API as OpenAPI describes it."""
        return self.read("/openapi.json", dict)
