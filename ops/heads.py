"""Heads of event chains that somebody has kept, compared with the records: `fedyard-hub events verify --against`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from fedyard.wire.statements import head_statement, hex_groups, hub_fingerprint
from fedyard.wire.words import to_words
from ops.backups.content import BackupError, ChainHead, read_lines
from storage.audit import verify_against
from storage.database import Database
from storage.history import read_history
from web.live.signer import holds, public_key_in

__all__ = ["against", "count_heads", "public_key_in", "shown_key"]


class NotedHead(ChainHead, frozen=True, kw_only=True):
    """A line of the file. Those of a backup's heads.jsonl have no signature."""

    history_id: str = ""
    at: int = 0
    key: bytes = b""
    signature: bytes = b""

    def is_signed(self) -> bool:
        """By the key that it names."""
        try:
            said = head_statement(self.history_id, self.stream_id, self.seq, self.hash, self.at)
        except ValueError:
            return False
        return holds(self.key, said, self.signature)


def count_heads(file: Path) -> int:
    """How many heads a file has. Raises `BackupError` for a file that is none, or has none: it would prove nothing."""
    count = sum(1 for _ in read_lines(file, NotedHead))
    if not count:
        raise BackupError(
            f"{file} holds no heads, so it proves nothing: take a backup's heads.jsonl, or what a site wrote with "
            "fedyard site heads --to FILE"
        )
    return count


def against(database: Database, settings: Settings, file: Path) -> Iterator[str]:
    """One sentence for each head that is not the hub's, and for each that the records do not pass through.

    The hub's key is the one in its file; where that is not on this machine, a signature is held to the key that the
    line names. Raises `BackupError` for a file that is none, and `SettingsError` for a damaged key.
    """
    key, history = public_key_in(Path(settings.head_key_file)), read_history(database)
    for head in read_lines(file, NotedHead):
        name = f"{head.kind} {head.stream_id}"
        if head.signature and not head.is_signed():
            yield f"{name}: the noted head of event {head.seq} is not signed by the key that it names: it was altered"
            continue
        if head.signature and key is not None and head.key != key:
            yield (
                f"{name}: the noted head of event {head.seq} is signed with another key ({_shown(head.key)}) than this "
                f"hub's ({_shown(key)})"
            )
        for fault in verify_against(database, [head]):
            since = ""
            if head.history_id not in ("", history.history_id):
                since = (
                    f" (noted in history {head.history_id}; the hub was restored since, it tells {history.history_id})"
                )
            yield f"{fault}{since}"


def shown_key(key: bytes) -> list[str]:
    """The fingerprint of the hub's public key, as sites show it: hex digits, and twelve words."""
    return [_shown(key), to_words(hub_fingerprint(key))]


def _shown(key: bytes) -> str:
    return hex_groups(hub_fingerprint(key))
