"""A cluster that is this machine: each attempt a tree of processes below a shim (local/shim.py), and a folder.

    <root>/places/<place>/owner                     whose place it is
    <root>/places/<place>/<id>-<attempt>/           one attempt: record.json, state.json, log, work/, ...
    <root>/volumes/<place>/                         what workloads of a place share, if one of them asks for it
    <root>/lock                                     held while something is made or removed
    <root>/changes                                  grows when something has changed: who waits looks at its size
    <root>/new/, <root>/gone/                       what is being made, and removed

All is private (0700, 0600), and on the disk: a user that is started again, or another one at the same time, sees what
there is. The folder of an attempt gets its name when its lock is held already, and the lock is handed to the shim: so
whoever dies in between leaves an attempt that was not started, and can be started again, or one that lives, never two.

What is kept of a Spec's bounds and what is not: docs/workloads.md. Linux alone: it needs /proc and prctl(2).
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, Generic, ParamSpec, TypeVar

import msgspec

from fedyard.clock import draw_key
from fedyard.cluster.local import folder as files
from fedyard.cluster.local.spawner import Spawner
from fedyard.cluster.names import labels
from fedyard.cluster.port import (
    INPUTS,
    OUTPUTS,
    AttemptId,
    Evidence,
    Observed,
    Phase,
    Reason,
    Refused,
    Spec,
    Unavailable,
    check_names,
    helpers_own,
    kept_back,
    steps_of,
)
from fedyard.wire.durable import PRIVATE, to_disk, write_whole
from fedyard.wire.shown import shown
from fedyard.wire.types import UUID_PATTERN

MAX_LIVE = 1000
MAX_LOG_BYTES = 16_777_216
LOCK_WITHIN_S, LOCK_EVERY_S = 10.0, 0.005
SPAWN_TRIES = 2
SETTLED_NS, MAX_KNOWN = 100_000_000, 4 * MAX_LIVE
LOOK_EVERY_S, QUIET_AFTER_S, QUIET_EVERY_S = 0.02, 5.0, 0.1
"""How often the size of `changes` is looked at while something is waited for; and when nothing has changed for so long,
how often then: this is all that an idle hub's cluster costs."""
_PLACES, _VOLUMES, _LOCK, _CHANGES, _NEW, _GONE = "places", "volumes", "lock", "changes", "new", "gone"
_OWNER, _RECORD = "owner", "record.json"
_ID = re.compile(UUID_PATTERN)
_CODE = str(Path(__file__).parents[2])
"""Where Fedyard is, for its own programs."""
_UNPACK = """PYTHONPATH={path} "$0" -m fedyard.cluster.fetching "$1" || exit 1
shift; unset {token}; exec "$@" """
T = TypeVar("T")
P = ParamSpec("P")


class Image(msgspec.Struct, frozen=True):
    """What stands for an image here. prefix: goes before a command. environment: below the Spec's own."""

    prefix: list[str] = []
    environment: dict[str, str] = {}


class _Record(msgspec.Struct, frozen=True):
    """What was made, without anything secret. content: digest of the Spec but for its number of replicas."""

    owner: str
    place: str
    id: str
    attempt: int
    kind: str
    uid: str
    content: str
    replicas: int
    grace_s: float
    created_s: float
    name: str
    labels: dict[str, str]
    image: str
    command: list[str]
    stable: bool = False
    exact: bool = False


class _State(msgspec.Struct, frozen=True):
    """As the shim writes it."""

    phase: Phase
    reason: Reason
    detail: str
    exit_code: int | None
    ready: int
    replicas: int
    address: str
    stopping: bool
    started_s: float | None
    ended_s: float | None
    events: list[str]


class _Asked(msgspec.Struct, frozen=True):
    grace_s: float


_SPECS, _RECORDS = msgspec.json.Decoder(Spec), msgspec.json.Decoder(_Record)
_STATES, _STOPS = msgspec.json.Decoder(_State), msgspec.json.Decoder(_Asked)
_ENCODER = msgspec.json.Encoder(order="deterministic")


class _Found(msgspec.Struct, frozen=True):
    """One attempt's folder as it is now. state None: it was never started. lives: its shim does."""

    folder: Path
    record: _Record
    state: _State | None
    lives: bool
    stop: _Asked | None


