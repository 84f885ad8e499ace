"""What the hub has of the updates and models: the sealed bytes, as many as one likes, and of what is in them nothing.

The coordinator opens every update and model of the run once more. Of what they hold, and of the sealed bytes around
it, pieces are written to two files, a piece a line; then `grep` searches the hub's whole folder for both. That it
finds the sealed pieces there, and the opened ones in the hospitals' folders, shows that it would find something.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.processes import DemoError
from fedyard.actions.site import courier_of
from fedyard.agent.site import Folder
from fedyard.client.client import Client
from fedyard.sealed.sealing import Address
from fedyard.tasks.arrays import unpack
from fedyard.wire.answers import Run
from fedyard.wire.durable import write_whole

PIECE_BYTES = 24
"""Long enough that no two pieces are alike by chance, short enough to lie within one page of any store."""
EVERY_BYTES = 48
SEARCH_WITHIN_S = 120.0
_UNSEARCHABLE = re.compile(rb"[\n\0]")
"""A line of grep's patterns cannot hold these."""


@dataclass(frozen=True)
class Payload:
    """An update or a model as the hub has it (`sealed`, without header and wraps), and what is in it."""

    kind: str
    sealed: bytes
    opened: bytes


@dataclass(frozen=True)
class Findings:
    """Where pieces were found. places: what was searched at the hub; opened, sealed: names in there.

    at_sites: files in the hospitals' folders that hold opened pieces. lines: the searches as they were run at the hub.
    """

    opened_count: int
    sealed_count: int
    opened: list[str]
    sealed: list[str]
    at_sites: list[str]
    lines: tuple[str, str]

    @property
    def good(self) -> bool:
        """The hub has ciphertext only, and the search is one that finds things."""
        return not self.opened and bool(self.sealed) and bool(self.at_sites)


def payloads(folder: Folder, client: Client, run: Run) -> list[Payload]:
    """Every update and model of a run's first task, fetched from the hub and opened with the coordinator's key."""
    courier, task = courier_of(folder, client), run.tasks[0]
    asked = [
        (message_id, kind, sender, here.number)
        for here in task.rounds
        for message_id, kind, sender in [
            *((s.update_message_id, "update", s.site_id) for s in here.submissions),
            (here.model_message_id, "model", run.coordinator_site_id),
        ]
        if message_id is not None
    ]
    found = []
    for message_id, kind, sender, number in asked:
        address = Address(sender, run.project_id, kind, run.id, task.seq, number)
        body = client.message(message_id).body
        opened = courier.unpack(body, address, place=f"message {message_id}", target=Path()).content
        assert body is not None
        assert isinstance(opened, bytes)
        found.append(Payload(kind, body[-len(opened) :], opened))
    return found


def search(found: list[Payload], hub: list[Path], sites: list[Path], folder: Path) -> Findings:
    """Write the pieces into `folder` and look for them. Raises `DemoError` if the search itself does not work."""
    hub = [place for place in hub if place.exists()]
    opened = _written(folder / "opened.pieces", (piece for p in found for piece in opened_pieces(p.opened)))
    sealed = _written(folder / "sealed.pieces", (piece for p in found for piece in spelled(p.sealed)))
    lines = (line_of(folder / "opened.pieces", hub), line_of(folder / "sealed.pieces", hub))
    return Findings(
        opened_count=opened,
        sealed_count=sealed,
        opened=names(lines[0], hub),
        sealed=names(lines[1], hub),
        at_sites=names(line_of(folder / "opened.pieces", sites), sites),
        lines=lines,
    )


def opened_pieces(packed: bytes) -> Iterator[bytes]:
    """Pieces of a payload as it travels within an agent, and of its numbers, as bytes and as people write them."""
    yield from spelled(packed)
    content = unpack(packed)
    if isinstance(content, bytes):
        return
    for array in content.values():
        numbers = np.asarray(array)
        if numbers.dtype.kind != "f":
            continue
        yield from spelled(numbers.tobytes())
        yield from (text for value in numbers.flat if len(text := repr(float(value)).encode()) > PIECE_BYTES // 2)


def spelled(content: bytes) -> Iterator[bytes]:
    """Pieces from all over `content`: as they are, in hex, and in base64 wherever they may begin in it."""
    for start in range(0, len(content) - PIECE_BYTES + 1, EVERY_BYTES):
        piece = content[start : start + PIECE_BYTES]
        if len(set(piece)) < PIECE_BYTES // 2:
            continue  # zeros and the like lie anywhere
        yield piece
        yield piece.hex().encode()
        for shift in range(3):
            whole = slice(-(-shift * 8 // 6), (shift + PIECE_BYTES) * 8 // 6)
            yield base64.b64encode(bytes(shift) + piece)[whole]


def line_of(pieces: Path, places: Iterable[Path]) -> str:
    """A search as one can type it here."""
    return f"LC_ALL=C grep -rlaFf {' '.join(shlex.quote(str(short(path))) for path in [pieces, *places])}"


def names(line: str, places: list[Path]) -> list[str]:
    """Files that a search finds, the way people speak of them: beside or below the places that were searched."""
    if shutil.which("grep") is None:
        raise DemoError("there is no grep here to search the hub's files with")
    ran = subprocess.run(  # noqa: S602 - the line as it is printed
        line, shell=True, capture_output=True, text=True, timeout=SEARCH_WITHIN_S, check=False
    )
    said = [x for x in ran.stderr.splitlines() if "No such file" not in x]  # stores make and remove files all the time
    if ran.returncode not in (0, 1, 2) or said:
        raise DemoError(f"this search does not work (code {ran.returncode}): {line}\n  " + "\n  ".join(said[:3]))
    found = {Path(file).absolute() for file in ran.stdout.splitlines()}
    return sorted({_name(file, place) for file in found for place in places if file.is_relative_to(place)})


def short(path: Path) -> Path:
    """As people type it here: relative to where they are, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def size_of(places: Sequence[Path]) -> int:
    """Bytes of all files in there."""
    total = 0
    for place in places:
        for folder, _, files in os.walk(place):
            for name in files:
                try:
                    total += (Path(folder) / name).lstat().st_size
                except FileNotFoundError:
                    continue
    return total + sum(place.stat().st_size for place in places if place.is_file())


def _written(path: Path, pieces: Iterable[bytes]) -> int:
    """How many pieces the file has now."""
    kept = sorted({piece for piece in pieces if not _UNSEARCHABLE.search(piece)})
    if not kept:
        raise DemoError("there is nothing to search for: the run has left neither updates nor models")
    write_whole(path, b"\n".join(kept) + b"\n")
    return len(kept)


def _name(file: Path, place: Path) -> str:
    """The first step below the place, or the place itself if it is a file; SQLite's journal counts as its file."""
    below = file.relative_to(place).parts
    return (below[0] if below else place.name).removesuffix("-wal")
