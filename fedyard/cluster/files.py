"""Steps of a job with files: fetch its inputs before its program begins, store its outputs once that has ended well.

    python3 -m fedyard.cluster.files fetch FOLDER [NAME BYTES DIGEST]...
    python3 -m fedyard.cluster.files store FOLDER [NAME required|optional]...

Both may be ended at any time and run again: what lies there whole is not fetched again, and what the hub has is not
sent again. DIGEST is the tree digest (fedyard/wire/chunks.py). What is said on standard error is for people. Standard
library alone, so that the operator's image can be small.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from fedyard.clock import SystemClock, draw_key
from fedyard.cluster.conventions import FILES_TOKEN, HUB_URL, OUTPUT_MISSING, WORKLOAD_ID
from fedyard.cluster.fetching import WITHIN_S, digest_of, fetched, problem_of
from fedyard.wire.backoff import Backoff
from fedyard.wire.chunks import CHUNK_BYTES, tree_digest

CANNOT: Final = 1
"""The exit code of what cannot be done now."""
REQUIRED: Final = "required"
PAUSES: Final = Backoff(first=1.0, most=30.0)
TRIES: Final = 8
"""At one request: some two minutes."""
WAITS_S: Final = 30
"""For what the hub decides of a request."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_CROWDED: Final = "/problems/unfinished_artifacts"
"""As many others of the same owner are being stored as may at once: these end."""
_KEY: Final = "Idempotency-Key"


class StepError(Exception):
    """Its sentence is shown to people. code: the step's exit code."""

    def __init__(self, fact: str, code: int = CANNOT) -> None:
        super().__init__(fact)
        self.code = code


def main(arguments: list[str], environment: Mapping[str, str], pauses: Backoff = PAUSES) -> int:
    """The exit code; what it says is the container's message. pauses: between tries."""
    step, folder, *words = arguments
    base = f"{environment[HUB_URL].rstrip('/')}/v1/workloads/{environment[WORKLOAD_ID]}"
    hub = _Hub(base, environment[FILES_TOKEN], pauses)
    try:
        if step == "fetch":
            for name, size, digest in zip(*[iter(words)] * 3, strict=True):
                fetch(hub, Path(folder), name, int(size), digest)
        else:
            store_all(hub, Path(folder), dict(zip(*[iter(words)] * 2, strict=True)))
    except StepError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}: {error.filename or folder}\n")
        return CANNOT
    return 0


def fetch(hub: _Hub, folder: Path, name: str, size_bytes: int, digest: str) -> None:
    """One input, whole and checked before it has its name. Raises `StepError`."""
    target, part = folder / name, folder / f".{name}.part"
    if target.exists() and _is(target, size_bytes, digest):
        return
    if part.exists() and part.stat().st_size > size_bytes:
        part.unlink()
    hub.read(f"/inputs/{name}", part)
    if not _is(part, size_bytes, digest):
        part.unlink()
        raise StepError(f"input {name} is not what its digest says: its bytes were not used")
    part.chmod(0o444)
    part.rename(target)


def store_all(hub: _Hub, folder: Path, wanted: Mapping[str, str]) -> None:
    """All outputs, each once. Raises `StepError`, before anything is sent if one that is required is missing."""
    there: dict[str, int] = {}
    inside = _opened_folder(folder)
    try:
        lacking = []
        for name, need in wanted.items():
            opened = None if inside is None else _opened(name, inside)
            if opened is not None:
                there[name] = opened
            elif need == REQUIRED:
                lacking.append(name)
        if lacking:
            raise StepError(f"the program has left no {', '.join(lacking)} in outputs", OUTPUT_MISSING)
        for name, file in there.items():
            store(hub, name, file)
    finally:
        if inside is not None:
            os.close(inside)
        for file in there.values():
            os.close(file)


