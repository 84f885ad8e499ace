"""Global models of a project, opened."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from fedyard.actions.models import fetch, opened
from fedyard.actions.site import UsageError
from fedyard.python.asking import asked, client_of
from fedyard.wire import answers as a
from fedyard.wire.notebooks import table
from fedyard.wire.scoring import OF_SCORES

if TYPE_CHECKING:
    from fedyard.tasks import Arrays, Content


class Model(a.Model, frozen=True, kw_only=True, dict=True):
    """A version of a project's model. What the hub says of it anybody may read; the model itself is sealed, and opened
    with a site's folder. Raises `NeedsFolder` without one, `SealError` where it cannot be opened."""

    def content(self) -> Content:
        """What its task made: arrays by name, or bytes."""
        folder, site = client_of(self).as_site(f"opening version {self.version} of the model")
        return opened(folder, site, self._project(), self)

    def arrays(self) -> Arrays:
        """Arrays by name. Raises `UsageError` for a model that is bytes of its task's own making."""
        found = self.content()
        if isinstance(found, bytes):
            raise UsageError(f"version {self.version} is {len(found)} bytes of its task's own making: take content()")
        return found

    def save(self, to: str | PathLike[str]) -> Path:
        """Write a file: arrays as .npz, anything else as it is. Its path."""
        folder, site = client_of(self).as_site(f"opening version {self.version} of the model")
        fetch(folder, site, self._project(), self, Path(to))
        return Path(to)

    def _project(self) -> a.Project:
        return client_of(self).project(str(asked(self)["project_id"]))

    def _repr_html_(self) -> str:
        measured = self.metrics | {OF_SCORES + name: value for name, value in self.score.items()}
        about: dict[str, object] = {"version": self.version, "run": self.run_id, "task": self.task, "round": self.round}
        about |= {"made": self.created_at, "bytes": self.size_bytes, "best": "yes" if self.best else ""}
        return table(("", "model"), [*about.items(), *measured.items()])
