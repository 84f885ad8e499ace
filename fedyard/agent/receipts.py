"""What became of this site's updates: a sealed model names those that it was made of, and this site looks for its own.

    accepted by the hub  ->  awaited  ->  found      the model of the round names it
                                      ->  told       the hub said why it is not in it (left out, dropped)
                                      ->  missing    neither: on record here, in the log, and reported to the hub

The hub may swallow the report; the record and the log line are this site's own. docs/sealing.md has the form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from fedyard.agent.state import Receipt, State
from fedyard.agent.state.receipts import NO_MODEL
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import Clock, draw_key, micros_now
from fedyard.sealed.sealing import Origin, receipt_of
from fedyard.wire.answers import Entry
from fedyard.wire.backoff import Backoff

PAUSES = Backoff(first=5.0, most=300.0)
"""Seconds between tries to report what is missing, while the hub cannot be reached."""

NOT_NAMED, NO_RECEIPTS = "not_named", "no_receipts"
"""Why an update is missing, beside `NO_MODEL`: the model does not name it; the model names none."""
FORGOTTEN = "run_forgotten"
"""The hub has accepted the update, and says after a recovery that it knows no such run."""


class Receipts:
    """The updates of one site. For the threads of the agent; the state is what they share."""

    def __init__(self, site_id: str, state: State, client: Client, *, clock: Clock, log: Callable[..., None]) -> None:
        self._site_id, self._state, self._client = site_id, state, client
        self._clock, self._log = clock, log
        self._failures, self._not_before = 0, 0.0

    def submitted(self, entry: Entry) -> None:
        """The hub has accepted the update of this entry's round; one that went unsealed gets no receipt."""
        if any(self._own(entry)):
            self._state.receipts.await_receipt(entry)

    def told(self, entry: Entry) -> None:
        """The hub has said why the update of this round is not in its model."""
        for receipt in self._awaited(entry):
            if receipt.round == entry.round:
                self._state.receipts.settle_receipt(msgspec.structs.replace(receipt, outcome="told"))

    def completed(self, entry: Entry, origin: Origin | None, problem: str) -> None:
        """A round's model was shown. origin: what its header says; problem: a code if there is none that opens."""
        for receipt in self._awaited(entry):
            if receipt.round == entry.round:
                self._settle(entry, receipt, problem or missing(origin, self._own(entry)))

    def forgotten(self, run_id: str) -> None:
        """The hub says that it knows nothing of the run any more: what it has accepted of it comes to nothing."""
        for receipt in self._state.receipts.awaited_receipts(run_id):
            self._settle(None, receipt, FORGOTTEN)

    def over(self, entry: Entry, before: int | None = None) -> None:
        """The hub goes on: no model of these rounds comes any more. before: the round that begins, None for the end."""
        for receipt in self._awaited(entry):
            if before is None or receipt.round < before:
                self._settle(entry, receipt, NO_MODEL)

    def _settle(self, entry: Entry | None, receipt: Receipt, reason: str) -> None:
        if not reason:
            self._state.receipts.settle_receipt(msgspec.structs.replace(receipt, outcome="found"))
            return
        self._state.receipts.settle_receipt(
            msgspec.structs.replace(receipt, outcome="missing", reason=reason, at=micros_now(), key=draw_key())
        )
        self._log(
            "our update is missing in the model",
            entry=None if entry is None else entry.seq,
            project=receipt.project_id,
            run=receipt.run_id,
            task=receipt.task_seq,
            round=receipt.round,
            reason=reason,
        )

    def _awaited(self, entry: Entry) -> list[Receipt]:
        assert entry.run_id is not None
        return self._state.receipts.awaited_receipts(entry.run_id, entry.task_seq)

    def _own(self, entry: Entry) -> list[str]:
        """Seal digests of this site's update of the entry's round: several if it was sealed anew on its way."""
        assert entry.run_id is not None
        return [*self._state.runs.sealed(entry.run_id, entry.task_seq or 0, entry.round or 0, "update")]

    def report(self) -> None:
        """Tell the hub what is missing and was not told yet; after a failure not before a while.

        Raises `Refused` (401) when the hub no longer knows the site.
        """
        if self._clock.monotonic() < self._not_before:
            return
        for receipt in self._state.receipts.missing_receipts(untold=True):
            try:
                self._client.report_missing_receipt(
                    receipt.run_id,
                    receipt.task_seq,
                    receipt.round,
                    self._site_id,
                    receipt.reason,
                    key=receipt.key,
                )
            except Unavailable as error:
                self._log("missing receipt not reported", run=receipt.run_id, round=receipt.round, detail=str(error))
                self._failures += 1
                self._not_before = self._clock.monotonic() + PAUSES.after(self._failures)
                return
            except Refused as error:
                if error.token_unknown:
                    raise
                self._log("missing receipt refused", run=receipt.run_id, round=receipt.round, detail=error.detail)
                self._state.receipts.receipt_told(receipt, "refused")
            else:
                self._state.receipts.receipt_told(receipt, "ok")
                self._failures = 0


def missing(origin: Origin | None, own: Collection[str]) -> str:
    """Why none of these updates (by seal digest) is in a model, as a code; empty if one is.

    origin: what the model's header says, None if it came unsealed.
    """
    if origin is None or origin.digests is None or origin.digests.receipts is None:
        return NO_RECEIPTS
    return "" if any(receipt_of(digest) in origin.digests.receipts for digest in own) else NOT_NAMED