class _Files(Generic[T]):
    """Small files as values, read again when they have changed: a thousand are looked at in each turn."""

    def __init__(self, decoder: msgspec.json.Decoder[T]) -> None:
        self._decoder = decoder
        self._known: dict[Path, tuple[tuple[int, int, int], T]] = {}

    def read(self, path: Path) -> T | None:
        """None: it is not there, or not whole. What has just been written is not kept: a file that replaces it may have
        the same number, size and time."""
        try:
            at = path.stat()
            mark = (at.st_ino, at.st_size, at.st_mtime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            value = self._decoder.decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            self._known.pop(path, None)
            return None
        if time.time_ns() - at.st_mtime_ns > SETTLED_NS:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[path] = (mark, value)
        return value


def _reached(call: Callable[Concatenate[Processes, P], T]) -> Callable[Concatenate[Processes, P], T]:
    """A folder that is not there or cannot be read (a file system that is not mounted, or fails) is a cluster that is
    away: nothing is known of what runs, least of all that it is gone."""

    @functools.wraps(call)
    def reached(self: Processes, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(self, *args, **kwargs)
        except OSError as error:
            raise Unavailable(f"the folder {self.root} of workloads cannot be used: {error.strerror}") from error

    return reached


class Processes:
    """The port (port.py) on this machine's processes. Any number of them may share a root, in any processes."""

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, Image],
        path: str = "/usr/local/bin:/usr/bin:/bin",
        max_live: int = MAX_LIVE,
        log_bytes: int = MAX_LOG_BYTES,
    ) -> None:
        """images: what may be asked for, by its name. path: where programs are looked for. log_bytes: of each log."""
        self.root = root.absolute()
        self._images = dict(images)
        self._path = path
        self._max_live = max_live
        self._log_bytes = log_bytes
        self._records = _Files(_RECORDS)
        self._states = _Files(_STATES)
        self._spawner: Spawner | None = None
        self._closed = threading.Event()
        self._changed_s = time.monotonic()
        self._seen = threading.local()
        for folder in (self.root, *(self.root / name for name in (_PLACES, _VOLUMES, _NEW, _GONE))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (_LOCK, _CHANGES):
            os.close(os.open(self.root / name, os.O_WRONLY | os.O_CREAT, PRIVATE))
        self._at_first = self._mark()
        self._sweep()

    # ------------------------------------------------------------ the port

    def missing(self) -> list[str]:
        found = []
        if not Path("/proc/self/stat").exists():
            found.append("run on Linux, with /proc")
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            found.append(f"read and write in {self.root}")
        return found

    @_reached
    def ensure(self, spec: Spec) -> Observed:
        image = self._checked(spec)
        content = _content_of(spec)
        with self._locked():
            found = self._find(spec.attempt_id, whose=True)
            if found is None:
                self._check_name(spec)
                return self._make(spec, image, content)
            if found.record.content != content:
                if not self._end(found, spec.grace_s):
                    return self._told(self._look(found.folder) or found)
            elif found.state is not None or found.lives:
                return self._told(found)
            gone = self._remove(found)  # it was another, or whoever made it died before it was started
            made = self._make(spec, image, content)
        _cleared(gone)
        return made

    @_reached
    def observe(self, owner: str) -> list[Observed]:
        return [self._told(one) for place in self._places(owner) for one in self._in(place)]

    @_reached
    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        found = self._find(which)
        if found is None:
            return Evidence()
        events = list(found.state.events) if found.state else []
        observed = self._told(found)
        if observed.reason is Reason.VANISHED:
            events.append(observed.detail)
            with suppress(OSError, IndexError):
                fault = (found.folder / files.FAULT).read_text(errors="backslashreplace").splitlines()[-1]
                events.append(f"its shim has failed: {shown(fault)}")
        for name in (files.TAIL, files.LOG):
            with suppress(FileNotFoundError), (found.folder / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - log_bytes))
                return Evidence(file.read(log_bytes), events)
        return Evidence(b"", events)

    @_reached
    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        """Of a log that was cut its beginning, up to where it was cut; `evidence` has its end."""
        found = self._find(which)
        if found is None:
            return b""
        with suppress(FileNotFoundError), (found.folder / files.LOG).open("rb") as file:
            file.seek(after)
            return file.read(most)
        return b""

    @_reached
    def scale(self, which: AttemptId, replicas: int) -> None:
        with self._locked():
            found = self._find(which)
            if found is not None and found.record.kind == "service":
                write_whole(found.folder / files.REPLICAS, b"%d" % replicas)
                _ring(found.folder)

    @_reached
    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        with self._locked():
            found = self._find(which)
            if found is None:
                return True
            if not self._end(found, grace_s):
                return False
            gone = self._remove(found)
        return _cleared(gone)

    @_reached
    def remove_place(self, owner: str, place: str) -> bool:
        """What is in it and was not made here stays, and the place with it (`Refused`)."""
        with self._locked():
            folder = self.root / _PLACES / place
            if not _ID.fullmatch(place) or self._owner_of(folder) != owner:
                return True
            left = [one for one in self._in(folder) if not self._end(one, one.record.grace_s)]
            if left:
                return False
            gone = [self._remove(one) for one in self._in(folder)]
            if (volume := self.root / _VOLUMES / place).exists():
                gone.append(self._moved_away(volume))
            strange = sorted(path.name for path in folder.iterdir() if path.name != _OWNER)
            if not strange:
                gone.append(self._moved_away(folder))
        if strange:
            raise Refused(Reason.NONE, f"{folder} has what was not made by Fedyard ({shown(strange[0])}): remove it")
        return sum(not _cleared(one) for one in gone) == 0

    @_reached
    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        seen = getattr(self._seen, "mark", self._at_first)
        while (mark := self._mark()) == seen:
            left = end - time.monotonic()
            quiet = end - left >= self._changed_s + QUIET_AFTER_S
            if left <= 0 or self._closed.wait(min(left, QUIET_EVERY_S if quiet else LOOK_EVERY_S)):
                break
        else:
            self._changed_s = time.monotonic()
        self._seen.mark = mark

    def close(self) -> None:
        """Nothing of the workloads needs this process."""
        self._closed.set()
        with self._locked():
            spawner, self._spawner = self._spawner, None
        if spawner is not None:
            spawner.close()

    # ------------------------------------------------------------ making

    def _checked(self, spec: Spec) -> Image:
        """The image of what can be made here. Raises `Refused`."""
        try:
            _SPECS.decode(msgspec.json.encode(spec))
        except msgspec.MsgspecError as error:
            raise Refused(
                Reason.CONFIG_INVALID, f"it cannot be made as it was asked for: {shown(str(error))}"
            ) from None
        except ValueError:
            raise Refused(Reason.CONFIG_INVALID, "it has a text that is no Unicode") from None
        image = self._images.get(spec.image)
        if image is None:
            known = ", ".join(sorted(self._images)) or "none"
            raise Refused(
                Reason.IMAGE_UNUSABLE, f"{shown(spec.image)} is no image that runs here as processes; these do: {known}"
            )
        if spec.resources.gpus or spec.placement.node_selector or spec.placement.runtime_class:
            raise Refused(
                Reason.UNSCHEDULABLE,
                "processes of this machine have no nodes to select, no GPUs to count and no runtime classes: ask for "
                "none of them, or for another cluster",
            )
        try:
            check_names(spec)
            labels(spec)
        except ValueError as error:
            raise Refused(Reason.CONFIG_INVALID, str(error)) from None
        if not (image.prefix or spec.command or spec.arguments):
            raise Refused(Reason.CONFIG_INVALID, f"there is no command, and the image {shown(spec.image)} has none")
        return image

    def _check_name(self, spec: Spec) -> None:
        """One of a name is in a place, of what is called so to the letter. Raises `Refused`."""
        if (spec.stable or spec.exact) and any(
            (one.record.stable or one.record.exact) and one.record.name == spec.name
            for one in self._in(self.root / _PLACES / spec.place)
        ):
            raise Refused(Reason.NOT_READY, f"an earlier {spec.name} is still there: it has to go first")

    def _make(self, spec: Spec, image: Image, content: str) -> Observed:
        """Its folder, its lock, its shim, in this order. Raises `Unavailable`."""
        if self._live() >= self._max_live:
            raise Unavailable(f"{self._max_live} attempts run here already, which is as many as may", after_s=5.0)
        place = self.root / _PLACES / spec.place
        folder = place / f"{spec.id}-{spec.attempt}"
        uid = draw_key()
        made = self.root / _NEW / uid
        record = _record_of(spec, image, content, uid)
        try:
            if not place.exists():
                self._make_place(place, spec.owner)
            if spec.volume is not None:
                (self.root / _VOLUMES / spec.place).mkdir(mode=0o700, exist_ok=True)
            (made / files.WORK).mkdir(mode=0o700, parents=True)
            for name in (files.INPUTS, files.OUTPUTS) if spec.files is not None else ():
                (made / files.WORK / name).mkdir(mode=0o700)
            made.chmod(0o700)
            with open(made / files.LAUNCH, "xb", opener=_private) as file:
                file.write(_ENCODER.encode(self._launch(spec, record, folder / files.WORK, image)))
            write_whole(made / _RECORD, _ENCODER.encode(record))
            os.mkfifo(made / files.BELL, PRIVATE)
            self._spawn(folder, _locked_as(made, folder))
        except OSError as error:
            _cleared(made)
            raise Unavailable(f"its folder cannot be made: {error.strerror}") from error
        return self._told(_Found(folder, record, None, True, None))

    def _launch(self, spec: Spec, record: _Record, work: Path, image: Image) -> dict[str, object]:
        """What the shim has to know."""
        own = {"PATH": self._path, "LANG": "C.UTF-8", "HOME": str(work), "TMPDIR": str(work)}
        volume, seen = self.root / _VOLUMES / spec.place, {}
        if spec.volume is not None:
            seen[spec.volume.variable] = str(volume)
        for variable, address in spec.dials.items():
            name, _, port = address.partition(":")
            seen[variable] = f"{_host_of(spec.place, name)}:{port}"
        if spec.files is not None:
            seen |= {INPUTS: str(work / files.INPUTS), OUTPUTS: str(work / files.OUTPUTS)}
        theirs = kept_back(spec)
        secrets = {key: value for key, value in spec.secrets.items() if key not in theirs}
        asked = {**image.environment, **seen, **spec.environment, **secrets}
        argv = record.command
        token = None if spec.volume is None else spec.volume.files_token
        if token in spec.secrets:  # until its program begins
            asked[token] = spec.secrets[token]
            script = _UNPACK.format(path=shlex.quote(_CODE), token=token)
            argv = ["/bin/sh", "-c", script, sys.executable, str(volume), *argv]
        return {
            "argv": argv,
            "environment": {**own, **asked, files.MARK: record.uid},
            "steps": _steps(spec, work, {**own, files.MARK: record.uid}),
            "kind": spec.kind,
            "port": spec.port,
            "replicas": record.replicas,
            "memory_bytes": spec.resources.memory_bytes,
            "deadline_s": spec.deadline_s if spec.kind == "job" else None,
            "grace_s": spec.grace_s,
            "log_bytes": self._log_bytes,
            "changes": str(self.root / _CHANGES),
            "stable": {"name": spec.name, "host": _host_of(spec.place, spec.name)} if spec.stable else None,
            "companion": self._beside(spec, record.uid, own, volume),
            "made": [(str(volume / one.path), one.mode, one.file) for one in spec.volume.made] if spec.volume else [],
        }

    @staticmethod
    def _beside(spec: Spec, uid: str, own: Mapping[str, str], volume: Path) -> dict[str, object] | None:
        """What runs beside each replica, in this very Python; its folder and its port it gets from the shim."""
        companion = spec.companion
        if companion is None:
            return None
        paths = [str(volume / path) for path in companion.paths]
        secrets = {key: spec.secrets[key] for key in companion.secrets if key in spec.secrets}
        told = {**helpers_own(spec), **secrets, "PYTHONPATH": _CODE, files.MARK: uid}
        return {
            "argv": [sys.executable, "-P", "-m", companion.module, *paths],
            "environment": {**own, **told},
            "address": companion.address,
        }

    def _make_place(self, place: Path, owner: str) -> None:
        made = self.root / _NEW / draw_key()
        made.mkdir(mode=0o700)
        write_whole(made / _OWNER, owner.encode())
        made.rename(place)
        to_disk(place.parent)

    def _spawn(self, folder: Path, alive: int) -> None:
        """Hand the lock over to a files. A spawner that does not answer is killed, and has forked one before or not:
        the lock tells."""
        for _ in range(SPAWN_TRIES):
            self._spawner = spawner = self._spawner or Spawner()
            try:
                answered = spawner.spawn(folder, alive)
            finally:
                os.close(alive)
            if answered:
                return
            spawner.close()
            self._spawner = None
            alive = os.open(folder / files.ALIVE, os.O_RDWR)
            if not files.hold(alive):
                os.close(alive)
                return
        os.close(alive)
        raise Unavailable("the process that starts workloads does not answer")

    def _live(self) -> int:
        """How many live; of few attempts just how many there are."""
        places = list((self.root / _PLACES).iterdir())
        if sum(len(names) for place in places if (names := _names(place))) < self._max_live:
            return 0
        return sum(1 for place in places for found in self._in(place) if found.lives)

    def _sweep(self) -> None:
        """What a user that was killed has left half made, or half removed."""
        with self._locked():
            for left in (self.root / _NEW).iterdir():
                self._moved_away(left)
        for left in (self.root / _GONE).iterdir():
            _cleared(left)

    # ------------------------------------------------------------ ending

    def _end(self, found: _Found, grace_s: float) -> bool:
        """Ask for it; True once no process of it is there."""
        if found.lives:
            if found.stop is None or grace_s < found.stop.grace_s:
                with suppress(OSError):  # the disk is full; the bell says it as well
                    write_whole(found.folder / files.STOP, _ENCODER.encode(_Asked(grace_s)))
            _ring(found.folder, b"%f " % grace_s)
            return False
        if found.state is not None and found.state.ended_s is None:
            return not _end_strays(found.record.uid)
        return True

    def _remove(self, found: _Found) -> Path:
        """Nobody finds it any more; what is left to do is to clear its folder."""
        return self._moved_away(found.folder)

    def _moved_away(self, folder: Path) -> Path:
        gone = self.root / _GONE / draw_key()
        folder.rename(gone)
        files.ring_changes(str(self.root / _CHANGES))
        return gone

    # ------------------------------------------------------------ looking

    def _places(self, owner: str) -> list[Path]:
        places = (self.root / _PLACES).iterdir()
        return sorted(place for place in places if self._owner_of(place) == owner)

    @staticmethod
    def _owner_of(place: Path) -> str | None:
        """None: it is not there, or not ours."""
        with suppress(OSError, ValueError):
            return (place / _OWNER).read_text()
        return None

    def _in(self, place: Path) -> Iterator[_Found]:
        for name in sorted(_names(place)):
            if name != _OWNER and (found := self._look(place / name)) is not None:
                yield found

    def _find(self, which: AttemptId, *, whose: bool = False) -> _Found | None:
        """whose: raise `Refused` where it, or its place, belongs to another; else that is as good as not there."""
        if not (_ID.fullmatch(which.place) and _ID.fullmatch(which.id)):
            return None
        place = self.root / _PLACES / which.place
        if self._owner_of(place) != which.owner:
            if whose and place.exists():
                raise Refused(Reason.CONFIG_INVALID, f"the place {which.place} belongs to another")
            return None
        folder = place / f"{which.id}-{which.attempt}"
        found = self._look(folder)
        if found is None and whose and folder.exists():
            raise Refused(Reason.CONFIG_INVALID, f"{folder} was not made by Fedyard")
        return found

    def _look(self, folder: Path) -> _Found | None:
        """None: there is nothing of ours. Lock before state: what ends in between is seen with its end."""
        record = self._record_of(folder)
        if record is None:
            return None
        lives = _lives(folder)
        state = self._state_of(folder)
        stop = None
        with suppress(OSError, msgspec.MsgspecError):
            stop = _STOPS.decode((folder / files.STOP).read_bytes())
        return _Found(folder, record, state, lives, stop)

    def _record_of(self, folder: Path) -> _Record | None:
        return self._records.read(folder / _RECORD)

    def _state_of(self, folder: Path) -> _State | None:
        return self._states.read(folder / files.STATE)

    @staticmethod
    def _told(found: _Found) -> Observed:
        record, state = found.record, found.state
        seen = Observed(
            id=record.id,
            attempt=record.attempt,
            place=record.place,
            uid=record.uid,
            phase=Phase.STARTING,
            replicas=record.replicas,
            stopping=found.stop is not None or (state is not None and state.stopping),
            created_s=record.created_s,
        )
        if state is None and found.lives:
            return seen
        if state is None or (not found.lives and state.ended_s is None):
            return msgspec.structs.replace(
                seen,
                phase=Phase.FAILED,
                reason=Reason.VANISHED,
                detail="nobody says what became of its processes: the machine was started anew, or its shim was killed",
                started_s=state.started_s if state else None,
            )
        return msgspec.structs.replace(
            seen,
            phase=state.phase,
            reason=state.reason,
            detail=state.detail,
            exit_code=state.exit_code,
            ready=state.ready,
            replicas=state.replicas,
            addresses={"inside": state.address} if state.address else {},
            started_s=state.started_s,
            ended_s=state.ended_s,
        )

    def _mark(self) -> tuple[int, int]:
        at = (self.root / _CHANGES).stat()
        return at.st_size, at.st_mtime_ns

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One caller at a time, of all that share the root. Raises `Unavailable`."""
        lock = os.open(self.root / _LOCK, os.O_RDWR)
        try:
            end = time.monotonic() + LOCK_WITHIN_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise Unavailable(f"{self.root / _LOCK} is held by another for too long") from None
                    time.sleep(LOCK_EVERY_S)
            yield
        finally:
            os.close(lock)


def _names(folder: Path) -> list[str]:
    """Of what is in it; none if it is not there."""
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - there may be a thousand, at each look
    return []


def _locked_as(made: Path, folder: Path) -> int:
    """Give a folder its name, with its lock held; the descriptor that has it."""
    alive = os.open(made / files.ALIVE, os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        held = files.hold(alive)
        assert held, "nobody else knows of it"
        made.rename(folder)
        to_disk(folder.parent)
    except BaseException:
        os.close(alive)
        raise
    return alive


def _record_of(spec: Spec, image: Image, content: str, uid: str) -> _Record:
    return _Record(
        owner=spec.owner,
        place=spec.place,
        id=spec.id,
        attempt=spec.attempt,
        kind=spec.kind,
        uid=uid,
        content=content,
        replicas=spec.replicas if spec.kind == "service" else 1,
        grace_s=spec.grace_s,
        created_s=time.time(),
        name=spec.name,
        labels=spec.labels,
        image=spec.image,
        command=[*image.prefix, *spec.command, *spec.arguments],
        stable=spec.stable,
        exact=spec.exact,
    )


def _steps(spec: Spec, work: Path, own: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Of a job with files: what goes before its program, and after it. By this process's own Python, which has Fedyard;
    -P: what the program has left in its folder is none of our modules."""
    if spec.files is None:
        return {}
    token = {spec.files.token: spec.secrets[spec.files.token]}
    environment = {**own, **helpers_own(spec), **token, "PYTHONPATH": _CODE}
    asked = [sys.executable, "-P", "-m", "fedyard.cluster.files"]
    fetched, stored = steps_of(spec.files)
    steps: dict[str, dict[str, object]] = {}
    if fetched:
        argv = [*asked, "fetch", str(work / files.INPUTS), *fetched]
        steps[files.INPUTS] = {"argv": argv, "environment": environment}
    if stored:
        argv = [*asked, "store", str(work / files.OUTPUTS), *stored]
        steps[files.OUTPUTS] = {"argv": argv, "environment": environment}
    return steps


