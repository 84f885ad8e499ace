"""What a site holds the hub to: the task as it knows it, the quorum that follows from it, the list of updates.

The hub tells a coordinator whose updates to aggregate, and how many a round needs. It could lie in both, so the
coordinator's agent computes the quorum itself and compares the list with the updates that it holds. All of it is
pure; steps/ and payloads.py bring what is known. docs/sealing.md says what is left to believe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from fedyard.sealed.sealing import Digests, Origin
from fedyard.wire.answers import Contract, Seat, TaskSpec
from fedyard.wire.plurals import counted
from fedyard.wire.quorum import REPLACED
from fedyard.wire.sampling import needed_of, size_of

_TASK_CONTEXT = b"fedyard task 1\0"
_OF_THE_FIRST_FORM = {
    TaskSpec: {"name", "model", "parameters", "rounds", "aggregate", "who", "after", "contract"},
    Contract: {
        "quorum",
        "quorum_of",
        "select_within_s",
        "train_within_s",
        "aggregate_within_s",
        "silent_within_s",
        "late",
        "too_few",
    },
}
"""Fields that are always in a digest. Those that came later are in it where they do not have their default, so that the
digest of a task that does not use them is what an older agent computes."""
SITES_NAMED = 10
"""In one sentence, at most."""


class ListRefused(Exception):
    """The coordinator's agent does not aggregate what the hub has listed. slug: a code; the sentence is for people."""

    def __init__(self, slug: str, fact: str) -> None:
        self.slug = slug
        super().__init__(f"{slug}: {fact}")


class Held(msgspec.Struct, frozen=True):
    """An update that has arrived and was opened here."""

    message_id: str
    site_id: str | None
    run_id: str | None
    task_seq: int | None
    round: int | None


@dataclass(frozen=True)
class Place:
    """A round of a task in a run."""

    run_id: str
    task_seq: int
    round: int

    def __str__(self) -> str:
        return f"round {self.round} of task {self.task_seq} in run {self.run_id}"


def task_digest(spec: TaskSpec) -> str:
    """The digest (hex) of a task with its parameters: SHA-256 over its one form as JSON (docs/sealing.md)."""
    whole = _for_digest(spec) | {"contract": _for_digest(spec.contract)}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(_TASK_CONTEXT + text.encode("utf-8", "surrogatepass")).hexdigest()


def _for_digest(part: TaskSpec | Contract) -> dict[str, object]:
    """Its fields, without the later ones that have their default."""
    whole: dict[str, object] = msgspec.to_builtins(part)
    first = _OF_THE_FIRST_FORM[type(part)]
    for field in msgspec.structs.fields(part):
        if field.name not in first and getattr(part, field.name) == _default(field):
            del whole[field.encode_name]
    return whole


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def check_list(here: Place, listed: Sequence[tuple[str, str | None]], held: Collection[Held]) -> None:
    """Is the hub's list of (site, update) for a round well formed, by what is here? Raises `ListRefused` if not.

    held: the updates of the run that are here.
    """
    sites = [site_id for site_id, _ in listed]
    messages = [message_id for _, message_id in listed if message_id is not None]
    if len(set(sites)) < len(sites) or len(set(messages)) < len(messages):
        raise ListRefused("list_doubled", f"the hub's list for {here} names a site or an update twice")
    known = {one.message_id: one for one in held}
    for site_id, message_id in listed:
        one = known.get(message_id or "")
        if one is not None and (not _is_of(one, here) or one.site_id != site_id):
            raise ListRefused(
                "list_of_another_round",
                f"the hub's list for {here} names update {one.message_id} for site {site_id}, which is site "
                f"{one.site_id}'s of round {one.round}",
            )


def not_listed(here: Place, listed: Sequence[tuple[str, str | None]], held: Collection[Held]) -> list[str]:
    """The sites whose updates of this round are here, but not in the hub's list."""
    messages = {message_id for _, message_id in listed}
    return sorted({one.site_id or "" for one in held if _is_of(one, here) and one.message_id not in messages})


def list_shortened(here: Place, missing: Sequence[str]) -> ListRefused:
    """What the list lacks is here, and nobody said that those sites have left."""
    return ListRefused(
        "list_shortened",
        f"the hub's list for {here} leaves out {_named(missing)}, whose sealed updates have arrived here; nothing is "
        "aggregated without them: ask the hub's admin what happened, then restart the run",
    )


def _is_of(one: Held, here: Place) -> bool:
    return (one.run_id, one.task_seq, one.round) == (here.run_id, here.task_seq, here.round)


def seats_of(seats: Sequence[Seat]) -> list[str]:
    """Whose seats count: of a workload's attempts the newest alone, for the hub counts by that, too."""
    return [seat.site_id for seat in seats if seat.reason != REPLACED]


def check_count(here: Place, usable: int, contract: Contract, seats: int, min_updates: int) -> None:
    """Are there enough updates for a model? Raises `ListRefused` if not. seats: of the task, as it began; the quorum is
    of those that a round draws of them."""
    quorum = needed_of(contract, seats)
    if usable < quorum:
        raise ListRefused(
            "below_quorum",
            f"{counted(usable, 'update')} can be used in {here}; by the task's contract, as this coordinator knows it, "
            f"{counted(quorum, 'is', 'are')} needed ({counted(size_of(contract, seats), 'seat')})",
        )
    if usable < min_updates:
        raise ListRefused(
            "below_min_updates",
            f"{counted(usable, 'update')} can be used in {here}, and this coordinator makes no model of fewer than "
            f"{min_updates}, since that would show what a single site has learned; where this is meant (a task of one "
            f"site), set min_updates = {max(1, usable)} under [coordinator] in its site.toml",
        )


def why_left_out(origin: Origin, task: str, models: Collection[str | None]) -> tuple[str, str] | None:
    """Code and fact if an update was made of another task or model than this coordinator's; None if all is well.

    models: seal digests of the model that the round starts from; None in it where it starts from none.
    """
    digests = origin.digests
    if digests is None:
        return "no_digests", "its header does not say of which task and model it was made; bring that site up to date"
    if digests.task != task:
        return "task_differs", "the site was shown another task (model, parameters or contract) than the coordinator's"
    if digests.model not in models:
        return "model_differs", "the site started from another model than the one that this round starts from"
    return None


def digests_of(task: str, model: str | None, receipts: Sequence[str] | None = None) -> Digests:
    """What is said of an update, or with `receipts` of a model."""
    return Digests(task, model, None if receipts is None else sorted(set(receipts)))


def _named(sites: Sequence[str]) -> str:
    more = len(sites) - SITES_NAMED
    return f"site {', '.join(sites[:SITES_NAMED])}" + (f" and {more} more" if more > 0 else "")
