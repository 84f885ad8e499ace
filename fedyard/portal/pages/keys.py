"""This site's sealing keys: their epochs, a new one, one that was stolen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedyard.actions import keys as actions
from fedyard.agent.site import Keys
from fedyard.portal.desk import Answer, Done, Page, Visit, Wrong
from fedyard.sealed.keys import Epoch
from fedyard.wire.plurals import counted
from fedyard.wire.times import DAY_S, SECOND


@dataclass(frozen=True)
class KeysShown:
    """now: microseconds."""

    epochs: Sequence[Epoch]
    settings: Keys
    now: int

    @property
    def sentence(self) -> str:
        current = [one for one in self.epochs if one.state == "current" and one.published]
        if not current:
            return "This site has no current sealing key: nobody can seal anything to it."
        key = current[-1].key
        days = (self.now - key.created) // (DAY_S * SECOND)
        due = key.created + int(self.settings.rotate_every_days * DAY_S * SECOND)
        left = max(0, (due - self.now) // (DAY_S * SECOND))
        follows = f"followed by a new one in {counted(left, 'day')}"
        return f"The key of epoch {key.epoch} is current: {counted(days, 'day')} old, {follows}."


def show(visit: Visit) -> Answer:
    desk = visit.desk
    epochs = list(reversed(desk.folder.keyring().epochs()))
    return Page("keys.html", {"keys": KeysShown(list(epochs), desk.settings().keys, desk.now())})


def rotate(visit: Visit) -> Answer:
    epoch = actions.rotate(visit.desk.folder, visit.desk.client())
    return Done("/keys", f"The sealing key of epoch {epoch} is published.")


def revoke(visit: Visit) -> Answer:
    said = visit.form.value("epoch")
    if not said.isdecimal() or len(said) > 9:
        raise Wrong("epoch", "say which epoch")
    current = actions.revoke(visit.desk.folder, visit.desk.client(), int(said))
    return Done("/keys", f"Epoch {said} is revoked, and its private key deleted; epoch {current} is current.")
