"""One process for a site: it follows the site's inbox and does what the notices ask for.

    inbox thread      long poll -> State.take (on disk) -> acknowledge -> wake the run's worker
    worker threads    one for each run with something to do: the oldest entry first, one after the other; and one for
                      messages between sites, so that many of them never hold up a run
    child processes   one for each task run: the hooks compute there (child.py)
    heartbeat, join   two more threads
    keys, logs        keep the sealing keys as they should be; send what hooks say

What an entry leads to is in steps/. An entry is on disk before it is acknowledged, and a report before it is sent,
so a kill at any moment is followed by the same requests under the same keys.
"""

from __future__ import annotations

import fcntl
import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from fedyard.agent.consents import Join
from fedyard.agent.courier import Courier
from fedyard.agent.directories import Directories
from fedyard.agent.head_watch import Heads
from fedyard.agent.joining import Joining
from fedyard.agent.logs import FLUSH_EVERY_S
from fedyard.agent.patience import Halted
from fedyard.agent.recovery import READ_AFTER_AT_MOST, Recovery, last_believed
from fedyard.agent.site import Folder, Settings, SiteError, client_to
from fedyard.agent.state import State
from fedyard.agent.steps import Steps, place_of
from fedyard.agent.upkeep import due, tend
from fedyard.client.client import LONG_POLL_AT_MOST_S
from fedyard.client.errors import Refused, Unavailable
from fedyard.client.transfer import Transfer
from fedyard.clock import Clock, SystemClock, jitter, micros_now, utc_now
from fedyard.sealed.trust import Changed
from fedyard.wire.answers import Entry, Unread
from fedyard.wire.backoff import Backoff
from fedyard.wire.problems import ProblemType

WORKERS_AT_MOST = 64
MESSAGES = "messages"
"""In the place of a run's id: the worker that takes messages between sites, in their order."""
WAKE_EVERY_S = 1.0
POLLS_EVERY_S = 1.0
"""The least time between two polls of which the first brought nothing new: a hub that does not let us wait."""
PATIENCE_S = 10.0
"""How long a request is repeated before it is asked whether its result is still wanted; then it goes on."""
FINISH_WITHIN_S = 10.0
"""How long hooks may go on after SIGTERM; what is not finished then is repeated at the next start."""
TEND_EVERY_S = 5.0
"""How often it is looked whether a sealing key is due."""
KEYS_CHANGE = ("key_changed", "member_admitted", "member_left", "member_declined", "member_invited")
"""Notices after which a project's directory is asked for again."""
KEY_WITHIN_S = 10.0
"""How long work waits for the first key to be published, so that what comes of it can be sealed to this site."""
FAULT_PAUSES = Backoff(first=2.0, most=60.0)
"""Seconds before a thread that met with what nobody expected (a full disk, a fault of ours) goes on."""
RECOVERY_PAUSES = Backoff(first=2.0, most=300.0)
"""Seconds before the history is believed to have gone back once more, as long as recoveries follow so fast."""
RECOVERED_FOR_S = 3600.0
"""After so long without a recovery the next one is believed at once."""
JOIN_PAUSES = Backoff(first=1.0, most=30.0)
HUB_PAUSES = Backoff(first=2.0, most=30.0)
"""Seconds before an inbox that could not be read is asked for again."""


def ends_agent(error: BaseException) -> bool:
    """True for what an agent must not go on after: another site's identity was swapped, or the hub knows it no more."""
    unknown = isinstance(error, Refused) and error.token_unknown
    return unknown or isinstance(error, Changed) or not isinstance(error, Exception)


