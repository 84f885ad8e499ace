"""The hub's history went back: it was restored from a backup, and has forgotten its newest entries.

The site keeps a copy of its memory aside, tells the hub what it holds, reads on from where the answer says, and sends
again what the hub lacks, under the same keys: messages at once, reports once the hub's runs have come so far. Each step
is on disk before it is taken, so that a kill at any moment is followed by the same step again, which is harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from fedyard.agent.state import MAX_HELD, Position, State
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import draw_key
from fedyard.sealed.keys import Epoch, Keyring
from fedyard.wire import answers as a
from fedyard.wire import types as w
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import DAY_S, SECOND

MAX_COPIES = 5
"""How many copies of the memory are kept aside: the first one of the last weeks, and the newest ones. A hub that says
again and again that its history went back does not have the memory of before its lies go."""
COPY_KEPT_DAYS = 30
"""How long the first one is kept, once there are newer ones."""
SENT_FOR_DAYS = 5
"""For how long messages are sent again: well below the window in which the hub knows a repeat for what it is."""
MAX_JUMP = 1_000_000
"""How far an entry's number may lie above the newest known one. A recovery leaves a thousand out."""
MAX_CLAIMED = 8_000_000_000_000_000
"""The largest number in a claim: the hub takes some more, and has to count on above it."""
MAX_READ_AFTER = MAX_CLAIMED + 500_000_000_000_000
MAX_TASK_SEQ = 1_000_000_000
_LIVE = ("created", "running")


def last_believed(taken: int) -> int:
    """The largest number of an entry that is taken in when `taken` is the newest known one; 0: none is known."""
    return taken + MAX_JUMP if taken else MAX_CLAIMED


def went_back(state: State, client: Client) -> bool:
    """Has the hub another history than this site, which has not heard of it yet? Raises `Unavailable`, `Refused`."""
    position = state.history.position()
    try:
        here = client.inbox(after=min(position.taken, MAX_READ_AFTER) or None, limit=1, mark=position.mark)
    except Refused as error:
        if error.problem is not ProblemType.HISTORY_WENT_BACK:
            raise
        return True
    return bool(here.history_id and position.history_id and here.history_id != position.history_id)


class _Seat(msgspec.Struct, frozen=True):
    """A seat of a claim."""

    run_id: str
    task_seq: int


class _Claim(msgspec.Struct, frozen=True):
    """What of a claim its answer is held to."""

    seats: list[_Seat] = []


