"""What an inbox entry leads to: hooks are called, reports are made, each once however often an entry is taken up.

`Steps.take` is called by one thread for a run at a time, and again with the same entry after a crash. A report is on
disk, with its key, before it is sent. Work that a later entry has overtaken (the run ended, the seat was dropped, the
round went on) is interrupted or skipped.

This file says which entry leads where, and what becomes of those that cannot be followed; the work is in the modules
beside it.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from fedyard.agent.courier import Courier
from fedyard.agent.joining import Joining
from fedyard.agent.logs import Logs
from fedyard.agent.notices import told
from fedyard.agent.paths import Outside, under
from fedyard.agent.patience import Halted, Overtaken, Patience
from fedyard.agent.payloads import Payloads
from fedyard.agent.receipts import Receipts
from fedyard.agent.room import Room
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import State
from fedyard.agent.steps.common import Common, Computing, task_of
from fedyard.agent.steps.coordinating import Coordinating
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.hooks import Hooks
from fedyard.agent.steps.reporting import MAX_REASON, Reporting, reason_of
from fedyard.agent.steps.scoring import Scoring
from fedyard.agent.steps.taking_part import TakingPart
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unacceptable, Unavailable
from fedyard.clock import Clock, micros_now
from fedyard.sealed.errors import NotConsented, SealError
from fedyard.sealed.trust import Changed
from fedyard.tasks.child import Children
from fedyard.wire.answers import Entry
from fedyard.wire.notices import Ended, MissedBy
from fedyard.wire.types import Undecodable, decode

DISK = (OSError, sqlite3.OperationalError)
PLACES = 4
_SERVED = ("invited", "round_started", "aggregate", "score", "round_completed", "seat_dropped", "message")
"""Entries that lead to something only in a project that this site serves; of others nothing is opened or computed."""


class Steps:
    """The effects of entries for one site. halting: set once the agent does not wait for anything any more."""

    def __init__(
        self,
        site_id: str,
        folder: Folder,
        settings: Settings,
        state: State,
        client: Client,
        courier: Courier,
        joining: Joining,
        *,
        halting: threading.Event,
        clock: Clock,
        log: Callable[..., None],
        computing: Computing | None = None,
    ) -> None:
        """computing: instead of child processes."""
        self._joining = joining
        self.children = computing or Children(folder.path, settings.tasks)
        self.logs = Logs(courier, state, client, log)
        self.receipts = Receipts(site_id, state, client, clock=clock, log=log)
        patience = Patience(state, halting=halting, clock=clock, log=log)
        room = Room(folder.path / "messages", settings.messages)
        room.forget_old(micros_now())
        self._at = Common(
            site_id=site_id,
            folder=folder,
            settings=settings,
            state=state,
            client=client,
            courier=courier,
            patience=patience,
            payloads=Payloads(folder.path, state, client, courier, patience, room, log),
            receipts=self.receipts,
            children=self.children,
            logs=self.logs,
            log=log,
        )
        self._reports = Reporting(self._at)
        self._holding = Holding(self._at)
        self.hooks = hooks = Hooks(self._at, self._holding)
        self._coordinating = Coordinating(self._at, self._reports, hooks, self._holding)
        self._taking_part = TakingPart(self._at, self._reports, hooks, self._holding)
        self._scoring = Scoring(self._at, self._reports, hooks, self._holding)
        self._steps: dict[str, Callable[[Entry], None]] = {
            "invited": self._taking_part.invited,
            "round_started": self._taking_part.round_started,
            "aggregate": self._coordinating.aggregate,
            "score": self._scoring.score,
            "round_completed": self._taking_part.round_completed,
            "seat_dropped": self._taking_part.seat_dropped,
            "seat_left_out": self._taking_part.seat_left_out,
            "receipt_missing": self._receipt_missing,
            "task_ended": self._task_ended,
            "run_ended": self._run_ended,
            "member_invited": self._member_invited,
            "message": self._message,
        }

    def take(self, entry: Entry) -> str:
        """Do what follows from an entry; one word or two on how it went. Then the entry is done, whatever the word.

        Raises `Halted` when the agent stops first, `Unavailable` (then the entry is taken up again), `Refused` (401)
        when the hub no longer knows the site, and `trust.Changed` when another site's identity was swapped: the agent
        must not go on then. Whatever else goes wrong fails the seat that the entry is about.
        """
        if (sentence := told(entry, self._at.site_id)) is not None:
            self._at.log("told", entry=entry.seq, kind=entry.kind, detail=sentence)
        try:
            return self._followed(entry)
        except (Halted, Unavailable, Changed, Refused):
            raise
        except (Undecodable, Outside, Unacceptable, msgspec.DecodeError) as error:
            fact = (
                str(error) if not isinstance(error, msgspec.DecodeError) else "its facts are not of the form they have"
            )
            self._at.log("not understood", entry=entry.seq, kind=entry.kind, detail=fact)
            why = f"this site's agent does not understand {entry.kind!r}: {fact}"
            return self._given_up(entry, "not understood", why[:MAX_REASON])
        except Exception as error:  # noqa: BLE001 - an entry must not end the agent
            fault = type(error).__name__
            self._at.log("entry failed", entry=entry.seq, kind=entry.kind, error=fault, where=place_of(error))
            why = "its disk is full or failed" if isinstance(error, DISK) else "the agent's log at the site says where"
            return self._given_up(entry, "failed", f"this site's agent could not do what {entry.kind} asks for: {why}")

    def _followed(self, entry: Entry) -> str:
        step = self._steps.get(entry.kind)
        if step is None:
            return "kept"
        try:
            if entry.kind in _SERVED:
                self._join_first(entry)
                self._holding.consented(entry)
            step(entry)
            return self._reports.outcome(entry)
        except NotConsented as refusal:
            return self._not_served(entry, refusal)
        except Overtaken:
            return "overtaken"
        except Changed as changed:
            self._at.courier.directories.record_conflict(changed)
            raise
        except SealError as error:
            self._at.log("not opened", entry=entry.seq, reason=error.slug, detail=error.fact)
            return f"not opened: {error.slug}"
        except Refused as error:
            if error.token_unknown:
                raise
            return f"refused: {error.slug}"
        finally:
            self._reports.forget_outcome(entry)

    def _join_first(self, entry: Entry) -> None:
        """Join what site.toml names by its id before anything of it is judged.

        A workload is in its run's project from its beginning, so an invitation may come before it has joined.
        """
        project_id = entry.project_id
        if project_id is None or project_id in self._at.courier.directories.consents.all():
            return
        for join in self._at.settings.join:
            if join.project == project_id:
                self._at.patience.asked(entry, partial(self._joining.tried, join))

    def _given_up(self, entry: Entry, outcome: str, reason: str) -> str:
        """Fail the seat, or the coordinator's round, that an entry is about, as far as that can be done. A score is
        not worth a seat: the hub is told that there is none."""
        try:
            if entry.kind in ("invited", "round_started"):
                self._taking_part.refuse(entry, reason)
            elif entry.kind == "aggregate":
                self._coordinating.give_up(entry, reason)
            elif entry.kind == "score":
                self._scoring.decline(entry, reason)
        except Overtaken:
            return outcome
        except (Halted, Unavailable, Changed):
            raise
        except Exception as error:
            if isinstance(error, Refused) and error.token_unknown:
                raise
            self._at.log("seat not failed", entry=entry.seq, error=type(error).__name__, where=place_of(error))
        return outcome

    def _not_served(self, entry: Entry, refusal: NotConsented) -> str:
        """Fail the seat, or the coordinator's round, once; nothing else follows from such an entry.

        A lying hub may invite to one seat for ever: it is told once, and so are this site's people.
        """
        try:
            if entry.kind in ("invited", "round_started"):
                if not self._at.state.seats.failed_before(*task_of(entry), entry.seq, answered=False):
                    self._at.log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                if not self._at.state.seats.failed_before(*task_of(entry), entry.seq, answered=True):
                    self._taking_part.refuse(entry, reason_of(refusal))
            elif entry.kind == "aggregate":
                self._at.log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                self._coordinating.give_up(entry, reason_of(refusal))
            elif entry.kind == "score":
                self._scoring.decline(entry, reason_of(refusal))
        except Overtaken:
            pass
        except Refused as error:
            if error.token_unknown:
                raise
        return f"not served: {refusal.slug}"

    def _receipt_missing(self, entry: Entry) -> None:
        """To the coordinator: a participant says that it does not find its update in the model."""
        facts = decode(entry.facts, MissedBy)
        self._at.log(
            "a site misses its update", run=entry.run_id, round=entry.round, about=facts.site_id, why=facts.reason
        )

    def _task_ended(self, entry: Entry) -> None:
        if decode(entry.facts, Ended).state == "succeeded":
            self._at.receipts.over(entry)
        self._at.state.approvals.over(*task_of(entry), micros_now())
        self._at.children.end(*task_of(entry))

    def _run_ended(self, entry: Entry) -> None:
        """Everything of the run goes, but for its last models."""
        assert entry.run_id is not None
        if decode(entry.facts, Ended).state == "succeeded":
            self._at.receipts.over(entry)
        self.forget_run(entry.run_id)

    def lose_run(self, run_id: str) -> None:
        """A run that the hub has forgotten. Of updates that it had accepted people are told."""
        self._at.receipts.forgotten(run_id)
        self.forget_run(run_id)

    def forget_run(self, run_id: str) -> None:
        """Its processes end; what its hooks kept and what was opened goes. Harmless when repeated."""
        self._at.state.approvals.over(run_id, None, micros_now())
        self._at.children.end(run_id)
        self.hooks.forget_run(run_id)
        shutil.rmtree(under(self._at.runs, run_id), ignore_errors=True)
        self._at.state.runs.forget_run(run_id)  # last: the entry that led here is done with it

    def _member_invited(self, entry: Entry) -> None:
        """Accept an invitation to a project that this site serves, or is configured to join."""
        project_id = entry.project_id
        assert project_id is not None
        project = self._at.patience.asked(entry, lambda: self._at.client.project(project_id))
        self._at.patience.asked(entry, lambda: self._joining.invited(project, self._at.settings.join))

    def _message(self, entry: Entry) -> None:
        """Open what another site has sent, while the key is there; people read it with `fedyard site inbox`."""
        self._at.payloads.arrived(entry)


def place_of(error: BaseException) -> str:
    """The last lines that an exception went through, for this site's own log: files and numbers, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
