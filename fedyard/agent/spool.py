"""What lies on the site's disk of workloads.

workloads/wanted.json       what the hub wanted last, without anything secret
workloads/left/             the end and the evidence of attempts, until the hub has it on record
workloads/logs/             the tails of logs that do not leave this site
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from fedyard.agent.paths import under
from fedyard.cluster.plan import Finding, Key, Wanted
from fedyard.wire.durable import write_whole

LOGS_KEPT = 100
"""Of those that do not leave this site."""

_encoder = msgspec.json.Encoder(order="deterministic")


class Left(msgspec.Struct, frozen=True):
    """What an attempt left. refused: the hub does not take the evidence, so it is not offered again."""

    finding: Finding
    log: bytes
    events: list[str]
    refused: bool = False


class Spool:
    """What waits on the disk until the hub has it on record, and what stays here."""

    def __init__(self, folder: Path) -> None:
        """folder: the site's."""
        self._folder = folder / "workloads"
        self._left = self._folder / "left"
        self._written: bytes | None = None

    def make(self) -> None:
        for folder in (self._folder, self._left):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def wanted(self) -> list[Wanted]:
        """As the hub had it last; none if that is not known."""
        try:
            return msgspec.json.decode((self._folder / "wanted.json").read_bytes(), type=list[Wanted])
        except (FileNotFoundError, msgspec.MsgspecError):  # of another version: the hub says it again
            return []

    def note(self, wanted: Iterable[Wanted]) -> None:
        bare = [
            msgspec.structs.replace(
                one, spec=msgspec.structs.replace(one.spec, secrets={}), log_from=None, followed=False
            )
            for one in wanted
        ]
        content = _encoder.encode(bare)
        if content != self._written:
            write_whole(self._folder / "wanted.json", content)
            self._written = content

    def left(self) -> dict[Key, Left]:
        """By attempt; what cannot be read is not there."""
        found = {}
        for path in sorted(self._left.glob("*.json")) if self._left.is_dir() else []:
            with suppress(OSError, msgspec.MsgspecError):
                one = msgspec.json.decode(path.read_bytes(), type=Left)
                found[Key(one.finding.id, one.finding.attempt)] = one
        return found

    def put(self, one: Left) -> None:
        write_whole(self._path(Key(one.finding.id, one.finding.attempt)), _encoder.encode(one))

    def keep_log(self, key: Key, log: bytes) -> None:
        """For people of this site alone; the newest `LOGS_KEPT` stay."""
        folder = self._folder / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(under(folder, f"{key.id}-{key.attempt}.log"), log)
        kept = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-LOGS_KEPT]:
            path.unlink(missing_ok=True)

    def drop(self, key: Key) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return under(self._left, f"{key.id}-{key.attempt}.json")
