"""Fingerprints: this site's own, the hub's, and those of sites that it has met; compared, and trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedyard.actions import keys as actions
from fedyard.actions.site import UsageError
from fedyard.portal.desk import Answer, Done, Page, Visit, Wrong
from fedyard.sealed.errors import IdentityChanged
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.plurals import counted
from fedyard.wire.statements import hex_groups


@dataclass(frozen=True)
class Known:
    """An identity as this site has it. compared: a person has compared it. at: microseconds, when it was pinned."""

    id: str
    name: str
    words: str
    hex: str
    compared: bool
    at: int | None = None
    projects: Sequence[str] = ()


@dataclass(frozen=True)
class Trusted:
    own: Known
    hub: Known | None
    others: Sequence[Known]
    strict: bool
    """Nothing goes to or comes from a site that nobody has compared."""

    @property
    def sentence(self) -> str:
        new = sum(not one.compared for one in self.others)
        if not self.others:
            return "This site has met no other yet."
        if not new:
            return (
                f"Every one of the {counted(len(self.others), 'site')} that this site has met was compared by a person."
            )
        much = (
            "nothing goes to them, or comes from them, until then"
            if self.strict
            else "they were believed at first sight"
        )
        return f"Nobody has compared {counted(new, 'site')} of {len(self.others)}: {much}."


def show(visit: Visit) -> Answer:
    desk = visit.desk
    settings = desk.settings()
    trust, own = desk.folder.trust(settings), fingerprint(desk.folder.keyring().identity_key)
    hub = trust.hub_pin()
    led: dict[str, list[str]] = {}
    for consent in desk.consents().values():
        led.setdefault(consent.coordinator, []).append(consent.name)
    others = [
        Known(
            pin.site_id,
            pin.name,
            words(pin.finger),
            hex_groups(pin.finger),
            pin.how == "fingerprint",
            pin.at,
            led.get(pin.site_id, ()),
        )
        for pin in trust.pins().values()
        if pin.site_id != desk.folder.site_id()
    ]
    trusted = Trusted(
        own=Known(desk.folder.site_id(), settings.name, words(own), hex_groups(own), compared=True),
        hub=None
        if hub is None
        else Known("", settings.hub, words(hub.finger), hex_groups(hub.finger), hub.how == "fingerprint", hub.at),
        others=sorted(others, key=lambda one: (one.compared, one.name)),
        strict=settings.trust.pin == "fingerprint",
    )
    return Page("trust.html", {"trusted": trusted})


def compare(visit: Visit) -> Answer:
    """As `fedyard site trust`, and for the hub `trust-hub`: what was told is typed, and compared here."""
    desk, form = visit.desk, visit.form
    site, said, replace = form.value("site"), form.value("fingerprint"), form.has("replace", "true")
    if not said.strip():
        raise Wrong("fingerprint", "type the twelve words, or the hex digits, that its people told you")
    try:
        if site == "hub":
            actions.trust_hub(desk.folder, desk.client(), said, replace=replace)
            return Done("/trust", "The hub's key is trusted: somebody has compared it.")
        pin = actions.trust(desk.folder, desk.client(), site, said, replace=replace)
    except (UsageError, IdentityChanged) as error:
        raise Wrong("fingerprint", str(error)) from None
    return Done("/trust", f"{pin.name} is trusted: somebody has compared it.")