class Agent:
    """A site at work. `run` returns after `stop`, or raises what made it impossible to go on."""

    def __init__(self, folder: Folder, *, log: TextIO | None = sys.stderr, clock: Clock | None = None) -> None:
        self.folder = folder
        self.settings: Settings = folder.settings()
        self._log_to = log
        self._clock = clock or SystemClock()
        self._closing = threading.Event()
        self._halting = threading.Event()
        self._ended = threading.Event()
        self._poked = threading.Event()
        self._keyed = threading.Event()
        self._rejoin = threading.Event()
        self._failure: BaseException | None = None
        self._caught_up = False
        self._told_clock: str | None = None
        self._told_beyond: int | None = None
        self._recovered_at: float | None = None
        self._recoveries = 0
        self._lock = threading.Lock()
        self._workers: dict[str | None, threading.Thread] = {}

    def stop(self) -> None:
        """Take up nothing new and end soon. For any thread, but not for a signal's handler: see stopping.py."""
        self._closing.set()
        self._ended.set()
        self._poked.set()
        self._rejoin.set()

    def run(self) -> None:
        """Enrol if need be, then work until `stop`. Raises `SiteError` or `Refused` if the site cannot work at all.

        Raises `trust.Changed` if another site's identity was swapped.
        """
        lock = self._only_one()
        trust = self.folder.trust(self.settings)
        self.site_id = self._enrolled()
        self.state = State(self.folder.path / "state.sqlite")
        self.client = client_to(self.settings, self.folder.token(), give_up_s=PATIENCE_S, closing=self._halting)
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
            halting=self._halting,
            clock=self._clock,
            log=self._log,
        )
        self.recovery = Recovery(self.site_id, self.folder.path, self.state, self.keyring, self.client, self._log)
        self.heads = Heads(self.site_id, self.state, trust, consents, self._log)
        self._log("started", hub=self.settings.hub, id=self.site_id)
        threads = {
            "keys": self._tend,
            "inbox": self._follow,
            "heartbeat": self._beat,
            "join": self._join,
            "logs": self._send_logs,
        }
        for name, body in threads.items():
            threading.Thread(target=self._guarded, args=(body,), name=name, daemon=True).start()
        while not self._ended.wait(WAKE_EVERY_S):  # a signal that another thread got is handled when this one wakes
            pass
        self._close()
        lock.close()
        if self._failure is not None:
            raise self._failure

    # threads

    def _only_one(self) -> TextIO:
        """A lock on the folder that ends with this process."""
        lock = (self.folder.path / "agent.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise SiteError(f"another agent works in {self.folder.path}: one site has one agent") from None
        return lock

    def _enrolled(self) -> str:
        """Known to the hub, also if the hub comes up later than the site."""
        while True:
            try:
                return self.folder.enrol(self.settings, self._closing)
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
                if self._closing.is_set():
                    raise SiteError("stopped before the hub could be reached") from None

    def _guarded(self, body: Callable[[], None]) -> None:
        """Run a thread's body; what is not meant to end the agent is logged, and the body goes on after a pause."""
        failures = 0
        while True:
            start = self._clock.monotonic()
            try:
                body()
            except BaseException as error:  # noqa: BLE001 - carried to run(), or logged
                if self._closing.is_set():
                    return
                if ends_agent(error):
                    self._failure = error
                    self._ended.set()
                    return
                lasted = self._clock.monotonic() - start
                failures = 1 if lasted > FAULT_PAUSES.most else failures + 1
                name = threading.current_thread().name
                self._log("went wrong", thread=name, error=type(error).__name__, at=place_of(error), times=failures)
                self._clock.wait(self._closing, jitter(FAULT_PAUSES.after(failures)))
            else:
                return

    def _follow(self) -> None:
        """The inbox: first what is there already, so that nothing overtaken is begun; then what comes."""
        failures = 0
        self._clock.wait(self._keyed, KEY_WITHIN_S)
        while not self._closing.is_set():
            try:
                self._pay()
                position = self.state.history.position()
                taken = position.taken
                asked_at = self._clock.monotonic()
                wait = LONG_POLL_AT_MOST_S if self._caught_up else 0
                inbox = self.client.inbox(after=min(taken, READ_AFTER_AT_MOST) or None, wait=wait, mark=position.mark)
                if self._is_another(inbox.history_id, position.history_id):
                    self._recover()
                    continue
                entries, unread = inbox.read(taken)
                fresh = self._take(entries, unread, taken)
                self.heads.note(inbox.heads, inbox.history_id, micros_now())
                if fresh:
                    failures = 0
                    continue
                first, self._caught_up = not self._caught_up, True
                self._wake()
                failures = 0
                if first and not inbox.raw:
                    continue
                if inbox.raw or self._clock.monotonic() - asked_at < POLLS_EVERY_S:
                    self._clock.wait(self._closing, jitter(POLLS_EVERY_S))
            except Unavailable as error:
                failures += 1
                self._log("hub unavailable", detail=str(error))
                pause = max(HUB_PAUSES.after(failures), error.retry_after_s)
                self._clock.wait(self._closing, jitter(pause))
            except Refused as error:
                if error.problem is not ProblemType.HISTORY_WENT_BACK:
                    raise
                self._recover()

    def _is_another(self, history_id: str | None, known: str) -> bool:
        """True if the hub tells another history than this site knows; the first that it sees is known from then on."""
        if history_id and not known:
            self.state.history.first_history(history_id)
        return bool(history_id and known and history_id != known)

    def _recover(self) -> None:
        """The hub was restored: tell it what this site holds, and go on from where it says.

        A hub that says so again and again is believed ever later: each time costs a copy, a claim, and what is sent
        again.
        """
        now = self._clock.monotonic()
        if self._recovered_at is None or now - self._recovered_at > RECOVERED_FOR_S:
            self._recoveries = 0
        if self._clock.wait(self._closing, jitter(RECOVERY_PAUSES.after(self._recoveries))):
            return
        try:
            self.recovery.begin(utc_now())
        except Unavailable as error:
            self._log("hub unavailable", detail=str(error))
            self._clock.wait(self._closing, jitter(max(FAULT_PAUSES.first, error.retry_after_s)))
            return
        self._recovered_at = self._clock.monotonic()
        self._recoveries += 1
        if self.recovery.conflicting():
            tend(self.keyring, self.settings.keys, self.client, micros_now(), log=self._log, renew=True)
        self.courier.directories.forget()
        self._poked.set()
        self._rejoin.set()  # memberships may be forgotten, too

    def _pay(self) -> None:
        """What a hub whose history went back has forgotten, and the runs that are gone with it."""
        if self.recovery.pay(micros_now(), self.steps.lose_run) and self._caught_up:
            self._wake()

    def _take(self, entries: list[Entry], unread: list[Unread], taken: int) -> bool:
        """What came is on disk, and acknowledged; False if nothing of it is new. What cannot be read is passed over.

        A number far beyond what is known is not believed: taking it in would make this site deaf to all below it.
        """
        last = last_believed(taken)
        numbers = [*(entry.seq for entry in entries), *(one.seq for one in unread if one.seq is not None)]
        for seq in sorted(seq for seq in numbers if seq > last)[:1]:
            if seq != self._told_beyond:
                self._log("entry beyond belief", entry=seq, taken=taken, detail=f"no entry above {last} is taken in")
            self._told_beyond = seq
        entries = [entry for entry in entries if entry.seq <= last]
        fresh = [one for one in unread if one.seq is None or taken < one.seq <= last]
        for one in fresh:
            self._log("entry not understood", entry=one.seq, detail=one.fact)
        seqs = [entry.seq for entry in entries] + [one.seq for one in fresh if one.seq is not None]
        if not seqs:
            return False
        if min(seqs) > taken + 1 and taken:
            self._log("gap", missing_from=taken + 1, missing_to=min(seqs) - 1)
        self.state.inbox.take(entries, through=max(seqs))
        for entry in entries:
            if entry.kind in KEYS_CHANGE:
                self.courier.directories.forget(entry.project_id)
                self._poked.set()
        if self._caught_up:
            self._wake()
        self.client.acknowledge(max(seqs), self.state.history.position().mark)
        return True

    def _beat(self) -> None:
        pause = 1.0
        while not self._closing.is_set():
            try:
                pause = self.client.heartbeat(self.site_id)
                self._tell_clock()
            except Unavailable as error:
                self._log("heartbeat lost", detail=str(error))
            self._clock.wait(self._closing, jitter(pause, 0.1))

    def _tell_clock(self) -> None:
        """Say it once when this machine's clock and the hub's are far apart, and again when that has changed."""
        off = self.client.clock_off()
        if (off is None) != (self._told_clock is None):
            self._log("clock", detail=off or "this site's clock and the hub's agree again")
        self._told_clock = off

    def _tend(self) -> None:
        """The sealing keys: one is published before anything else is asked of the hub, and renewed in time."""
        ask = True
        while not self._closing.is_set():
            try:
                for number in self.keyring.expire(micros_now()):
                    self._log("key gone", epoch=number)
                if ask or due(self.keyring, self.settings.keys, micros_now()):
                    tend(self.keyring, self.settings.keys, self.client, micros_now(), log=self._log)
                self._keyed.set()
                self.state.bodies.forget_opened(micros_now())
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
            except Refused as error:
                if error.token_unknown:
                    raise
                self._log("keys refused", reason=error.slug, detail=error.detail)
            ask = self._clock.wait(self._poked, TEND_EVERY_S)
            self._poked.clear()

    def _send_logs(self) -> None:
        while not self._clock.wait(self._closing, FLUSH_EVERY_S):
            try:
                self.steps.receipts.report()
                self.steps.logs.flush()
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
            except Changed as changed:
                self.courier.directories.record_conflict(changed)
                raise

    def _join(self) -> None:
        """Ask to join the configured projects, which may not exist yet, until each is joined or asked for.

        All of them again when the hub's history went back, and then what people joined or left by command, too.
        """
        self._clock.wait(self._keyed, KEY_WITHIN_S)
        while not self._closing.is_set():
            self._rejoin.clear()
            wanted, again, tries = list(self.settings.join), False, 0
            while not self._closing.is_set() and not self._rejoin.is_set():
                again = again or self._joined_again()
                wanted = [join for join in wanted if not self._joined(join)]
                if again and not wanted:
                    break
                tries += 1
                self._clock.wait(self._closing, jitter(JOIN_PAUSES.after(tries)))
            if not self._closing.is_set():
                self._rejoin.wait()

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

    def _wake(self) -> None:
        """See that every run with something to do has a worker."""
        waiting: list[str | None] = [None, MESSAGES, *self.state.inbox.waiting_runs()]
        with self._lock:
            for run_id in waiting[:WORKERS_AT_MOST]:
                if run_id not in self._workers and not self._closing.is_set():
                    thread = threading.Thread(target=self._guarded, args=(lambda r=run_id: self._work(r),), daemon=True)
                    self._workers[run_id] = thread
                    thread.start()

    def _work(self, run_id: str | None) -> None:
        """A run's entries, until none waits."""
        try:
            while not self._closing.is_set():
                entry = self._next(run_id)
                if entry is None:
                    with self._lock:
                        if self._next(run_id) is None:
                            del self._workers[run_id]
                            return
                    continue
                try:
                    self._handle(entry)
                except Unavailable as error:
                    self._log("hub unavailable", detail=str(error))
                    self._clock.wait(self._closing, jitter(max(FAULT_PAUSES.first, error.retry_after_s)))
        except Halted:
            return

    def _next(self, lane: str | None) -> Entry | None:
        return self.state.inbox.waiting_message() if lane == MESSAGES else self.state.inbox.waiting(lane)

    def _handle(self, entry: Entry) -> None:
        start = self._clock.monotonic()
        outcome = self.steps.take(entry)
        self.state.inbox.done(entry.seq)
        took = round((self._clock.monotonic() - start) * 1000)
        self._log(entry.kind, entry=entry.seq, run=entry.run_id, round=entry.round, outcome=outcome, ms=took)

    def _close(self) -> None:
        """Let hooks and reports finish for a while, then interrupt them; children end with their connections."""
        self._closing.set()
        with self._lock:
            workers = list(self._workers.values())
        end = self._clock.monotonic() + FINISH_WITHIN_S
        for worker in workers:
            worker.join(max(0.0, end - self._clock.monotonic()))
        self._halting.set()
        end = self._clock.monotonic() + self.settings.tasks.stop_within_s + 1.0
        for worker in workers:
            worker.join(max(0.0, end - self._clock.monotonic()))
        self.steps.children.end_all()
        self._log("stopped")

    def _log(self, what: str, **facts: object) -> None:
        """One JSON line; facts are ids, kinds and counts."""
        line = {"at": utc_now().isoformat(), "site": self.settings.name, "what": what, **facts}
        said = json.dumps({k: v for k, v in line.items() if v is not None}, default=repr)
        with suppress(OSError, ValueError):  # a full disk, or a closed file, is no reason to work no more
            print(said, file=self._log_to, flush=True)
