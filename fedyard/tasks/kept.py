"""What hooks keep (`context.keep`), as files: a hook works in a copy, which is put aside when it has ended well.

A hook's process may do with its copy what it likes, also while it is put aside, and put a link in its place. So the
whole folder is moved out of its reach first, and looked at then, and a new copy is made out of its reach and moved into
its place; nothing but plain files and folders is kept, and no link is followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from fedyard.tasks import TaskError
from fedyard.wire.durable import to_disk

MAX_KEPT_FILES = 1000
"""Files and folders together."""
MAX_KEPT_BYTES = 1_073_741_824
MAX_DEPTH = 16
_COPIED_NS = 946_684_800_000_000_000
"""When every copied file was changed last, by its own account: whoever writes it changes that."""


def copy_to_work(kept: Path | None, work: Path) -> None:
    """The hook's folder as it was kept; what a hook has left there before goes. Raises `OSError`."""
    if work.is_symlink():
        work.unlink()
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in work.iterdir():
        _remove(one)
    if kept is not None and kept.is_dir():
        shutil.copytree(kept, work, dirs_exist_ok=True, copy_function=_copied)


def place(kept: Path | None, work: Path, staged: Path) -> None:
    """As `copy_to_work`, where a hook's process may live: the copy is made at `staged`, out of its reach, and moved.

    Raises `OSError`, also where that process puts something else in the copy's place meanwhile.
    """
    work.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove(staged)
    copy_to_work(kept, staged)
    _remove(work)
    staged.rename(work)


def take_out(work: Path, to: Path) -> None:
    """Move a hook's folder out of its reach, by its name alone: what is behind a link stays where it is.

    Raises `TaskError` for what is no folder, and `OSError`; nothing is at `to` then.
    """
    work.rename(to)
    if not stat.S_ISDIR(to.lstat().st_mode):
        _remove(to)
        raise TaskError("it has put a link, or what else is no folder, in the place of context.keep: write into it")


def is_as_copied(kept: Path | None, work: Path) -> bool:
    """True if nothing was written since, as far as the files' times tell."""
    before = set() if kept is None or not kept.is_dir() else {one.relative_to(kept) for one in _walked(kept, 0)}
    now = {one.relative_to(work): one.lstat() for one in _walked(work, 0)}
    return set(now) == before and all(
        stat.S_ISDIR(one.st_mode) or (stat.S_ISREG(one.st_mode) and one.st_mtime_ns == _COPIED_NS)
        for one in now.values()
    )


def put_aside(work: Path, kept: Path) -> None:
    """Make a hook's folder, with what it has written, one that is kept for good. work is gone then.

    Raises `TaskError` for what cannot be kept, and `OSError`; the new folder is gone then.
    """
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    take_out(work, kept)
    try:
        kept.chmod(0o700)
        _check(kept)
    except BaseException:
        _remove(kept)
        raise
    to_disk(kept.parent)


def _check(kept: Path) -> None:
    size = 0
    for count, path in enumerate(_walked(kept, 0), 1):
        found = path.lstat()
        if count > MAX_KEPT_FILES:
            raise TaskError(f"it keeps more than {MAX_KEPT_FILES} files in context.keep: put some together")
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            size += found.st_size
        elif not stat.S_ISDIR(found.st_mode):
            raise TaskError("it keeps a link, or what else is no plain file, in context.keep: copy its content")
        if size > MAX_KEPT_BYTES:
            raise TaskError(f"it keeps more than {MAX_KEPT_BYTES} bytes in context.keep: remove what is not needed")
        path.chmod(0o700 if stat.S_ISDIR(found.st_mode) else 0o600)
        to_disk(path)
    to_disk(kept)


def _walked(folder: Path, depth: int) -> Iterator[Path]:
    """Everything below a folder, but nothing behind a link."""
    if depth > MAX_DEPTH:
        raise TaskError(f"it keeps folders in context.keep that are nested more than {MAX_DEPTH} deep")
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walked(path, depth + 1)


def _copied(one: str, to: str) -> str:
    shutil.copyfile(one, to)
    os.utime(to, ns=(_COPIED_NS, _COPIED_NS))
    return to


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
