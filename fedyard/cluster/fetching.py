"""An init step: fetch the archive of a project's initial files from the hub, check it, and lay them into the volume.

    python3 -m fedyard.cluster.fetching ROOT

It may be ended at any time and run again. All of the archive is unpacked beside its place first; then each file at its
top is moved to `initFiles/`, where none is yet: what the coordinator has written is left as it is. Done once it is not
done again. Without an archive nothing is done, and the next start tries again. Standard library alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Final

from fedyard.cluster.archives.limits import ArchiveError
from fedyard.cluster.archives.unpacking import INITIAL_FILES, unpack

URL, WORKLOAD, TOKEN = "FEDYARD_HUB_URL", "FEDYARD_WORKLOAD_ID", "FEDYARD_FILES_TOKEN"
TRIES: Final = 5
WITHIN_S: Final = 60.0
"""Without a byte."""
BLOCK: Final = 1_048_576
_OWN, _DONE, _ARCHIVE, _FILLS = ".fedyard", "done", "archive", "fills"


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """The exit code; what it says is the container's message."""
    (root,) = map(Path, arguments)
    where = f"{environment[URL].rstrip('/')}/v1/workloads/{environment[WORKLOAD]}/archive"
    own = root / _OWN
    if (own / _DONE).exists():
        return 0
    own.mkdir(mode=0o700, exist_ok=True)
    try:
        if not fetched(where, environment[TOKEN], own / _ARCHIVE):
            sys.stdout.write("the project has no archive of initial files that is checked: nothing is unpacked\n")
            return 0
        with (own / _ARCHIVE).open("rb") as archive:
            unpack(archive, own)
        lay(own / INITIAL_FILES, root / INITIAL_FILES)
    except (ArchiveError, OSError, HTTPException) as error:
        if isinstance(error, ArchiveError):  # perhaps its beginning is another's: the next time from the first byte
            (own / _ARCHIVE).unlink(missing_ok=True)
        sys.stderr.write(f"the initial files cannot be unpacked: {error}\n")
        return 1
    (own / _DONE).touch()
    (own / _ARCHIVE).unlink()
    return 0


def lay(unpacked: Path, place: Path) -> None:
    """Move what is there where nothing is. An empty file, which stands in for one that is to come, is filled: from its
    beginning, if whoever filled it was ended meanwhile."""
    place.mkdir(mode=0o770, exist_ok=True)
    fills = unpacked.with_name(_FILLS)
    begun = fills.read_text() if fills.exists() else ""
    for one in sorted(unpacked.iterdir()):
        target = place / one.name
        if target.is_file() and one.is_file() and (begun == one.name or not target.stat().st_size):
            fills.write_text(one.name)
            with one.open("rb") as source, target.open("r+b") as file:  # in its place: it may be mounted somewhere
                file.truncate()
                shutil.copyfileobj(source, file, BLOCK)
                file.flush()
                os.fsync(file.fileno())
            fills.unlink()
        elif not target.exists():
            one.rename(target)


def fetched(where: str, token: str, target: Path) -> bool:
    """All of it, going on where it was cut. False: there is none."""
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
                    return True
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            if error.code == 416:  # all of it is there already
                return True
            if not left:
                raise
        except (OSError, HTTPException):
            if not left:
                raise
    raise OSError("the hub ends its answer too early, again and again")


def _copy(read: Callable[[int], bytes], file: BinaryIO) -> int:
    written = 0
    while block := read(BLOCK):
        written += file.write(block)
    return written


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
