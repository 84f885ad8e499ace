"""Whole numbers beside ids, for people and for programs that know no other: they only grow, and never begin anew.

A data source names its deployment by number, on a topic that outlives every restore: a number that was given twice
would match old records. What a restored store forgot is therefore left out, by 1,000 numbers for each time that the
hub's history changed.
"""

from __future__ import annotations

from typing import Literal

from domain import records as r
from domain import stream_records as sr
from domain.decisions.draft import Draft
from domain.needs import Needs

Counted = Literal["architecture", "configuration", "deployment", "result", "inference"]
GAP = 1000
"""Numbers that may have been given away after the backup that was restored."""


def needs_of_numbers(*names: Counted) -> Needs:
    """For `next_number` of each of these."""
    return Needs(counters=set(names), history={"history"})


def next_number(draft: Draft, name: Counted) -> int:
    """The next one: 1 for the first. One decision may ask several times."""
    counter = draft.get(sr.Counter, name) or sr.Counter(name=name, last=0, changes=0)
    changes = next((row.changes for row in draft.every(r.History)), 0)
    number = counter.last + GAP * max(changes - counter.changes, 0) + 1
    draft.put(sr.Counter(name=name, last=number, changes=max(changes, counter.changes)))
    return number
