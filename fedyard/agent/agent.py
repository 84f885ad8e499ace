"""One process for a site: it follows the site's inbox and does what the notices ask for.

    inbox thread      long poll -> State.take (on disk) -> acknowledge -> wake the run's worker (following.py)
    worker threads    one for each run with something to do, and one for messages between sites (workers.py)
    child processes   one for each task run: the hooks compute there (child.py)
    heartbeat, join   two more threads
    keys, logs        keep the sealing keys as they should be; send what hooks say
    workloads         two threads: what is wanted of this site's cluster, and the cluster's news (workloads.py)

What an entry leads to is in steps/. An entry is on disk before it is acknowledged, and a report before it is sent,
so a kill at any moment is followed by the same requests under the same keys.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TextIO

from fedyard.agent.consents import Join
from fedyard.agent.courier import Courier
from fedyard.agent.directories import Directories
from fedyard.agent.flags import Flags
from fedyard.agent.following import Following
from fedyard.agent.head_watch import Heads
from fedyard.agent.health import HealthFile
from fedyard.agent.joining import Joining
from fedyard.agent.lines import line_of, write_line
from fedyard.agent.logs import FLUSH_EVERY_S
from fedyard.agent.patience import FAULT_PAUSES, KEY_WITHIN_S
from fedyard.agent.recovery import Recovery
from fedyard.agent.site import Folder, Settings, SiteError, client_to
from fedyard.agent.state import State
from fedyard.agent.steps import DISK, Steps, place_of
from fedyard.agent.steps.common import Computing
from fedyard.agent.upkeep import due, tend
from fedyard.agent.workers import Workers
from fedyard.agent.workloads import Workloads
from fedyard.client.errors import Refused, Unavailable, Unreachable
from fedyard.client.transfer import Transfer
from fedyard.clock import Clock, SystemClock, jitter, micros_now, utc_now
from fedyard.sealed.trust import Changed
from fedyard.tasks.confined.entering import held
from fedyard.wire import locks
from fedyard.wire.backoff import Backoff

WAKE_EVERY_S = 1.0
PATIENCE_S = 10.0
"""How long a request is repeated before it is asked whether its result is still wanted; then it goes on."""
FINISH_WITHIN_S = 10.0
"""How long hooks may go on after SIGTERM; what is not finished then is repeated at the next start."""
LOGS_WITHIN_S = 10.0
"""How long after that what hooks have said may take to be sent; what is not sent then is at the next start."""
TEND_EVERY_S = 5.0
"""How often it is looked whether a sealing key is due."""
JOIN_PAUSES = Backoff(first=1.0, most=30.0)


def ends_agent(error: BaseException) -> bool:
    """True for what an agent must not go on after: another site's identity was swapped, the hub knows it no more, or
    there is no way to the hub before people have mended something."""
    unknown = isinstance(error, Refused) and error.token_unknown
    return unknown or isinstance(error, (Changed, Unreachable)) or not isinstance(error, Exception)


class Agent:
    """A site at work. `run` returns after `stop`, or raises what made it impossible to go on."""

    def __init__(
        self,
        folder: Folder,
        *,
        log: TextIO | None = sys.stderr,
        clock: Clock | None = None,
        computing: Computing | None = None,
    ) -> None:
        """computing: where hooks are called, instead of child processes."""
        self.folder = folder
        self._computing = computing
        self.settings: Settings = folder.settings()
        self._log_to = log
        self._clock = clock or SystemClock()
        self._health = HealthFile(folder.path, micros_now)
        self._flags = Flags()
        self._ended = threading.Event()
        self._finished = threading.Event()
        self._failure: BaseException | None = None
        self._told_clock: str | None = None
        self._told_versions: str | None = None

    def stop(self) -> None:
        """Take up nothing new and end soon. For any thread, but not for a signal's handler: see stopping.py."""
        self._flags.closing.set()
        self._ended.set()
        self._flags.poked.set()
        self._flags.rejoin.set()
        self._flags.wanted.set()

    def run(self) -> None:
        """Enrol if need be, then work until `stop`. Raises `SiteError` or `Refused` if the site cannot work at all,
        `Unreachable` if its way to the hub is not as it should be.

        Raises `trust.Changed` if another site's identity was swapped.
        """
        lock = self._only_one()
        trust = self.folder.trust(self.settings)
        self.site_id = self._enrolled()
        self.state = State(self.folder.path / "state.sqlite")
        self.state.releases.recover(self._log)
        self.client = client_to(self.settings, self.folder.token(), give_up_s=PATIENCE_S, closing=self._flags.halting)
        self.keyring = self.folder.keyring()
        consents = self.folder.consents()
        directories = Directories(
            self.keyring, trust, consents, self.client, monotonic=self._clock.monotonic, log=self._log
        )
        self.courier = Courier(
            self.folder.path,
            self.settings,
            self.keyring,
            trust,
            directories,
            self.state,
            self.client,
            Transfer(self.client),
        )
        self.joining = Joining(self.site_id, self.keyring.identity_key, consents, trust, self.client, self._log)
        self.joining.keep_configured(self.settings.join)
        self.steps = Steps(
            self.site_id,
            self.folder,
            self.settings,
            self.state,
            self.client,
            self.courier,
            self.joining,
            halting=self._flags.halting,
            clock=self._clock,
            log=self._log,
            computing=self._computing,
        )
        self.recovery = Recovery(self.site_id, self.folder.path, self.state, self.keyring, self.client, self._log)
        self.heads = Heads(self.site_id, self.state, trust, consents, self._log)
        self.workers = Workers(
            self.state,
            self.steps,
            guarded=self._guarded,
            flags=self._flags,
            clock=self._clock,
            log=self._log,
        )
        self.following = Following(
            self.state,
            self.client,
            self.recovery,
            self.heads,
            directories,
            self.keyring,
            self.settings.keys,
            lose_run=self.steps.lose_run,
            wake=self.workers.wake,
            flags=self._flags,
            clock=self._clock,
            log=self._log,
        )
        self.workloads = Workloads(
            self.site_id,
            self.folder.path,
            self.settings.cluster,
            consents,
            self.client,
            flags=self._flags,
            clock=self._clock,
            log=self._log,
        )
        self._log("started", hub=self.settings.hub, id=self.site_id)
        if lacks := held().lacks:
            self._log("tasks not confined", detail=lacks)
        bodies = {
            "keys": self._tend,
            "inbox": self.following.run,
            "heartbeat": self._beat,
            "join": self._join,
            "logs": self._send_logs,
            "workloads": self.workloads.run,
            "clusters": self.workloads.listen,
        }
        threads = {
            name: threading.Thread(target=self._guarded, args=(body,), name=name, daemon=True)
            for name, body in bodies.items()
        }
        for thread in threads.values():
            thread.start()
        self._health.write()
        while not self._ended.wait(WAKE_EVERY_S):  # a signal that another thread got is handled when this one wakes
            self._health.write()
        self._close(threads["logs"])
        self._health.write(ended=True, why=self._why() or "")
        self.state.settle()
        lock.close()
        if self._failure is not None:
            raise self._failure

    # threads

    def _only_one(self) -> TextIO:
        """A lock on the folder that ends with this process."""
        lock = (self.folder.path / "agent.lock").open("w")
        try:
            locks.lock_now(lock)
        except BlockingIOError:
            lock.close()
            raise SiteError(f"another agent works in {self.folder.path}: one site has one agent") from None
        return lock

    def _enrolled(self) -> str:
        """Known to the hub, also if the hub comes up later than the site."""
        while True:
            try:
                return self.folder.enrol(self.settings, self._flags.closing)
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
                if self._flags.closing.is_set():
                    raise SiteError("stopped before the hub could be reached") from None

    def _guarded(self, body: Callable[[], None]) -> None:
        """Run a thread's body; what is not meant to end the agent is logged, and the body goes on after a pause."""
        failures = 0
        while True:
            start = self._clock.monotonic()
            try:
                body()
            except BaseException as error:  # noqa: BLE001 - carried to run(), or logged
                if self._flags.closing.is_set():
                    return
                if ends_agent(error):
                    self._failure = error
                    self._ended.set()
                    return
                lasted = self._clock.monotonic() - start
                failures = 1 if lasted > FAULT_PAUSES.most else failures + 1
                name = threading.current_thread().name
                fault = type(error).__name__
                detail = str(error) if isinstance(error, DISK) else None  # of the system, not of data
                self._log("went wrong", thread=name, error=fault, detail=detail, where=place_of(error), times=failures)
                self._clock.wait(self._flags.closing, jitter(FAULT_PAUSES.after(failures)))
            else:
                return

    def _beat(self) -> None:
        pause = 1.0
        while not self._flags.closing.is_set():
            try:
                pause = self.client.heartbeat(self.site_id)
                self._tell_clock()
                self._tell_versions()
                self._health.beaten(self._told_clock or "", self.client.hub_version)
            except Unavailable as error:
                self._health.missed(str(error))
                self._log("heartbeat lost", detail=str(error))
            self._clock.wait(self._flags.closing, jitter(pause, 0.1))

    def _tell_clock(self) -> None:
        """Say it once when this machine's clock and the hub's are far apart, and again when that has changed."""
        off = self.client.clock_off()
        if (off is None) != (self._told_clock is None):
            self._log("clock", detail=off or "this site's clock and the hub's agree again")
        self._told_clock = off

    def _tell_versions(self) -> None:
        """Say it once when the hub's version and this one do not fit, and again when that has changed."""
        off = self.client.versions_off()
        if off != self._told_versions:
            self._log("versions", detail=off or "the hub's version and this one fit again")
        self._told_versions = off

    def _tend(self) -> None:
        """The sealing keys: one is published before anything else is asked of the hub, and renewed in time."""
        ask = True
        while not self._flags.closing.is_set():
            try:
                for number in self.keyring.expire(micros_now()):
                    self._log("key gone", epoch=number)
                if ask or due(self.keyring, self.settings.keys, micros_now()):
                    tend(self.keyring, self.settings.keys, self.client, micros_now(), log=self._log)
                self._flags.keyed.set()
                self.state.bodies.forget_opened(micros_now())
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
            except Refused as error:
                if error.token_unknown:
                    raise
                self._log("keys refused", reason=error.slug, detail=error.detail)
            ask = self._clock.wait(self._flags.poked, TEND_EVERY_S)
            self._flags.poked.clear()

    def _send_logs(self) -> None:
        """What hooks say and receipts that are missing, until the agent stops; then the logs once more."""
        while not self._clock.wait(self._flags.closing, FLUSH_EVERY_S):
            self._sent(self.steps.receipts.report, self.steps.logs.flush)
        self._finished.wait()
        self._sent(self.steps.logs.flush)

    def _sent(self, *parts: Callable[[], None]) -> None:
        try:
            for part in parts:
                part()
        except Unavailable as error:
            self._log("hub unavailable", detail=str(error))
        except Changed as changed:
            self.courier.directories.record_conflict(changed)
            raise

    def _join(self) -> None:
        """Ask to join the configured projects, which may not exist yet, until each is joined or asked for.

        All of them again when the hub's history went back, and then what people joined or left by command, too.
        """
        self._clock.wait(self._flags.keyed, KEY_WITHIN_S)
        while not self._flags.closing.is_set():
            self._flags.rejoin.clear()
            wanted, again, tries = list(self.settings.join), False, 0
            while not self._flags.closing.is_set() and not self._flags.rejoin.is_set():
                again = again or self._joined_again()
                wanted = [join for join in wanted if not self._joined(join)]
                if again and not wanted:
                    break
                tries += 1
                self._clock.wait(self._flags.closing, jitter(JOIN_PAUSES.after(tries)))
            if not self._flags.closing.is_set():
                self._flags.rejoin.wait()

    def _joined(self, join: Join) -> bool:
        try:
            return self.joining.tried(join)
        except Unavailable:
            return False
        except Changed as changed:
            self.courier.directories.record_conflict(changed)
            raise

    def _joined_again(self) -> bool:
        """True if the hub has been told, since its history went back last, what people joined and left by command."""
        position = self.state.history.position()
        if position.rejoined_at == position.recovered_at:
            return True
        try:
            for consent in self.joining.consents.all().values():
                if consent.by == "people" or not consent.live:
                    self.joining.again(consent)
        except Unavailable:
            return False
        self.state.history.rejoined(position.recovered_at)
        return True

    def _close(self, logs: threading.Thread) -> None:
        """Let hooks and reports finish for a while, then what they have said be sent; what is left then is interrupted.

        Children end with their connections. logs: the thread that sends what hooks say.
        """
        self._flags.closing.set()
        self.workers.join(FINISH_WITHIN_S)
        self._keep_logs()
        if self._failure is None:
            self._finished.set()
            logs.join(LOGS_WITHIN_S)
        self._flags.halting.set()
        self.workers.join(self.settings.tasks.stop_within_s + 1.0)
        self.steps.children.end_all()
        self.workloads.close(end=isinstance(self._failure, Refused) and self._failure.token_unknown)
        self._keep_logs()
        self._log("stopped", detail=self._why())

    def _why(self) -> str | None:
        """What ends the agent that nobody has told to; None if somebody has."""
        failure = self._failure
        return None if failure is None else str(failure) if ends_agent(failure) else type(failure).__name__

    def _keep_logs(self) -> None:
        """For the next start."""
        try:
            self.steps.logs.keep()
        except DISK as error:
            self._log("lines of logs are lost", error=type(error).__name__)

    def _log(self, what: str, **facts: object) -> None:
        """One line; facts are ids, kinds and counts."""
        self._health.said(what, facts)
        write_line(line_of(self.settings.log, utc_now().isoformat(), self.settings.name, what, facts), self._log_to)
