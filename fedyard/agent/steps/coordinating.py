"""The coordinator's part of a round: one model, of the updates that the hub lists, if its list can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fedyard.agent import contract
from fedyard.agent.joining import NOT_NOW
from fedyard.agent.state import LeftOut, RunTask, made_of
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.first_models import FIRST, FirstModels
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.hooks import Hooks
from fedyard.agent.steps.reporting import AGGREGATED, AGGREGATION_FAILED, MAX_REASON, Reporting, naming
from fedyard.client.errors import Refused
from fedyard.sealed.errors import Gone, OlderModel, SealError
from fedyard.sealed.sealing import Digests
from fedyard.sealed.trust import Changed
from fedyard.tasks import jobs
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import Collected, Submitted
from fedyard.wire.types import decode

UNUSABLE = "task_unusable"
"""Why a site is left out whose update the task itself named: its sentence is the detail."""


class Aggregated(msgspec.Struct, frozen=True):
    """How an aggregation went at the coordinator. digests: what its model was made of."""

    finished: jobs.Finished
    left_out: Sequence[LeftOut] = ()
    digests: Digests | None = None


class Coordinating:
    """The coordinator's part of a round: one model, of the updates that the hub lists, if its list can be believed."""

    def __init__(self, common: Common, reports: Reporting, hooks: Hooks, holding: Holding) -> None:
        self._at = common
        self._reports, self._hooks, self._holding = reports, hooks, holding
        self._first = FirstModels(common, hooks)

    def aggregate(self, entry: Entry) -> None:
        """The coordinator's part. Updates that cannot be opened are left out, and named to the hub."""
        failure: str = ""
        left_out: Sequence[LeftOut] = ()
        try:
            if (
                not self._at.state.seats.reports(entry.seq)
                and self._at.state.results.made(entry.seq, entry.run_id) is None
            ):
                done = self._aggregated(entry)
                failure, left_out = done.finished.error, done.left_out
                if not failure:
                    self._hooks.keep_made(entry, done.finished, left_out, digests=done.digests)
            if not failure and self._at.state.seats.report(entry.seq, AGGREGATION_FAILED) is None:
                self._reports.deliver(entry, AGGREGATED, self._at.payloads.sealed_model)
                self._at.payloads.forget(entry)
                return
        except contract.ListRefused as error:
            failure = str(error)[:MAX_REASON]
            self._at.log("aggregation refused", entry=entry.seq, run=entry.run_id, reason=error.slug, detail=str(error))
        except SealError as error:
            failure = self._reports.why(error)
            if isinstance(error, Changed):
                raise
        except Refused as error:
            if error.token_unknown or error.status in NOT_NOW:
                raise
            failure = f"the hub refused the model: {error.slug}"
        self.give_up(entry, failure, left_out)

    def give_up(self, entry: Entry, failure: str, left_out: Sequence[LeftOut] = ()) -> None:
        """Report that there is no model of the round, and why."""
        said = {"failure": failure, **naming(left_out)}
        self._reports.send(entry, self._reports.keep(entry, AGGREGATION_FAILED, said))

    def _aggregated(self, entry: Entry) -> Aggregated:
        """The model of a round, made of the updates that the hub lists, if that list can be believed.

        Below the quorum, which is this site's own count, the hook is not called. Raises `ListRefused`.
        """
        run_id, task_seq = task_of(entry)
        assert entry.round is not None
        facts = decode(entry.facts, Collected)
        here = contract.Place(run_id, task_seq, entry.round)
        if self._at.state.runs.ended(run_id):
            raise contract.ListRefused("run_over", f"run {run_id} is over, as this coordinator was told before")
        known, spec, start = self._coordinated(entry)
        if entry.round == FIRST:
            return Aggregated(self._first.made(entry, facts, known, spec), digests=Digests(known.digest, None, []))
        self._check_list(entry, here, facts.submissions)
        usable = self._at.payloads.updates(entry, facts.submissions, known.digest, start)
        if refusal := self._too_few(entry, here, len(usable.updates), known, spec):
            return Aggregated(jobs.Finished(error=refusal), usable.left_out)
        seat = self._at.state.seats.get(run_id, task_seq)
        finished = self._hooks.call(
            entry,
            "aggregate",
            spec,
            seat,
            usable.updates,
            facts.results or [],
            start=lambda: self._start(entry, start),
        )
        unfit = [LeftOut(site_id, UNUSABLE, why) for site_id, why in sorted(finished.left_out.items())]
        left_out = (*usable.left_out, *unfit)
        if unfit and not finished.error:
            refusal = self._too_few(entry, here, len(usable.updates) - len(unfit), known, spec)
            if refusal:
                named = "; ".join(f"{one.site_id}: {one.detail}" for one in left_out)
                return Aggregated(jobs.Finished(error=f"{refusal}: {named}"[:MAX_REASON]), left_out)
        receipts = [receipt for site_id, receipt in usable.receipts.items() if site_id not in finished.left_out]
        digests = Digests(known.digest, _one(start), sorted(set(receipts)))
        if not finished.error:
            self._check_same(here, digests)
        return Aggregated(finished, left_out, digests)

    def _too_few(self, entry: Entry, here: contract.Place, usable: int, known: RunTask, spec: TaskSpec) -> str:
        """Why so many updates are too few for a model; empty if they are enough."""
        try:
            contract.check_count(
                here, usable, spec.contract, len(known.seats), self._at.settings.coordinator.min_updates
            )
        except contract.ListRefused as error:
            self._at.log("aggregation refused", entry=entry.seq, run=here.run_id, reason=error.slug, detail=str(error))
            return str(error)[:MAX_REASON]
        return ""

    def _check_list(self, entry: Entry, here: contract.Place, submissions: Sequence[Submitted]) -> None:
        """The hub's list against the updates that are here. Raises `ListRefused`.

        One that is here and not listed is explained only by its site having left the project.
        """
        listed = [(s.site_id, s.message_id) for s in submissions]
        held = self._at.state.bodies.held_updates(here.run_id)
        contract.check_list(here, listed, held)
        missing = contract.not_listed(here, listed, held)
        if missing:
            members = self._at.payloads.members(entry)
            missing = [site_id for site_id in missing if site_id in members]
        if missing:
            raise contract.list_shortened(here, missing)

    def _start(self, entry: Entry, start: set[str | None]) -> jobs.Packed | None:
        """The model that the round began with, as the hub shows it; it has to be the one that the updates say.

        Raises `SealError`.
        """
        run_id, task_seq = task_of(entry)
        assert entry.round is not None
        task = self._at.patience.asked(entry, lambda: self._at.client.run(run_id)).task(task_seq)
        made = [one.model_message_id for one in task.rounds if one.number == entry.round - 1]
        message_id = next((one for one in made if one is not None), task.model_message_id)
        if message_id is None:
            if start <= {None}:
                return None
            raise Gone(f"the model that round {entry.round} of run {run_id} began with is not at the hub any more")
        opened = self._at.payloads.model(entry, message_id, start=True)
        if not opened.content:
            raise Gone(f"model {message_id}, which round {entry.round} began with, is not at the hub any more")
        if (None if opened.origin is None else opened.origin.digest) not in start:
            raise OlderModel(
                f"the hub shows model {message_id} as what round {entry.round} of run {run_id} began with, and its "
                "updates were made from another one"
            )
        return jobs.packed(opened.content)

    def _check_same(self, here: contract.Place, digests: Digests) -> None:
        """A round has one model: of other updates than before none is made. Raises `ListRefused`."""
        before = self._at.state.runs.made_of(here.run_id, here.task_seq, here.round)
        if before and before != made_of(digests):
            raise contract.ListRefused(
                "aggregated_before", f"a model of {here} was sealed before, of other updates than the hub lists now"
            )

    def _coordinated(self, entry: Entry) -> tuple[RunTask, TaskSpec, set[str | None]]:
        """The task that an aggregation is of, with its seats; and the model that its round starts from.

        The task is the one that was seen first, and one that this site's people gave, if they gave any. The model is
        the one that this site has sealed last in this task run; before there is one, the hub says which, but it has to
        be one of this site's and project's, and every update of the round has to agree. Raises `SealError`.
        """
        run_id, task_seq = task_of(entry)
        assert entry.round is not None
        known = self._at.state.runs.run_task(run_id, task_seq)
        before = self._at.state.runs.newest_sealed(run_id, task_seq, below=entry.round)
        if known is not None and known.seats and before is not None:
            spec = decode(known.task_json, TaskSpec)
            return known, spec, _digests(self._at.state.runs.sealed(run_id, task_seq, before, "model"))
        run = self._at.patience.asked(entry, lambda: self._at.client.run(run_id))
        task = next((task for task in run.tasks if task.seq == task_seq), None)
        if task is None:
            raise contract.ListRefused("no_such_task", f"run {run_id}, as the hub shows it, has no task {task_seq}")
        known = self._holding.hold(entry, task.spec, seats=contract.seats_of(task.seats))
        if before is not None:
            return known, task.spec, _digests(self._at.state.runs.sealed(run_id, task_seq, before, "model"))
        return known, task.spec, {self._at.payloads.start_of(entry, task.model_message_id)}


def _digests(sealed: dict[str, Digests | None]) -> set[str | None]:
    """The seal digests of one model, sealed anew or not; None where it went unsealed."""
    return {digest or None for digest in sealed}


def _one(start: set[str | None]) -> str | None:
    """The model that is named as the start: the same one for every coordinator that seals it anew."""
    return min((digest for digest in start if digest is not None), default=None)
