"""What pages load: each file under a name that changes with its content, so that browsers keep it for ever."""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = (Path(__file__).parent / "static", Path(__file__).parent / "vendor")
MEDIA: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By ending; a file with another ending is none that pages load."""
_DIGITS = 12


@dataclass(frozen=True)
class Asset:
    """name: `page-3fa92b7c01de.css`. zipped: the same content as gzip has it, always the same bytes."""

    name: str
    media: str
    content: bytes = field(repr=False)
    zipped: bytes = field(repr=False)


@functools.cache
def assets() -> Mapping[str, Asset]:
    """Every file that pages load, by its plain name (`page.css`)."""
    files = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.suffix in MEDIA]
    return {path.name: _asset(path) for path in files}


@functools.cache
def by_name() -> Mapping[str, Asset]:
    """The same by the names under which they are served."""
    return {one.name: one for one in assets().values()}


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    stem = path.name.removesuffix(path.suffix)
    name = f"{stem}-{digest}{path.suffix}".lower()
    return Asset(name, MEDIA[path.suffix], content, gzip.compress(content, mtime=0))
