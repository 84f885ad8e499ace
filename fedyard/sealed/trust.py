"""Whom a site trusts: the identity keys that it has pinned, and what of the hub's directory holds against them.

The hub says who is in a project and with which keys. It could lie: so every identity is pinned when it is first seen,
durably, and never replaced by the hub's word; a sealing key counts only if the pinned identity has signed it, and an
older epoch than one seen before is refused. With `pin = "fingerprint"` an identity counts only once a person has
compared its fingerprint. Pins lie in pins.json in the site's folder; agent and command line may both write there.
The key that the hub signs heads with (heads.py) is pinned likewise, in hub-pin.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from fedyard.sealed.errors import (
    BadSignature,
    Expired,
    IdentityChanged,
    KeyRevoked,
    NoKey,
    RolledBack,
    SealError,
    Unverified,
)
from fedyard.sealed.keys import Key, fingerprint, parse_fingerprint
from fedyard.wire import locks
from fedyard.wire.durable import write_whole
from fedyard.wire.statements import hex_groups, hub_fingerprint
from fedyard.wire.times import moment

How = Literal["first_sight", "fingerprint"]
MAX_PINS = 20_000
"""Sites that one knows: ten times as many as a payload has recipients. A hub may invent any number."""


class TrustSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """pin: whether the first sight of an identity is enough. fingerprints: site's name or id -> words or hex digits.

    hub: the same of the key that the hub signs heads of chains with; empty: the first sight is believed.

    unsealed: send and take payloads that are not sealed, where a project allows it. The hub says what a project
    allows, so this is for those who trust it.
    """

    pin: How = "first_sight"
    fingerprints: dict[str, str] = {}
    hub: str = ""
    unsealed: bool = False


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """An identity as this site knows it. identity: raw public key. at: microseconds. epoch: the newest one seen."""

    site_id: str
    name: str
    identity: bytes
    at: int
    how: How
    epoch: int = 0

    @property
    def finger(self) -> bytes:
        return fingerprint(self.identity)


class HubPin(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's key as this site knows it. key: raw public key. at: microseconds."""

    key: bytes
    at: int
    how: How

    @property
    def finger(self) -> bytes:
        return hub_fingerprint(self.key)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub says of a site in a project: its identity, and its newest usable key or None."""

    site_id: str
    name: str
    role: str
    identity: bytes
    key: Key | None = None
    key_state: str = ""


class Changed(IdentityChanged):
    """A pinned site shows another identity: the agent stops. pinned and seen are raw identity keys."""

    def __init__(self, member: Member, pinned: bytes) -> None:
        self.site_id = member.site_id
        self.pinned = pinned
        self.seen = member.identity
        super().__init__(
            f"site {member.name} ({member.site_id}) was pinned as {hex_groups(fingerprint(pinned))} and the hub now "
            f"shows {hex_groups(fingerprint(member.identity))}"
        )


class Trust:
    """The pins of one site. `configured` is what site.toml says; raises `ValueError` for a fingerprint that is none."""

    def __init__(self, folder: Path, settings: TrustSettings) -> None:
        self._path = folder / "pins.json"
        self._settings = settings
        self._hub_path = folder / "hub-pin.json"
        self._fingers = {
            site: _configured(f"fingerprints of {site!r}", text) for site, text in settings.fingerprints.items()
        }
        self._hub = _configured("hub", settings.hub) if settings.hub else None

    def pins(self) -> dict[str, Pin]:
        """Every pin, by site id."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=list[Pin])
        except FileNotFoundError:
            return {}
        return {pin.site_id: pin for pin in found}

    def changed_at(self) -> int:
        """When the pins were written last, in nanoseconds; 0 if there are none."""
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def signers(self) -> dict[str, bytes]:
        """Identity keys of the sites whose payloads may be opened."""
        strict = self._settings.pin == "fingerprint"
        return {pin.site_id: pin.identity for pin in self.pins().values() if pin.how == "fingerprint" or not strict}

    def verify(self, members: Iterable[Member], now: int) -> dict[str, Key | SealError]:
        """The key to seal to for every member, or why there is none. Who is new is pinned, who is known must agree.

        Raises `Changed` if somebody has another identity than before, and `IdentityChanged` if it is not the one that
        site.toml asks for; then nothing was pinned.
        """
        found: dict[str, Key | SealError] = {}

        def verified(pins: dict[str, Pin]) -> None:
            for member in members:
                if member.site_id not in pins and len(pins) >= MAX_PINS:
                    found[member.site_id] = Unverified(
                        f"this site knows {MAX_PINS} others, which is the most: site {member.site_id} is not pinned"
                    )
                    continue
                pin = self._met(pins.get(member.site_id), member, now)
                try:
                    key = self._usable(pin, member, now)
                except SealError as error:
                    found[member.site_id] = error
                else:
                    found[member.site_id] = key
                    pin = msgspec.structs.replace(pin, epoch=key.epoch)
                pins[member.site_id] = pin

        self._change(verified)
        return found

    def _usable(self, pin: Pin, member: Member, now: int) -> Key:
        if pin.how != "fingerprint" and self._settings.pin == "fingerprint":
            raise Unverified(f"nobody has compared the fingerprint of site {pin.name} ({pin.site_id})")
        key = member.key
        if key is None:
            raise NoKey(f"site {member.name} ({member.site_id}) has no current key")
        if key.site_id != member.site_id:
            raise BadSignature(f"the hub shows a key of site {key.site_id} for site {member.site_id}")
        key.check(pin.identity)
        if member.key_state == "revoked":
            raise KeyRevoked(f"{key} was revoked")
        if key.expires <= now:
            raise Expired(f"{key} was good until {moment(key.expires)}; this site's clock says {moment(now)}")
        if key.epoch < pin.epoch:
            raise RolledBack(f"the hub shows epoch {key.epoch} of site {pin.name} ({pin.site_id}) after {pin.epoch}")
        return key

    def confirm(self, member: Member, text: str, now: int, *, replace: bool = False) -> Pin:
        """A person has compared: pin `member` by this fingerprint. Raises `ValueError` for a fingerprint that is none.

        Raises `Changed` if it is not the fingerprint of what the hub shows, or, without `replace`, of what was pinned.
        """
        finger = parse_fingerprint(text)
        before = self.pins().get(member.site_id)
        if fingerprint(member.identity) != finger:
            raise IdentityChanged(
                f"site {member.name} ({member.site_id}) shows {hex_groups(fingerprint(member.identity))}, "
                f"and you were told {hex_groups(finger)}"
            )
        if before is not None and before.identity != member.identity and not replace:
            raise Changed(member, before.identity)
        same = before is not None and before.identity == member.identity
        pin = Pin(
            site_id=member.site_id,
            name=member.name,
            identity=member.identity,
            at=now,
            how="fingerprint",
            epoch=before.epoch if before is not None and same else 0,
        )
        self._change(lambda pins: pins.update({pin.site_id: pin}))
        return pin

    # the hub

    def hub_pin(self) -> HubPin | None:
        """The hub's key as it was pinned; None before a head was seen."""
        try:
            return msgspec.json.decode(self._hub_path.read_bytes(), type=HubPin)
        except FileNotFoundError:
            return None

    def meet_hub(self, key: bytes, now: int) -> bytes | None:
        """None if this is the hub's key, which is pinned if it is the first one; else the fingerprint of the hub's.

        What site.toml says goes before what was pinned.
        """
        pin = self.hub_pin()
        if self._hub is not None:
            if hub_fingerprint(key) != self._hub:
                return self._hub
            if pin is None or pin.key != key or pin.how != "fingerprint":
                self._pin_hub(HubPin(key=key, at=now, how="fingerprint"))
            return None
        if pin is None:
            pin = self._pin_hub(HubPin(key=key, at=now, how="first_sight"), first=True)
        return None if pin.key == key else pin.finger

    def confirm_hub(self, shown: bytes, text: str, now: int, *, replace: bool = False) -> HubPin:
        """A person has compared: pin the key that the hub shows. Raises `ValueError` for a fingerprint that is none.

        Raises `IdentityChanged` if it is not the fingerprint of that key, or, without `replace`, of what was pinned.
        """
        finger, before = parse_fingerprint(text), self.hub_pin()
        if hub_fingerprint(shown) != finger:
            raise IdentityChanged(
                f"the hub shows the key {hex_groups(hub_fingerprint(shown))}, and you were told {hex_groups(finger)}"
            )
        if self._hub not in (None, finger):
            raise IdentityChanged("site.toml says another fingerprint of the hub (trust.hub): change it there")
        if before is not None and before.key != shown and not replace:
            raise IdentityChanged(
                f"the hub's key was pinned as {hex_groups(before.finger)} and is {hex_groups(finger)} now: if you "
                "were told that it is a new one, say --replace"
            )
        return self._pin_hub(HubPin(key=shown, at=now, how="fingerprint"))

    def _pin_hub(self, pin: HubPin, *, first: bool = False) -> HubPin:
        """first: unless there is a pin by now. The pin that holds."""
        with self._locked():
            before = self.hub_pin() if first else None
            if before is None:
                write_whole(self._hub_path, msgspec.json.encode(pin))
        return before or pin

    def _met(self, before: Pin | None, member: Member, now: int) -> Pin:
        wanted = [self._fingers[name] for name in (member.site_id, member.name) if name in self._fingers]
        finger = fingerprint(member.identity)
        if any(one != finger for one in wanted):
            raise IdentityChanged(
                f"site {member.name} ({member.site_id}) shows {hex_groups(finger)}, and site.toml says "
                f"{hex_groups(wanted[0])}"
            )
        if before is not None and before.identity != member.identity:
            raise Changed(member, before.identity)
        compared = finger in self._fingers.values()
        if before is None:
            how: How = "fingerprint" if compared else "first_sight"
            return Pin(site_id=member.site_id, name=member.name, identity=member.identity, at=now, how=how)
        if compared and before.how == "first_sight":
            return msgspec.structs.replace(before, how="fingerprint", at=now)
        return before

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._path.with_suffix(".lock").open("w") as lock:
            locks.lock(lock)
            yield

    def _change(self, change: Callable[[dict[str, Pin]], None]) -> None:
        """Read, change and write under a lock; nothing is written if nothing changed or something is raised."""
        with self._locked():
            before = self.pins()
            after = dict(before)
            change(after)
            if after != before:
                write_whole(self._path, msgspec.json.encode(sorted(after.values(), key=lambda pin: pin.site_id)))


def _configured(where: str, text: str) -> bytes:
    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise ValueError(f"trust.{where}: {error}") from None


def named(pins: Mapping[str, Pin], site: str) -> list[Pin]:
    """The pins that a person means by a name or an id."""
    return [pin for pin in pins.values() if site in (pin.site_id, pin.name)]
