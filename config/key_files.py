"""Files that hold a key of the hub's: made once, whoever starts first, readable by their owner only."""

from __future__ import annotations

import base64
import os
import threading
from contextlib import suppress
from pathlib import Path

from config.clock import draw_key
from config.settings import SettingsError
from fedyard.wire.durable import PRIVATE, to_disk

KEY_BYTES = 32


def make_once(path: Path, raw: bytes) -> None:
    """The file, with the key in base64. Of processes that start at the same time one makes it: the others' keys are
    thrown away. Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    growing.unlink(missing_ok=True)
    handle = os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        try:
            os.write(handle, base64.b64encode(raw) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        with suppress(FileExistsError):
            os.link(growing, path)
    finally:
        growing.unlink(missing_ok=True)
    to_disk(path.parent)


def webhook_key(path: Path) -> bytes:
    """What the secrets of webhooks are derived from, made at the first start. Raises `SettingsError`."""
    try:
        if not path.exists():
            make_once(path, draw_key(KEY_BYTES))
        raw = base64.b64decode(path.read_bytes(), validate=False)
    except OSError as error:
        raise SettingsError(
            f"FEDYARD_WEBHOOK_KEY_FILE {path} can be neither read nor made ({error.strerror}): name a file in a folder "
            "that the web and the doer may write to, or put the key there"
        ) from None
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SettingsError(
            f"FEDYARD_WEBHOOK_KEY_FILE {path} is damaged: put the copy of it back; only if there is none, remove it, "
            "and let every webhook's secret be rotated"
        )
    return raw