class Recovery:
    """For one site; called by the thread that follows the inbox. log: told each step."""

    def __init__(
        self, site_id: str, folder: Path, state: State, keyring: Keyring, client: Client, log: Callable[..., None]
    ) -> None:
        self._site_id, self._folder = site_id, folder
        self._state, self._keyring, self._client = state, keyring, client
        self._log = log

    def begin(self, now: datetime) -> None:
        """Tell the hub what this site holds, and read on from where it says. Raises `Refused`, `Unavailable`."""
        position = self._state.history.position()
        if not position.claim:
            if position.claim_key != _refused_at(position.taken):  # nothing has changed since that was put aside
                self._put_aside(now)
            self._state.history.keep_claim(draw_key(), msgspec.json.encode(self._claim()))
            position = self._state.history.position()
        self._log("history went back", held=position.taken, history=position.history_id or None)
        try:
            answer = self._client.recover(self._site_id, position.claim, key=position.claim_key)
        except Refused:
            self._state.history.keep_claim(_refused_at(position.taken), b"")  # it is made anew the next time
            raise
        answer = self._believed(answer, position)
        owed, at = msgspec.json.encode(answer), int(now.timestamp() * SECOND)
        self._state.history.recovered(
            answer.history_id, answer.common_seq, answer.read_after, answer.mark or "", owed, at
        )
        self._log("recovered", common=answer.common_seq, read_after=answer.read_after, history=answer.history_id)

    def _believed(self, answer: a.Recovered, position: Position) -> a.Recovered:
        """The answer, as far as it is about what this site has claimed. Raises `Unavailable` for what no hub says.

        Numbers never come again: what this site made because of an entry lies under its number.
        """
        least = min(position.taken, MAX_CLAIMED)
        if not max(least, answer.common_seq) <= answer.read_after <= MAX_READ_AFTER:
            self._state.history.keep_claim(_refused_at(position.taken), b"")
            raise Unavailable(
                f"the hub says that this site, which has read up to {position.taken}, shall read on after "
                f"{answer.read_after} ({answer.common_seq} being common to both), which no hub does"
            )
        claim = msgspec.json.decode(position.claim, type=_Claim)
        named = {(seat.run_id, seat.task_seq) for seat in claim.seats}
        seats = [seat for seat in answer.seats if (seat.run_id, seat.task_seq) in named]
        return msgspec.structs.replace(answer, seats=seats)

    def pay(self, now: int, forget: Callable[[str], None]) -> bool:
        """Send again the messages that the hub has forgotten, and see to it that reports are; False if nothing is owed.

        `forget` is called with each run that the hub does not know any more, and is harmless when repeated: what is
        owed is only met once they are all gone. Raises `Unavailable`, and `Refused` if the hub does not know this site.
        """
        position = self._state.history.position()
        if not position.owed:
            return False
        answer = w.decode(position.owed, a.Recovered)
        sent = refused = 0
        for key, body in self._state.history.sent_since(now - SENT_FOR_DAYS * DAY_S * SECOND):
            taken = self._took(lambda k=key, b=body: self._client.post_again(k, b))  # type: ignore[misc]
            sent, refused = sent + taken, refused + (not taken)
        for run_id in dict.fromkeys(seat.run_id for seat in answer.seats if seat.run_state is None):
            forget(run_id)
        live = [seat for seat in answer.seats if seat.run_state in _LIVE]
        reports = self._state.history.owe((seat.run_id, seat.task_seq, seat.report_seq) for seat in live)
        self._log("sent again", count=sent, refused=refused or None, reports=reports or None)
        return True

    def conflicting(self) -> bool:
        """True if the hub has other keys than this site's in some epochs: a new one has to be published."""
        position = self._state.history.position()
        return bool(position.owed) and bool(w.decode(position.owed, a.Recovered).keys_conflicting)

    def _took(self, send: Callable[[], object]) -> bool:
        try:
            send()
        except Refused as error:
            if error.token_unknown:
                raise
            self._log("not taken again", reason=error.slug)
            return False
        return True

    def _claim(self) -> dict[str, object]:
        position = self._state.history.position()
        seats, cut = self._state.history.held_seats()
        keys = [epoch for epoch in self._keyring.epochs() if epoch.published][:MAX_HELD]
        return {
            "history_id": position.history_id or None,
            "last_seq": min(position.taken, MAX_CLAIMED),
            "marks": [{"seq": seq, "mark": mark} for seq, mark in self._state.history.marks() if seq <= MAX_CLAIMED],
            "seats": [
                {"run_id": run, "task_seq": task, "report_seq": min(count, MAX_CLAIMED), "state": state}
                for run, task, count, state in seats
                if task <= MAX_TASK_SEQ
            ],
            "seats_cut": cut,
            "keys": [_stated(epoch) for epoch in keys],
            "revoked_tokens": self._state.history.revoked_tokens(),
        }

    def _put_aside(self, now: datetime) -> None:
        """A copy of the memory as it was before."""
        self._state.copy_to(self._folder / f"state-{now:%Y%m%dT%H%M%SZ}.sqlite")
        copies = sorted(self._folder.glob("state-*.sqlite"))
        long_ago = f"state-{now - timedelta(days=COPY_KEPT_DAYS):%Y%m%dT%H%M%SZ}.sqlite"
        while len(copies) > MAX_COPIES:
            copies.pop(0 if copies[0].name < long_ago else 1).unlink()


def _refused_at(taken: int) -> str:
    """In place of a claim's key: the claim that this site made there was refused."""
    return f"refused at {taken}"


def _stated(epoch: Epoch) -> dict[str, object]:
    key = epoch.key
    return {
        "epoch": key.epoch,
        "public_key": key.public_key,
        "suite": key.suite,
        "created_at": key.created,
        "expires_at": key.expires,
        "signature": key.signature,
        "revoked": bool(epoch.revoked),
    }
