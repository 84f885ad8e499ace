"""An init step: fetch the archive of a project's initial files from the hub, check it, and lay them into the volume.

    python3 -m fedyard.cluster.fetching ROOT

It may be ended at any time and run again. All of the archive is unpacked beside its place first; then each file at its
top is moved to `initFiles/`, where none is yet: what the coordinator has written is left as it is. Done once it is not
done again. Without an archive nothing is done, and the next start tries again.

Where people have said which model version the workload shall begin with, that takes the place of `fl_checkpoint`, once
for each workload: what starts again goes on with what it has written since. The file that was there is kept beside it,
where no selector sees it, until the next one is. Standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Final

from fedyard.cluster.archives.limits import ArchiveError
from fedyard.cluster.archives.unpacking import INITIAL_FILES, unpack
from fedyard.cluster.conventions import FILES_TOKEN, HUB_URL, MODEL_VERSION, WORKLOAD_ID
from fedyard.wire.chunks import CHUNK_BYTES, tree_digest

TRIES: Final = 5
WITHIN_S: Final = 60.0
"""Without a byte."""
BLOCK: Final = 1_048_576
CHECKPOINT: Final = "fl_checkpoint"
_OWN, _DONE, _ARCHIVE, _FILLS = ".fedyard", "done", "archive", "fills"
_MODEL, _LAYS, _LAID, _REPLACED = "model", "lays", "laid", "replaced"


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """The exit code; what it says is the container's message."""
    (root,) = map(Path, arguments)
    where = f"{environment[HUB_URL].rstrip('/')}/v1/workloads/{environment[WORKLOAD_ID]}"
    own = root / _OWN
    own.mkdir(mode=0o700, exist_ok=True)
    try:
        if not (own / _DONE).exists():
            _unpack(f"{where}/archive", environment[FILES_TOKEN], root)
    except (ArchiveError, OSError, HTTPException) as error:
        if isinstance(error, ArchiveError):  # perhaps its beginning is another's: the next time from the first byte
            (own / _ARCHIVE).unlink(missing_ok=True)
        sys.stderr.write(f"the initial files cannot be unpacked: {_said(error)}\n")
        return 1
    version = environment.get(MODEL_VERSION)
    try:
        if version is not None and _text(own / _LAID) != environment[WORKLOAD_ID]:
            _begin_with(f"{where}/model", environment[FILES_TOKEN], root, environment[WORKLOAD_ID])
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"it cannot begin with model version {version}: {_said(error)}\n")
        return 1
    return 0


def _unpack(where: str, token: str, root: Path) -> None:
    own = root / _OWN
    if fetched(where, token, own / _ARCHIVE) is None:
        sys.stdout.write("the project has no archive of initial files that is checked: nothing is unpacked\n")
        return
    with (own / _ARCHIVE).open("rb") as archive:
        unpack(archive, own)
    lay(own / INITIAL_FILES, root / INITIAL_FILES)
    (own / _DONE).touch()
    (own / _ARCHIVE).unlink()


def _begin_with(where: str, token: str, root: Path, workload: str) -> None:
    """Put the model in the place of the checkpoint; whoever was ended meanwhile goes on here."""
    own, place = root / _OWN, root / INITIAL_FILES / CHECKPOINT
    (own / _MODEL).unlink(missing_ok=True)  # perhaps of another version
    digest = fetched(where, token, own / _MODEL)
    if digest is None:
        raise OSError("the hub does not have it any more, or this workload was replaced")
    if digest_of(own / _MODEL) != digest:
        raise OSError("what came is not what the hub has")
    place.parent.mkdir(mode=0o770, exist_ok=True)
    if _text(own / _LAYS) != workload:  # what is there is whole
        if place.exists():
            shutil.copyfile(place, own / _REPLACED)
        (own / _LAYS).write_text(workload)
    place.touch(mode=0o640)
    _fill(place, own / _MODEL)
    (own / _LAID).write_text(workload)
    (own / _MODEL).unlink()


def digest_of(file: Path) -> str:
    """The tree digest, as the hub has it."""
    with file.open("rb") as source:
        chunks = iter(partial(source.read, CHUNK_BYTES), b"")
        return tree_digest(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks))


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def lay(unpacked: Path, place: Path) -> None:
    """Move what is there where nothing is. An empty file, which stands in for one that is to come, is filled: from its
    beginning, if whoever filled it was ended meanwhile."""
    place.mkdir(mode=0o770, exist_ok=True)
    fills = unpacked.with_name(_FILLS)
    begun = _text(fills)
    for one in sorted(unpacked.iterdir()):
        target = place / one.name
        if target.is_file() and one.is_file() and (begun == one.name or not target.stat().st_size):
            fills.write_text(one.name)
            _fill(target, one)
            fills.unlink()
        elif not target.exists():
            one.rename(target)


def _fill(target: Path, content: Path) -> None:
    """In its place: it may be mounted somewhere."""
    with content.open("rb") as source, target.open("r+b") as file:
        file.truncate()
        shutil.copyfileobj(source, file, BLOCK)
        file.flush()
        os.fsync(file.fileno())


def fetched(where: str, token: str, target: Path) -> str | None:
    """All of it, going on where it was cut: its digest, empty if the hub has not said it. None: there is none."""
    for left in reversed(range(TRIES)):
        have = target.stat().st_size if target.exists() else 0
        headers = {"Authorization": f"Bearer {token}", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(where, headers=headers), timeout=WITHIN_S) as answer:  # noqa: S310 - the hub's
                whole = answer.status == 200
                length = int(answer.headers["Content-Length"])
                with target.open("wb" if whole else "ab") as file:
                    written = _copy(answer.read, file)
                if written == length:
                    return (answer.headers["ETag"] or "").strip('"')
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code == 416:  # all of it is there already
                return (error.headers["ETag"] or "").strip('"')
            if not left:
                raise
        except (OSError, HTTPException):
            if not left:
                raise
    raise OSError("the hub ends its answer too early, again and again")


def problem_of(error: urllib.error.HTTPError) -> tuple[object, str]:
    """Its type, and the hub's own sentence, if it has one."""
    try:
        body = json.loads(error.read(65_536))
        kind, found = body.get("type"), body.get("detail")
    except (OSError, HTTPException, ValueError, AttributeError):
        kind = found = None
    return kind, f"the hub refuses it: {found}" if isinstance(found, str) else f"the hub answers {error.code}"


def _said(error: Exception) -> str:
    return problem_of(error)[1] if isinstance(error, urllib.error.HTTPError) else str(error)


def _copy(read: Callable[[int], bytes], file: BinaryIO) -> int:
    written = 0
    while block := read(BLOCK):
        written += file.write(block)
    return written


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
