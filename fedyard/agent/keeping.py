"""What hooks keep for later runs and rounds (`context.keep`): it counts with the result that this agent keeps.

For each project and task there are two folders in `kept/`, numbered: the one that counts, and the one that counted
before the entry that made it. A hook works in a copy, in its run's own folder. What it leaves there is put aside when
the hook has ended well, and counts from the transaction on that keeps its result. A hook that is called again because
of the same entry begins with what there was before.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from fedyard.agent.paths import under
from fedyard.agent.state import Generation, State
from fedyard.tasks.kept import is_as_copied, place, put_aside, take_out
from fedyard.wire.durable import to_disk

FOLDER = "kept"
WORK = "keep"
"""A hook's copy, in the folder of its task run."""


class Keeping:
    """Of a site. Safe to use from many threads; of two runs of one task at a time the last one to keep counts."""

    def __init__(self, site: Path, state: State) -> None:
        self._folder, self._state = site / FOLDER, state
        self._lock = threading.Lock()
        self._aside: set[Path] = set()

    def begin(self, project_id: str, task: str, run_id: str, entry_seq: int, work: Path) -> None:
        """The hook's copy, of what counts for this entry. Raises `OSError`."""
        with self._lock:
            self._forget_old(project_id, task)
            base = self._base(project_id, task, run_id, entry_seq)
            self.place(self._path(project_id, task, base) if base else None, run_id, work)

    def place(self, kept: Path | None, run_id: str, work: Path) -> None:
        """A hook's copy, or an empty folder, whatever lies in its place. Raises `OSError`."""
        place(kept, work, self._out_of_reach(run_id, work, "next"))

    def put_aside(
        self, project_id: str, task: str, run_id: str, entry_seq: int, work: Path, *, if_changed: bool
    ) -> Generation | None:
        """What a hook has left in its copy; it does not count yet. None if nothing is there, and nothing was.

        if_changed: None also if all is as it was. Raises `TaskError`, `OSError`.
        """
        taken = self._out_of_reach(run_id, work, "taken")
        shutil.rmtree(taken, ignore_errors=True)
        take_out(work, taken)
        with self._lock:
            base = self._base(project_id, task, run_id, entry_seq)
            before = self._path(project_id, task, base) if base else None
            if (if_changed or not any(taken.iterdir())) and is_as_copied(before, taken):
                shutil.rmtree(taken, ignore_errors=True)
                return None
            folder = under(self._folder, project_id, task)
            if not folder.exists():
                folder.mkdir(parents=True, mode=0o700)
                for above in (folder.parent, self._folder, self._folder.parent):
                    to_disk(above)
            numbers = [int(one.name) for one in folder.iterdir() if one.name.isdigit()]
            known = self._state.kept.get(project_id, task)
            number = max([0 if known is None else known.number, *numbers]) + 1
            path = self._path(project_id, task, number)
            put_aside(taken, path)
            self._aside.add(path)
            return Generation(project_id, task, number, base, entry_seq, run_id)

    def counts(self, generation: Generation) -> None:
        """It is on record now, or never will be; what is not needed any more goes."""
        with self._lock:
            self._aside.discard(self._path(generation.project_id, generation.task, generation.number))
            self._forget_old(generation.project_id, generation.task)

    def _out_of_reach(self, run_id: str, work: Path, what: str) -> Path:
        """In the run's folder, of which a hook's process may write into its task's alone."""
        return under(self._folder.parent, "runs", run_id, f"{work.parent.name}-{WORK}-{what}")

    def _base(self, project_id: str, task: str, run_id: str, entry_seq: int) -> int:
        known = self._state.kept.get(project_id, task)
        if known is None:
            return 0
        return known.before if (known.entry_seq, known.run_id) == (entry_seq, run_id) else known.number

    def _path(self, project_id: str, task: str, number: int) -> Path:
        return under(self._folder, project_id, task, str(number))

    def _forget_old(self, project_id: str, task: str) -> None:
        """What an agent put aside that ended before it counted goes, too."""
        folder = under(self._folder, project_id, task)
        if not folder.is_dir():
            return
        known = self._state.kept.get(project_id, task)
        stays = set() if known is None else {str(known.number), str(known.before)}
        for one in folder.iterdir():
            if one.name not in stays and one not in self._aside:
                shutil.rmtree(one, ignore_errors=True)
