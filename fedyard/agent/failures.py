"""Why hooks failed, for this site's own people: the whole traceback of each, in a file for each task run.

They may show data, and never leave the site. A file has an end, and there are only so many, the newest: of both the
oldest part goes. A full disk costs the work nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedyard.agent.paths import under
from fedyard.wire.durable import write_whole
from fedyard.wire.times import moment

FOLDER = "failures"
MAX_FILES = 100
MAX_FILE_BYTES = 262_144
_MARK = "======== "


@dataclass(frozen=True)
class Failed:
    """A task run of which a hook has failed here. at: microseconds, of the newest failure. file: where all are.

    text: what is in the file.
    """

    run_id: str
    task_seq: int
    at: int
    file: str
    text: str


class Failures:
    """The files in a site's folder. `keep` from any thread, for one task run from one at a time."""

    def __init__(self, site: Path) -> None:
        self._folder = site / FOLDER

    def keep(self, run_id: str, task_seq: int, round_: int, reason: str, trace: str, at: int) -> Path:
        """Add a failure at the end. at: microseconds. Raises `OSError`."""
        path = under(self._folder, f"{run_id}.{task_seq}.txt")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        text = before + f"{_MARK}{moment(at)} round {round_}: {reason}\n{trace}\n".encode(errors="backslashreplace")
        if len(text) > MAX_FILE_BYTES:
            cut = text[-MAX_FILE_BYTES:]
            begin = cut.find(f"\n{_MARK}".encode())
            text = cut[begin + 1 :]
        write_whole(path, text)
        self._forget_old()
        return path

    def all(self) -> list[Failed]:
        """The newest one first."""
        found = []
        for path in self._files():
            run_id, _, task_seq = path.stem.rpartition(".")
            if task_seq.isdigit():
                at = path.stat().st_mtime_ns // 1000
                found.append(Failed(run_id, int(task_seq), at, str(path), path.read_text("utf-8", "replace")))
        return found

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        files = [path for path in self._folder.iterdir() if path.suffix == ".txt" and not path.name.startswith(".")]
        return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def _forget_old(self) -> None:
        for path in self._files()[MAX_FILES:]:
            path.unlink(missing_ok=True)
