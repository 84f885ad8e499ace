"""What the hub's notices say, in words, for people: the agent's log and `fedyard site inbox` show the same sentence."""

from __future__ import annotations

import msgspec

from fedyard.wire.answers import Entry
from fedyard.wire.notices import NOTICES, InItsName
from fedyard.wire.shown import shown
from fedyard.wire.times import moment
from fedyard.wire.types import Undecodable, decode

IN_ITS_NAME = tuple(kind for kind, facts in NOTICES.items() if issubclass(facts, InItsName))
"""Kinds that may tell of what somebody did in this site's name."""
MAX_SHOWN = 200
"""Characters of a text that others wrote."""


class By(msgspec.Struct, frozen=True):
    """Who did it, as far as it was said. name: where this site may know it."""

    kind: str = ""
    id: str = ""
    name: str = ""
    role: str = ""

    def __str__(self) -> str:
        kind, id = shown(self.kind, MAX_SHOWN), shown(self.id, MAX_SHOWN)
        named = f"{kind} {_quoted(self.name)} ({id})" if self.name else f"{kind} {id}"
        return f"{named}, {shown(self.role, MAX_SHOWN)}" if self.role else named


class Facts(msgspec.Struct, frozen=True):
    """The facts of these kinds together, for people: nothing follows from them, so whatever is there is shown.

    expires_at: microseconds since 1970.
    """

    by: By = By()
    site_id: str = ""
    about_site_id: str = ""
    token_id: str = ""
    act: str = ""
    label: str = ""
    scopes: str = ""
    expires_at: int | None = None
    description: str = ""
    name: str = ""
    reason: str = ""
    epoch: int = 0
    state: str = ""


def told(entry: Entry, site_id: str) -> str | None:
    """What another did in the name of this site, in a sentence; None if the entry tells of no such thing.

    What the agent itself did, its own joining for one, is told too: its token may be in other hands.
    """
    if entry.kind not in IN_ITS_NAME:
        return None
    try:
        facts = decode(entry.facts, Facts)
    except Undecodable:
        return f"{entry.kind}: the hub's facts cannot be read"
    if facts.site_id not in ("", site_id):
        return None
    return _sentence(entry, facts) + (f"; by {facts.by}" if facts.by.kind else "")


def _sentence(entry: Entry, facts: Facts) -> str:
    project = f"project {entry.project_id}"
    reason = f" ({_quoted(facts.reason)})" if facts.reason else ""
    match entry.kind:
        case "token_issued":
            end = facts.expires_at
            until = "without an end" if end is None else f"until {shown(moment(end), MAX_SHOWN)}"
            return (
                f"token {_quoted(facts.label)} ({shown(facts.token_id, MAX_SHOWN)}) was issued for this site: "
                f"{shown(facts.scopes, MAX_SHOWN)}, {until}"
            )
        case "token_revoked":
            return f"token {_quoted(facts.label)} ({shown(facts.token_id, MAX_SHOWN)}) of this site was revoked"
        case "site_updated":
            return f"this site was described anew: {_quoted(facts.description)}"
        case "site_retired":
            return "this site was retired: its tokens are revoked, it is in no project any more"
        case "project_created":
            return (
                f"{project}, {_quoted(facts.name)}, was created in this site's name; it is not served before "
                "`fedyard project join`"
            )
        case "acted_for":
            act = shown(facts.act, MAX_SHOWN)
            return f"{act} was done by a person in this site's name, or with its project, run or artifact"
        case "identity_conflict":
            about = shown(facts.about_site_id, MAX_SHOWN)
            return f"it was put on record that this site saw another identity of site {about}"
        case "key_changed":
            return f"this site's sealing key of epoch {facts.epoch} is {shown(facts.state, MAX_SHOWN)}{reason}"
        case _:
            done = {
                "member_invited": "was invited to",
                "member_requested": "asked to join",
                "member_admitted": "is a member of",
                "member_declined": "is not a member of, declined:",
                "member_left": "is no member any more of",
            }[entry.kind]
            return f"this site {done} {project}{reason}"


def _quoted(text: str) -> str:
    return f"'{shown(text, MAX_SHOWN)}'"
