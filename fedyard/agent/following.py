"""Following the inbox: what comes is on this site's disk before it is acknowledged, and then whose turn it is wakes.

Of the hub nothing is believed for being newer: a history that went back is recovered from, ever later if that is said
again and again, and an entry far beyond what is known is not taken in.
"""

from __future__ import annotations

from collections.abc import Callable

from fedyard.agent.directories import Directories
from fedyard.agent.flags import Flags
from fedyard.agent.head_watch import Heads
from fedyard.agent.patience import FAULT_PAUSES, KEY_WITHIN_S
from fedyard.agent.recovery import MAX_READ_AFTER, Recovery, last_believed
from fedyard.agent.site import Keys
from fedyard.agent.state import State
from fedyard.agent.upkeep import tend
from fedyard.client.client import MAX_LONG_POLL_S, Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import Clock, jitter, micros_now, utc_now
from fedyard.sealed.keys import Keyring
from fedyard.wire.answers import Entry, Unread
from fedyard.wire.backoff import Backoff
from fedyard.wire.problems import ProblemType

POLLS_EVERY_S = 1.0
"""The least time between two polls of which the first brought nothing new: a hub that does not let us wait."""
KEYS_CHANGE = ("key_changed", "member_admitted", "member_left", "member_declined", "member_invited")
"""Notices after which a project's directory is asked for again."""
WORKLOADS_CHANGE = ("workload_wanted", "member_left")
"""Notices after which it is looked after workloads."""
RECOVERY_PAUSES = Backoff(first=2.0, most=300.0)
"""Seconds before the history is believed to have gone back once more, as long as recoveries follow so fast."""
RECOVERED_FOR_S = 3600.0
"""After so long without a recovery the next one is believed at once."""
HUB_PAUSES = Backoff(first=2.0, most=30.0)
"""Seconds before an inbox that could not be read is asked for again."""


class Following:
    """The inbox of a site. `run` returns when the agent is closing.

    lose_run: of a run that is gone with the hub's history. wake: there is something to do.
    """

    def __init__(
        self,
        state: State,
        client: Client,
        recovery: Recovery,
        heads: Heads,
        directories: Directories,
        keyring: Keyring,
        keys: Keys,
        *,
        flags: Flags,
        lose_run: Callable[[str], None],
        wake: Callable[[], None],
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self._state, self._client, self._recovery, self._heads = state, client, recovery, heads
        self._directories, self._keyring, self._keys = directories, keyring, keys
        self._flags, self._lose_run, self._wake = flags, lose_run, wake
        self._clock, self._log = clock, log
        self._caught_up = False
        self._told_beyond: int | None = None
        self._recovered_at: float | None = None
        self._recoveries = 0

    def run(self) -> None:
        """The inbox: first what is there already, so that nothing overtaken is begun; then what comes."""
        failures = 0
        self._clock.wait(self._flags.keyed, KEY_WITHIN_S)
        while not self._flags.closing.is_set():
            try:
                self._pay()
                position = self._state.history.position()
                taken = position.taken
                asked_at = self._clock.monotonic()
                wait = MAX_LONG_POLL_S if self._caught_up else 0
                inbox = self._client.inbox(after=min(taken, MAX_READ_AFTER) or None, wait=wait, mark=position.mark)
                if self._is_another(inbox.history_id, position.history_id):
                    self._recover()
                    continue
                entries, unread = inbox.read(taken)
                fresh = self._take(entries, unread, taken)
                self._heads.note(inbox.heads, inbox.history_id, micros_now())
                if fresh:
                    failures = 0
                    continue
                first, self._caught_up = not self._caught_up, True
                self._wake()
                failures = 0
                if first and not inbox.raw:
                    continue
                if inbox.raw or self._clock.monotonic() - asked_at < POLLS_EVERY_S:
                    self._clock.wait(self._flags.closing, jitter(POLLS_EVERY_S))
            except Unavailable as error:
                failures += 1
                self._log("hub unavailable", detail=str(error))
                pause = max(HUB_PAUSES.after(failures), error.retry_after_s)
                self._clock.wait(self._flags.closing, jitter(pause))
            except Refused as error:
                if error.problem is not ProblemType.HISTORY_WENT_BACK:
                    raise
                self._recover()

    def _is_another(self, history_id: str | None, known: str) -> bool:
        """True if the hub tells another history than this site knows; the first that it sees is known from then on."""
        if history_id and not known:
            self._state.history.first_history(history_id)
        return bool(history_id and known and history_id != known)

    def _recover(self) -> None:
        """The hub was restored: tell it what this site holds, and go on from where it says.

        A hub that says so again and again is believed ever later: each time costs a copy, a claim, and what is sent
        again.
        """
        now = self._clock.monotonic()
        if self._recovered_at is None or now - self._recovered_at > RECOVERED_FOR_S:
            self._recoveries = 0
        if self._clock.wait(self._flags.closing, jitter(RECOVERY_PAUSES.after(self._recoveries))):
            return
        try:
            self._recovery.begin(utc_now())
        except Unavailable as error:
            self._log("hub unavailable", detail=str(error))
            self._clock.wait(self._flags.closing, jitter(max(FAULT_PAUSES.first, error.retry_after_s)))
            return
        self._recovered_at = self._clock.monotonic()
        self._recoveries += 1
        if self._recovery.conflicting():
            tend(self._keyring, self._keys, self._client, micros_now(), log=self._log, renew=True)
        self._directories.forget()
        self._flags.poked.set()
        self._flags.rejoin.set()  # memberships may be forgotten, too

    def _pay(self) -> None:
        """What a hub whose history went back has forgotten, and the runs that are gone with it."""
        if self._recovery.pay(micros_now(), self._lose_run) and self._caught_up:
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
        self._state.inbox.take(entries, through=max(seqs))
        for entry in entries:
            if entry.kind in KEYS_CHANGE:
                self._directories.forget(entry.project_id)
                self._flags.poked.set()
            if entry.kind in WORKLOADS_CHANGE:
                self._flags.wanted.set()
        if self._caught_up:
            self._wake()
        self._client.acknowledge(max(seqs), self._state.history.position().mark)
        return True
