"""What runs beside the replicas of a service: the shim's side of it. Each is one process, which starts again when it
ends, and lives as long as its replica has a place, whether that runs just now or not."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from fedyard.cluster.local.folder import COMPANION
from fedyard.wire.shown import shown

MAX_LOG_BYTES = 1_048_576
"""Of what one has said; then that begins anew."""
MAX_LINE = 300
READ_BYTES = 65_536
RESTART_FIRST_S, MAX_RESTART_S, RESTART_FORGET_S = 0.1, 30.0, 60.0
"""Between an end and the next start: doubled each time, and forgotten when it has lived so long."""
_NEVER = float("inf")


class Companion:
    """Of one replica. pid 0: it does not live. port: where it listens, the same each time it starts."""

    def __init__(self, index: int, port: int) -> None:
        self.index = index
        self.port = port
        self.pid = 0
        self.pipe = -1
        self.started = 0.0
        self.start_at = 0.0
        self.failures = 0
        self.unwanted = False
        self._last = b""

    def begin(self) -> str:
        """It has said nothing yet; its own folder, absolute. The current one is the attempt's."""
        self._last = b""
        folder = os.path.join(os.getcwd(), COMPANION.format(self.index))
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder

    def pump(self) -> bool:
        """What came through the pipe, into its log. False: that is at its end."""
        try:
            came = os.read(self.pipe, READ_BYTES)
        except BlockingIOError:
            return True
        if came:
            self._last = (self._last + came)[-4 * MAX_LINE :]
            with suppress(OSError):  # the disk is full: what it says is lost, and it runs on
                self._keep(came)
        return bool(came)

    def last_line(self) -> str:
        """Of what it has said since it started."""
        lines = self._last.decode(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        return shown(said, MAX_LINE)

    def _keep(self, came: bytes) -> None:
        log = os.open(f"{COMPANION.format(self.index)}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(log).st_size > MAX_LOG_BYTES:
                os.ftruncate(log, 0)
            os.write(log, came)
        finally:
            os.close(log)


class Companions:
    """All of an attempt; none where it has been asked for none."""

    def __init__(
        self,
        asked: dict[str, Any] | None,
        poll: select.poll,
        fork: Callable[[list[str], dict[str, str], str], tuple[int, int, int]],
        event: Callable[[str], None],
    ) -> None:
        """fork: argv, environment, folder -> pid, pipe, and an error's number or 0. event: notes a sentence."""
        self._asked = asked
        self._poll = poll
        self._fork = fork
        self._event = event
        self._all: dict[int, Companion] = {}

    def pids(self) -> set[int]:
        """Of those that live."""
        return {one.pid for one in self._all.values() if one.pid}

    def next_at(self) -> float:
        """When something has to be done for one."""
        return min((one.start_at for one in self._all.values()), default=_NEVER)

    def told(self, index: int) -> dict[str, str]:
        """What the replica finds of its companion in its environment."""
        if self._asked is None:
            return {}
        known = self._all.get(index)
        if known is not None and known.unwanted:  # its replica's place was given up, and is taken again
            _tell(known.pid, signal.SIGKILL)
            self._let_go(known)
        if known is None or known.unwanted:
            self._all[index] = Companion(index, _free_port())
        return {self._asked["address"]: f"localhost:{self._all[index].port}"}

    def start_due(self, now: float, replicas: set[int], grace_s: float) -> None:
        """replicas: those that have a place still."""
        for index, one in list(self._all.items()):
            if one.unwanted and not one.pid:
                self._let_go(one)
                del self._all[index]
            elif index not in replicas and not one.unwanted:
                one.unwanted, one.start_at = True, now + grace_s
                _tell(one.pid, signal.SIGTERM)
            elif now >= one.start_at:
                one.start_at = _NEVER
                if one.unwanted:
                    _tell(one.pid, signal.SIGKILL)
                else:
                    self._start(one, now)

    def end(self) -> None:
        """Tell each: the attempt ends."""
        for one in self._all.values():
            one.unwanted, one.start_at = True, _NEVER
            _tell(one.pid, signal.SIGTERM)

    def pump(self, ready: Iterable[int]) -> None:
        """What those have said whose pipes are ready."""
        for one in self._all.values():
            if one.pipe in ready and not one.pump():
                self._let_go(one)

    def ended(self, pid: int, code: int, why: str, now: float) -> None:
        """One of them has, perhaps. code, why: as told to people."""
        for one in self._all.values():
            if one.pid == pid:
                self._restart(one, why or f"it ended by itself with exit code {code}", now)

    def _start(self, one: Companion, now: float) -> None:
        assert self._asked is not None
        folder = one.begin()
        own = {"HOME": folder, "TMPDIR": folder, "PORT": str(one.port)}
        one.pid, one.pipe, _ = self._fork(self._asked["argv"], {**self._asked["environment"], **own}, folder)
        one.started = now
        self._poll.register(one.pipe, select.POLLIN)
        self._event(f"its companion has started, as process {one.pid}")

    def _restart(self, one: Companion, why: str, now: float) -> None:
        for _ in range(64):
            if one.pipe < 0 or not one.pump():
                break
        self._let_go(one)
        one.pid = 0
        if one.unwanted:
            return
        one.failures = 1 if now - one.started > RESTART_FORGET_S else one.failures + 1
        pause_s = min(RESTART_FIRST_S * 2 ** min(one.failures - 1, 20), MAX_RESTART_S)
        one.start_at = now + pause_s
        said = one.last_line()
        self._event(f"its companion: {why}{f' ({said})' if said else ''}; it starts again in {pause_s:g} s")

    def _let_go(self, one: Companion) -> None:
        """Of its pipe, which nobody writes to any more."""
        if one.pipe >= 0:
            self._poll.unregister(one.pipe)
            os.close(one.pipe)
            one.pipe = -1


def _tell(pid: int, number: signal.Signals) -> None:
    """A process and its group."""
    if pid:
        with suppress(OSError):
            os.killpg(pid, number)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
