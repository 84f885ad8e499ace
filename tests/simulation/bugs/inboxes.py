"""Inboxes, what others do in a site's name, and a history that went back."""

from __future__ import annotations

from typing import Any

import domain.decisions.messages
import domain.decisions.projects
import domain.decisions.recovery
import storage.views.messages
import web.live.inbox_tips
from actors.ledger import Ledger
from domain import records as r
from domain.decisions.draft import Draft
from fedyard.wire.notices import Facts, Notice
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.restores import Restores
from tests.simulation.sites import Site
from tests.simulation.world import World


@bug("an entry's number comes from the decider's memory, not from the mailbox", shown_by=2)
def cursor_from_memory(_: World) -> list[Swap]:
    notify, last = Draft.notify, dict[str, int]()

    def remembered(self: Draft, site_id: str, *args: Any, **more: Any) -> None:
        box = self.have(r.Mailbox, site_id)
        last[site_id] = max(last.get(site_id, 0), box.last_seq) + 1
        self.change(box, last_seq=last[site_id] - 1)
        notify(self, site_id, *args, **more)

    return [(Draft, "notify", remembered)]


@bug("an acknowledgement that was overtaken takes the later one back", shown_by=12)
def acknowledgements_go_back(_: World) -> list[Swap]:
    decide = domain.decisions.messages.acknowledge_inbox

    def lowered(draft: Draft, command: Any) -> Any:
        draft.change(draft.have(r.Mailbox, command.site_id), acknowledged_seq=command.through - 1)
        return decide(draft, command)

    return [(domain.decisions.messages, "acknowledge_inbox", lowered)]


@bug("the web trusts for ever what it remembers of inboxes", shown_by=58)
def memory_never_fades(_: World) -> list[Swap]:
    return [(web.live.inbox_tips, "TRUST_S", 1e9)]


@bug("a site repeats a request under another key", shown_by=4)
def site_draws_another_key(_: World) -> list[Swap]:
    return [(Site, "key_of", lambda self, _: self.draw_key())]


@bug("a site acknowledges entries before it has kept them", shown_by=17)
def site_acknowledges_first(_: World) -> list[Swap]:
    take = Site.take

    def hasty(self: Site, entries: list[dict[str, Any]]) -> None:
        if entries:
            self.acknowledge(entries[-1]["seq"])
        take(self, entries)

    return [(Site, "take", hasty)]


@bug("a site hears nothing of a token that somebody got for it", shown_by=9)
def token_in_silence(_: World) -> list[Swap]:
    notify = Draft.notify

    def without(self: Draft, site_id: str, facts: Facts, **about: Any) -> None:
        if facts.KIND != Notice.TOKEN_ISSUED:
            notify(self, site_id, facts, **about)

    return [(Draft, "notify", without)]


@bug("what a coordinator did with a site's membership stands in the project's stream alone", shown_by=21)
def membership_off_the_record(_: World) -> list[Swap]:
    return [(domain.decisions.projects, "by_another", lambda _draft, _site: False)]


@bug("beyond the end of an inbox there is nothing new, and whatever is acknowledged is", shown_by=30)
def history_id_ignored(_: World) -> list[Swap]:
    return [
        (Restores, "_tell", lambda _: None),
        (storage.views.messages._Head, "went_back", lambda *_: False),
        (domain.decisions.messages, "went_back", lambda *_: False),
    ]


@bug("marks are not compared, only the end of an inbox tells", shown_by=35)
def mark_ignored(_: World) -> list[Swap]:
    return [
        (Restores, "_tell", lambda _: None),
        (storage.views.messages._Head, "went_back", lambda self, wanted: (wanted.after or 0) > self.last_seq),
        (web.live.inbox_tips.Known, "__getattribute__", _without_mark),
        (domain.decisions.messages, "went_back", lambda _, box, seq, __: seq > box.last_seq),
    ]


def _without_mark(self: Any, name: str) -> Any:
    return "" if name == "mark" else tuple.__getattribute__(self, name)


@bug("numbers go on behind what the hub knows, whatever the site has had", shown_by=10)
def number_given_twice(_: World) -> list[Swap]:
    renumber = domain.decisions.recovery._renumber

    def behind_the_hubs(draft: Draft, box: Any, before: Any, recovery: Any, _: int) -> Any:
        return renumber(draft, box, before, recovery, 0)

    return [
        (domain.decisions.recovery, "_renumber", behind_the_hubs),
        (domain.decisions.recovery, "GAP", 0),
    ]


@bug("the ledger of revocations is written and never read", shown_by=71)
def revocations_forgotten(_: World) -> list[Swap]:
    return [(Ledger, "_read_back", lambda _: 0)]
