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
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from fedyard.clock import draw_key
from fedyard.cluster.conventions import INPUTS_FOLDER, OUTPUTS_FOLDER
from fedyard.cluster.local import folder as files
from fedyard.cluster.local.attempts import (
    CHANGES,
    GONE,
    ID,
    LOCK,
    NEW,
    OWNER,
    PLACES,
    RECORD,
    VOLUMES,
    Asked,
    Attempts,
    Found,
    Record,
    names,
)
from fedyard.cluster.local.clearing import cleared, end_strays
from fedyard.cluster.local.launching import Image, content_of, launch_of, record_of
from fedyard.cluster.local.spawner import Spawner
from fedyard.cluster.names import labels
from fedyard.cluster.port import (
    AttemptId,
    Evidence,
    Observed,
    Reason,
    Refused,
    Spec,
    Unavailable,
    check_names,
)
from fedyard.wire.durable import PRIVATE, to_disk, write_whole
from fedyard.wire.shown import shown

MAX_LIVE = 1000
MAX_LOG_BYTES = 16_777_216
LOCK_WITHIN_S, LOCK_EVERY_S = 10.0, 0.005
SPAWN_TRIES = 2
LOOK_EVERY_S, QUIET_AFTER_S, QUIET_EVERY_S = 0.02, 5.0, 0.1
"""How often the size of `changes` is looked at while something is waited for; and when nothing has changed for so long,
how often then: this is all that an idle hub's cluster costs."""
T = TypeVar("T")
P = ParamSpec("P")
_SPECS = msgspec.json.Decoder(Spec)
_ENCODER = msgspec.json.Encoder(order="deterministic")


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
        self._attempts = Attempts(self.root)
        self._spawner: Spawner | None = None
        self._closed = threading.Event()
        self._changed_s = time.monotonic()
        self._seen = threading.local()
        for folder in (self.root, *(self.root / name for name in (PLACES, VOLUMES, NEW, GONE))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (LOCK, CHANGES):
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
        content = content_of(spec)
        with self._locked():
            found = self._attempts.find(spec.attempt_id, whose=True)
            if found is None:
                self._check_name(spec)
                return self._make(spec, image, content)
            if found.record.content != content:
                if not self._end(found, spec.grace_s):
                    return self._attempts.told(self._attempts.look(found.folder) or found)
            elif found.state is not None or found.lives:
                return self._attempts.told(found)
            gone = self._remove(found)  # it was another, or whoever made it died before it was started
            made = self._make(spec, image, content)
        cleared(gone)
        return made

    @_reached
    def observe(self, owner: str) -> list[Observed]:
        return [
            self._attempts.told(one) for place in self._attempts.places(owner) for one in self._attempts.inside(place)
        ]

    @_reached
    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        found = self._attempts.find(which)
        if found is None:
            return Evidence()
        events = list(found.state.events) if found.state else []
        observed = self._attempts.told(found)
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
        found = self._attempts.find(which)
        if found is None:
            return b""
        with suppress(FileNotFoundError), (found.folder / files.LOG).open("rb") as file:
            file.seek(after)
            return file.read(most)
        return b""

    @_reached
    def scale(self, which: AttemptId, replicas: int) -> None:
        with self._locked():
            found = self._attempts.find(which)
            if found is not None and found.record.kind == "service":
                write_whole(found.folder / files.REPLICAS, b"%d" % replicas)
                _ring(found.folder)

    @_reached
    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        with self._locked():
            found = self._attempts.find(which)
            if found is None:
                return True
            if not self._end(found, grace_s):
                return False
            gone = self._remove(found)
        return cleared(gone)

    @_reached
    def remove_place(self, owner: str, place: str) -> bool:
        """What is in it and was not made here stays, and the place with it (`Refused`)."""
        with self._locked():
            folder = self.root / PLACES / place
            if not ID.fullmatch(place) or self._attempts.owner_of(folder) != owner:
                return True
            left = [one for one in self._attempts.inside(folder) if not self._end(one, one.record.grace_s)]
            if left:
                return False
            gone = [self._remove(one) for one in self._attempts.inside(folder)]
            if (volume := self.root / VOLUMES / place).exists():
                gone.append(self._moved_away(volume))
            strange = sorted(path.name for path in folder.iterdir() if path.name != OWNER)
            if not strange:
                gone.append(self._moved_away(folder))
        if strange:
            raise Refused(Reason.NONE, f"{folder} has what was not made by Fedyard ({shown(strange[0])}): remove it")
        return sum(not cleared(one) for one in gone) == 0

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
            for one in self._attempts.inside(self.root / PLACES / spec.place)
        ):
            raise Refused(Reason.NOT_READY, f"an earlier {spec.name} is still there: it has to go first")

    def _make(self, spec: Spec, image: Image, content: str) -> Observed:
        """Its folder, its lock, its shim, in this order. Raises `Unavailable`."""
        if self._live() >= self._max_live:
            raise Unavailable(f"{self._max_live} attempts run here already, which is as many as may", after_s=5.0)
        place = self.root / PLACES / spec.place
        folder = place / f"{spec.id}-{spec.attempt}"
        uid = draw_key()
        made = self.root / NEW / uid
        record = record_of(spec, image, content, uid)
        try:
            if not place.exists():
                self._make_place(place, spec.owner)
            if spec.volume is not None:
                (self.root / VOLUMES / spec.place).mkdir(mode=0o700, exist_ok=True)
            (made / files.WORK).mkdir(mode=0o700, parents=True)
            for name in (INPUTS_FOLDER, OUTPUTS_FOLDER) if spec.files is not None else ():
                (made / files.WORK / name).mkdir(mode=0o700)
            made.chmod(0o700)
            launch = self._launch(spec, record, folder / files.WORK, image)
            with open(made / files.LAUNCH, "xb", opener=_private) as file:
                file.write(_ENCODER.encode(launch))
            write_whole(made / RECORD, _ENCODER.encode(record))
            os.mkfifo(made / files.BELL, PRIVATE)
            self._spawn(folder, _locked_as(made, folder))
        except OSError as error:
            cleared(made)
            raise Unavailable(f"its folder cannot be made: {error.strerror}") from error
        return self._attempts.told(Found(folder, record, None, True, None))

    def _launch(self, spec: Spec, record: Record, work: Path, image: Image) -> dict[str, object]:
        return launch_of(spec, record, image, root=self.root, work=work, path=self._path, log_bytes=self._log_bytes)

    def _make_place(self, place: Path, owner: str) -> None:
        made = self.root / NEW / draw_key()
        made.mkdir(mode=0o700)
        write_whole(made / OWNER, owner.encode())
        made.rename(place)
        to_disk(place.parent)

    def _spawn(self, folder: Path, alive: int) -> None:
        """Hand the lock over to a shim. A spawner that does not answer is killed, and has forked one before or not:
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
        places = list((self.root / PLACES).iterdir())
        if sum(len(there) for place in places if (there := names(place))) < self._max_live:
            return 0
        return sum(1 for place in places for found in self._attempts.inside(place) if found.lives)

    def _sweep(self) -> None:
        """What a user that was killed has left half made, or half removed."""
        with self._locked():
            for left in (self.root / NEW).iterdir():
                self._moved_away(left)
        for left in (self.root / GONE).iterdir():
            cleared(left)

    # ------------------------------------------------------------ ending

    def _end(self, found: Found, grace_s: float) -> bool:
        """Ask for it; True once no process of it is there."""
        if found.lives:
            if found.stop is None or grace_s < found.stop.grace_s:
                with suppress(OSError):  # the disk is full; the bell says it as well
                    write_whole(found.folder / files.STOP, _ENCODER.encode(Asked(grace_s)))
            _ring(found.folder, b"%f " % grace_s)
            return False
        if found.state is not None and found.state.ended_s is None:
            return not end_strays(found.record.uid)
        return True

    def _remove(self, found: Found) -> Path:
        """Nobody finds it any more; what is left to do is to clear its folder."""
        return self._moved_away(found.folder)

    def _moved_away(self, folder: Path) -> Path:
        gone = self.root / GONE / draw_key()
        folder.rename(gone)
        files.ring_changes(str(self.root / CHANGES))
        return gone

    # ------------------------------------------------------------ waiting

    def _mark(self) -> tuple[int, int]:
        at = (self.root / CHANGES).stat()
        return at.st_size, at.st_mtime_ns

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One caller at a time, of all that share the root. Raises `Unavailable`."""
        lock = os.open(self.root / LOCK, os.O_RDWR)
        try:
            end = time.monotonic() + LOCK_WITHIN_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise Unavailable(f"{self.root / LOCK} is held by another for too long") from None
                    time.sleep(LOCK_EVERY_S)
            yield
        finally:
            os.close(lock)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


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


def _ring(folder: Path, said: bytes = b" ") -> None:
    """Let the shim look at what is wanted. One that has not come so far looks when it begins; one that ends meanwhile
    has no more to look at."""
    try:
        bell = os.open(folder / files.BELL, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return
        raise
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(bell, said)
    os.close(bell)