def store(hub: _Hub, name: str, file: int) -> None:
    """One output: said by its digests, sent as far as the hub lacks it, and completed. Raises `StepError`."""
    size_bytes = os.fstat(file).st_size
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in _chunks(file, size_bytes))
    said = {
        "size_bytes": size_bytes,
        "digest": tree_digest(digests),
        "chunk_digests": base64.b64encode(digests).decode(),
    }
    declared = hub.write("POST", f"/outputs/{name}", said)
    for number in declared["need"]:
        hub.put(f"/outputs/{name}/chunks/{number}", os.pread(file, CHUNK_BYTES, number * CHUNK_BYTES))
    hub.write("POST", f"/outputs/{name}/complete", None)


class _Hub:
    """The hub's side of one job's files. Each request is repeated until it is answered, some two minutes long."""

    def __init__(self, base: str, token: str, pauses: Backoff) -> None:
        self._pauses = pauses
        self._base = base
        self._token = token

    def read(self, path: str, target: Path) -> None:
        """Bytes into a file, going on where it ends. Raises `StepError`."""
        for tries in range(TRIES):
            try:
                if fetched(f"{self._base}{path}", self._token, target) is None:
                    raise StepError(f"{path.rpartition('/')[2]} is not there any more, or may not be read")
            except urllib.error.HTTPError as error:
                self._again(tries, path, error.code, problem_of(error)[1])
            except (OSError, HTTPException) as error:
                self._again(tries, path, None, _said(error))
            else:
                return

    def put(self, path: str, content: bytes) -> None:
        """Raises `StepError`."""
        self._asked("PUT", path, content, {"Content-Type": "application/octet-stream"})

    def write(self, method: str, path: str, body: dict[str, object] | None) -> dict[str, Any]:
        """The decided answer to a write. Raises `StepError`."""
        headers = {"Content-Type": "application/json", _KEY: draw_key(), "Prefer": f"wait={WAITS_S}"}
        content = b"" if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self._asked(method, path, content, headers))
        return answer

    def _asked(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> bytes:
        headers = headers | {"Authorization": f"Bearer {self._token}"}
        for tries in range(TRIES):
            request = urllib.request.Request(  # noqa: S310 - the hub's
                f"{self._base}{path}", data=content, headers=headers, method=method
            )
            try:
                with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - the hub's
                    came: bytes = answer.read()
                    if answer.status != 202:
                        return came
                self._again(tries, path, None, "the hub has not decided it yet")
            except urllib.error.HTTPError as error:
                problem, detail = problem_of(error)
                self._again(tries, path, None if problem == _CROWDED else error.code, detail)
                if problem == _CROWDED:  # what was decided stays so, under the same key
                    headers = headers | {_KEY: draw_key()}
            except (OSError, HTTPException) as error:
                self._again(tries, path, None, _said(error))
        raise AssertionError("the last try has raised")

    def _again(self, tries: int, path: str, status: int | None, fact: str) -> None:
        """Pause before the next try. Raises `StepError` if there is none, or it would be in vain."""
        if tries + 1 == TRIES or (status is not None and status not in _AGAIN):
            raise StepError(f"{path.lstrip('/')}: {fact}")
        SystemClock().wait(threading.Event(), self._pauses.after(tries + 1))


def _is(file: Path, size_bytes: int, digest: str) -> bool:
    """Whether these are the bytes."""
    return file.stat().st_size == size_bytes and digest_of(file) == digest


def _chunks(file: int, size_bytes: int) -> Iterator[bytes]:
    for at in range(0, size_bytes, CHUNK_BYTES):
        yield os.pread(file, min(CHUNK_BYTES, size_bytes - at), at)


def _opened_folder(folder: Path) -> int | None:
    """The folder that the program was given; None: it has removed that. Raises `StepError` for another in its place."""
    try:
        return os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StepError(
            f"{folder.name} is not the folder that the program was given: {error.strerror}", OUTPUT_MISSING
        ) from None


def _opened(name: str, folder: int) -> int | None:
    """A file of the program's own, never what a link leads to. Raises `StepError` for what is none."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StepError(f"output {name} cannot be read: {error.strerror}", OUTPUT_MISSING) from None
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise StepError(f"output {name} is no file: pack what is a folder into one", OUTPUT_MISSING)


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return f"the hub cannot be reached ({reason})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
