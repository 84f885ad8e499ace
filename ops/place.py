"""The folder of a hub on this machine (./var): one hub at a time, and what the other commands need to find it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DEFAULT = CHECKOUT / "var"
RESTORING = "restoring"
"""The marker of a restore that is under way, or was cut off: what lies in the folder then is no hub's data."""


PASSED_THROUGH = 0o711
"""The mode of a folder that PostgreSQL's account, where we are root, has to pass through."""


class InUse(Exception):
    """Another hub has this folder."""


class Unusable(Exception):
    """The folder, or the address, cannot be used as it is; says what to do."""


@dataclass(frozen=True)
class Whereabouts:
    """How the hub in a folder was started last.

    environment: its FEDYARD_ variables. management: RabbitMQ's management URL, with login, if it was private.
    """

    environment: Mapping[str, str]
    api: str
    management: str | None = None

    def __repr__(self) -> str:
        return f"Whereabouts({self.api})"


@contextmanager
def only_hub_in(folder: Path, mode: int = 0o700, *, restoring: bool = False) -> Iterator[None]:
    """Hold the folder for the block; the kernel lets go of it however we end. Raises `InUse`, `Unusable`.

    mode: of the folder, set once it is held: a hub that runs keeps the one that it needs. restoring: also where a
    restore was cut off, which nobody but another restore may go on from.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise _unusable(folder, error) from None
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(f"another hub runs on {folder}: stop it first, or choose another folder with --data") from None
        try:
            folder.chmod(mode)
        except OSError as error:
            raise _unusable(folder, error) from None
        if not restoring and (folder / RESTORING).exists():
            raise Unusable(f"a restore into {folder} was cut off: run fedyard-hub restore again, then start the hub")
        yield


def _unusable(folder: Path, error: OSError) -> Unusable:
    return Unusable(f"{folder} cannot be a hub's folder ({error.strerror}): choose another with --data")


def remember(folder: Path, whereabouts: Whereabouts) -> None:
    """Keep them for the other commands, readable by the owner only: the URLs carry passwords."""
    path = folder / "hub.json.new"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(whereabouts), indent=2) + "\n")
    path.rename(folder / "hub.json")  # whole or not at all, also after a kill


def recall(folder: Path) -> Whereabouts | None:
    """What was remembered there, if anything was. Raises `Unusable`."""
    path = folder / "hub.json"
    try:
        return Whereabouts(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unusable(f"{path} cannot be read ({error.strerror}): only who started the hub may") from None
    except (ValueError, TypeError):
        raise Unusable(f"{path} was not written by a hub: remove it and start the hub again") from None
