"""Files that hold a key of the hub's: made once, whoever starts first, readable by their owner only."""

from __future__ import annotations

import base64
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class KeyFile:
    """variable: that names it. makers: who may have to make it. lost: what follows from removing it."""

    path: Path
    variable: str
    makers: str
    lost: str

    def key(self) -> bytes:
        """32 bytes, drawn at the first start. Raises `SettingsError`."""
        if not self.path.exists():
            try:
                make_once(self.path, draw_key(KEY_BYTES))
            except OSError as error:
                raise SettingsError(
                    f"{self.variable} {self.path} cannot be made ({error.strerror}): name a file in a folder that "
                    f"{self.makers} may write to, or put the key there"
                ) from None
        return self.read()

    def read(self) -> bytes:
        """The same of a file that is there. Raises `SettingsError`."""
        try:
            raw = base64.b64decode(self.path.read_bytes(), validate=False)
        except OSError as error:
            raise SettingsError(f"{self.variable} {self.path} cannot be read ({error.strerror})") from None
        except ValueError:
            raw = b""
        if len(raw) != KEY_BYTES:
            raise SettingsError(
                f"{self.variable} {self.path} is damaged: put the copy of it back; only if there is none, remove it, "
                f"and {self.lost}"
            )
        return raw


def head_key_file(path: Path) -> KeyFile:
    """Its key signs the heads of the chains of events."""
    return KeyFile(path, "FEDYARD_HEAD_KEY_FILE", "the web", "tell the sites that the hub has another key")


def webhook_key(path: Path) -> bytes:
    """What the secrets of webhooks are derived from, made at the first start. Raises `SettingsError`."""
    lost = "let every webhook's secret be rotated"
    return KeyFile(path, "FEDYARD_WEBHOOK_KEY_FILE", "the web and the doer", lost).key()


def workload_key(path: Path) -> bytes:
    """What tells this hub's workloads from others' at a cluster, made at the first start. Raises `SettingsError`."""
    makers = "the web, the doer and the reconciler"
    lost = "stop, by hand, what the hub's clusters still run of it"
    return KeyFile(path, "FEDYARD_WORKLOAD_KEY_FILE", makers, lost).key()


def secret_key(path: Path) -> bytes:
    """What callers' secrets are shut with, where that has a file of its own, made at the first start. Raises
    `SettingsError`."""
    lost = "have every project's secrets set again"
    return KeyFile(path, "FEDYARD_SECRET_KEY_FILE", "the web and the doer", lost).key()
