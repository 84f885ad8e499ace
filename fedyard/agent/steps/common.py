"""What every step needs of its site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedyard.agent.courier import Courier
from fedyard.agent.logs import Logs
from fedyard.agent.patience import Patience
from fedyard.agent.payloads import Payloads
from fedyard.agent.receipts import Receipts
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.tasks import jobs
from fedyard.tasks.code import Code
from fedyard.wire.answers import Entry


class Computing(Protocol):
    """Where a task's hooks are called: in child processes, or by the program that holds a workload's seat."""

    def known(self, run_id: str, task_seq: int) -> bool:
        """True if the task run's hooks have been called since the agent started."""

    def code(self, model: str) -> Code | None:
        """The code of a model as it lies here now; None where nobody here starts it. Raises `CodeError`."""

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Callable[[str], None]) -> jobs.Finished | None:
        """The outcome, or None once `unwanted` says so. logged: what the hook says meanwhile."""

    def end(self, run_id: str, task_seq: int | None = None) -> None:
        """Of a task run, or a whole run, nothing is wanted any more."""

    def end_all(self) -> None:
        """The agent ends."""


@dataclass(frozen=True)
class Common:
    """The site that the steps are taken for, and what they are taken with."""

    site_id: str
    folder: Folder
    settings: Settings
    state: State
    client: Client
    courier: Courier
    patience: Patience
    payloads: Payloads
    receipts: Receipts
    children: Computing
    logs: Logs
    log: Callable[..., None]

    @property
    def runs(self) -> Path:
        """What hooks keep, by run and task."""
        return self.folder.path / "runs"


def task_of(entry: Entry) -> tuple[str, int]:
    """The run and the task that an entry is about."""
    assert entry.run_id is not None
    assert entry.task_seq is not None
    return entry.run_id, entry.task_seq
