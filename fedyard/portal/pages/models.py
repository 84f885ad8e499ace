"""Models: the versions of each project that this site serves, their metrics as curves, and files to keep."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedyard.actions.models import fetch
from fedyard.actions.site import UsageError
from fedyard.agent.paths import under
from fedyard.client.client import Client
from fedyard.client.errors import HubError
from fedyard.portal.desk import Answer, Desk, Download, Page, Visit
from fedyard.wire.answers import Model
from fedyard.wire.plurals import counted
from fedyard.wire.times import SECOND

SHOWN = 30
"""Versions of each project; the newest ones."""


@dataclass(frozen=True)
class Chart:
    """Curves of one metric over versions. names: whose. rows: (version, a value for each name or None)."""

    id: str
    title: str
    names: Sequence[str]
    rows: Sequence[tuple[int, Sequence[float | None]]]


@dataclass(frozen=True)
class ModelFile:
    """A model in the folder `models/`, as the agent took it in. at: microseconds."""

    name: str
    size_bytes: int
    at: int


@dataclass(frozen=True)
class OfProject:
    """runs: what people call each run, by id."""

    project_id: str
    name: str
    models: Sequence[Model]
    runs: Mapping[str, str]
    charts: Sequence[Chart]
    more: int = 0


@dataclass(frozen=True)
class Models:
    projects: Sequence[OfProject]
    files: Sequence[ModelFile]
    trouble: str = ""

    @property
    def sentence(self) -> str:
        versions = sum(len(one.models) + one.more for one in self.projects)
        made, projects = counted(versions, "version"), counted(len(self.projects), "project")
        return f"{made} of models in {projects}; {counted(len(self.files), 'file')} in this house."


def show(visit: Visit) -> Answer:
    desk = visit.desk
    files = files_in(desk.folder.path / "models")
    found, trouble = desk.asked(lambda client: _of_projects(desk, client))
    return Page("models.html", {"models": Models(found or [], files, trouble)})


def _of_projects(desk: Desk, client: Client) -> list[OfProject]:
    found = []
    for consent in sorted(desk.consents().values(), key=lambda one: one.name):
        if not consent.live:
            continue
        try:
            models = client.models(consent.project_id)
        except HubError:
            continue  # not a member yet, or not any more
        if models:
            runs = {
                one.id: f"{one.number}, attempt {one.attempt}" for one in client.runs(project_id=consent.project_id)
            }
            found.append(of_project(consent.project_id, consent.name, models, runs))
    return found


def of_project(project_id: str, name: str, models: Sequence[Model], runs: Mapping[str, str]) -> OfProject:
    return OfProject(
        project_id,
        name,
        models=list(reversed(models))[:SHOWN],
        runs=runs,
        charts=charts_of(project_id, models),
        more=max(0, len(models) - SHOWN),
    )


def charts_of(project_id: str, models: Sequence[Model]) -> list[Chart]:
    """All metrics over versions, where there are at least two."""
    metrics = sorted({name for model in models for name in model.metrics})
    if len(models) < 2 or not metrics:
        return []
    rows = [(model.version, [model.metrics.get(name) for name in metrics]) for model in models]
    return [Chart(f"models-{project_id}", "Metrics by version", [name.replace("_", " ") for name in metrics], rows)]


def files_in(folder: Path) -> list[ModelFile]:
    """The newest first."""
    found = []
    for path in folder.glob("run-*") if folder.is_dir() else ():
        if path.is_file():
            stat = path.stat()
            found.append(ModelFile(path.name, stat.st_size, stat.st_mtime_ns // 1000 // SECOND * SECOND))
    return sorted(found, key=lambda one: (-one.at, one.name))


def download(visit: Visit) -> Answer:
    """A version as a file: fetched, opened and checked here."""
    desk, client = visit.desk, visit.desk.client()
    project = client.project(visit.path["project_id"])
    version = visit.path["version"]
    model = next((one for one in client.models(project.id) if str(one.version) == version), None)
    if model is None:
        raise UsageError(f"project {project.name!r} has no model version {version}")
    ending = "" if model.run_id is None else ".npz"
    with tempfile.NamedTemporaryFile(dir=desk.folder.path, prefix=".download-", delete=False) as file:
        path = Path(file.name)
    try:
        fetch(desk.folder, client, project, model, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Download(f"{_plain(project.name)}-{model.version}{ending}", path, remove=True)


def file(visit: Visit) -> Answer:
    """A file of the folder `models/`."""
    name = visit.path["name"]
    if name not in {one.name for one in files_in(visit.desk.folder.path / "models")}:
        raise UsageError(f"there is no model file {name!r} here")
    return Download(name, under(visit.desk.folder.path / "models", name))


def _plain(name: str) -> str:
    return (
        "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in name)[:60].strip(".-")
        or "model"
    )