def _host_of(place: str, name: str) -> str:
    """An address of this machine's own by which a stable service is dialled: its port is its own there."""
    first, second, third = hashlib.sha256(f"{place} {name}".encode()).digest()[:3]
    return f"127.{first}.{second}.{1 + third % 254}"


def _content_of(spec: Spec) -> str:
    return hashlib.sha256(_ENCODER.encode(msgspec.structs.replace(spec, replicas=0))).hexdigest()


def _lives(folder: Path) -> bool:
    try:
        alive = os.open(folder / files.ALIVE, os.O_RDWR)
    except OSError:
        return False
    try:
        return files.is_held(alive)
    finally:
        os.close(alive)


def _ring(folder: Path, said: bytes = b" ") -> None:
    """Let the shim look at what is wanted. One that has not come so far looks when it begins."""
    try:
        bell = os.open(folder / files.BELL, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return
        raise
    with suppress(BlockingIOError):
        os.write(bell, said)
    os.close(bell)


def _end_strays(uid: str) -> bool:
    """Kill what a killed shim has left behind; whether there was something."""
    mark = f"{files.MARK}={uid}".encode()
    found = False
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            process = os.pidfd_open(int(path.name))
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):  # it is still the same one
                    found = True
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)
    return found


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def open_up(folder: Path) -> None:
    """Let its owner into every folder below it. A link is never followed: what it leads to is not ours."""
    for path, names, _ in os.walk(folder, followlinks=False):
        for name in names:  # before it is looked into
            with suppress(OSError):
                opened = os.open(f"{path}/{name}", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    Path(f"/proc/self/fd/{opened}").chmod(0o700)
                finally:
                    os.close(opened)


def _cleared(folder: Path) -> bool:
    """Remove a folder that nobody uses any more, whatever a workload has made of it; whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        open_up(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
