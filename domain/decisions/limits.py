"""Limits on how many things one owner has: a refusal that says how many there are, of whom, and what helps."""

from __future__ import annotations

from domain.decisions.draft import Draft, Refused
from domain.ids import Id
from fedyard.wire.problems import ProblemType


def take_one(draft: Draft, what: str, owner: Id, limit: int, remedy: str) -> None:
    """One more for this owner. 409 if it has `limit` of them; `what` is counted as storage/counting.py says."""
    there = draft.count(what, owner)
    if there >= limit:
        raise too_many(what, owner, there, limit, remedy)
    draft.add_to(what, owner)


def too_many(what: str, owner: Id, there: int, limit: int, remedy: str) -> Refused:
    """409 with the fact, the owner and the remedy."""
    return Refused(ProblemType.TOO_MANY, f"{owner} has {there} {what}, {limit} are allowed at once: {remedy}")
