"""Keeping a site's sealing keys as they should be: published, renewed in time, forgotten when their grace is over.

`tend` may be repeated at any time, by the agent and by the command line: what is on disk says what is still to do.
"""

from __future__ import annotations

from collections.abc import Callable

from fedyard.agent.site import Keys
from fedyard.client.client import Client
from fedyard.sealed.errors import SealError
from fedyard.sealed.keys import Epoch, Key, Keyring
from fedyard.wire import answers as a
from fedyard.wire.times import DAY_S, SECOND

EPOCHS_PER_DAY = 24
"""New keys within a day, since a hub may say of each that it is revoked; an honest one takes twice as many."""


def due(ring: Keyring, settings: Keys, now: int) -> bool:
    """True if `tend` has anything to ask the hub; reads the disk alone."""
    epochs = ring.epochs()
    if not epochs or any(not epoch.published or bool(epoch.revoked) != epoch.withdrawn for epoch in epochs):
        return True
    newest = epochs[-1]
    return newest.state != "current" or now >= newest.key.created + int(settings.rotate_every_days * DAY_S * SECOND)


def tend(
    ring: Keyring, settings: Keys, client: Client, now: int, *, log: Callable[..., None], renew: bool = False
) -> None:
    """Bring hub and folder to agree, with one current key; a new one if it is time, or if `renew` asks for it.

    Raises what the client raises; then the rest is done by the next call.
    """
    with ring.alone():
        _tend(ring, settings, client, now, log, renew=renew)


def _tend(ring: Keyring, settings: Keys, client: Client, now: int, log: Callable[..., None], *, renew: bool) -> None:
    for number in ring.expire(now):
        log("key gone", epoch=number)
    known = _stated(ring, client.site_keys(ring.site_id), log)
    _follow_revocations(ring, known, now, log)
    _discard(ring, known, now)
    epochs = ring.epochs()
    newest = epochs[-1] if epochs else None
    if renew or newest is None or newest.state != "current" or _old(newest, settings, now) or _ahead(newest, known):
        _renew(ring, settings, known, now, log)
    for epoch in ring.epochs():
        if epoch.key.epoch not in known:
            _publish(ring, client, epoch, log)
        if not epoch.published or epoch.key.epoch not in known:
            ring.published(epoch.key.epoch, now)
    for epoch in ring.epochs():
        if epoch.revoked and not epoch.withdrawn:
            client.revoke_key(ring.site_id, epoch.key.epoch)
            ring.withdrawn(epoch.key.epoch)
            log("key revoked", epoch=epoch.key.epoch)


def _stated(ring: Keyring, shown: list[a.SealingKey], log: Callable[..., None]) -> dict[int, a.SealingKey]:
    """This site's keys at the hub. What its identity has not signed is no key of it: a hub that invents a late epoch
    would have it go on behind that, where no honest hub and no other site follows.
    """
    known = {}
    for one in shown:
        key = Key(
            site_id=one.site_id,
            epoch=one.epoch,
            created=one.created_at,
            expires=one.expires_at,
            suite=one.suite,
            public_key=one.public_key,
            signature=one.signature,
        )
        try:
            if one.site_id == ring.site_id:
                key.check(ring.identity_key)
                known[one.epoch] = one
        except SealError as error:
            log("key not ours", epoch=one.epoch, detail=error.fact)
    return known


def _follow_revocations(ring: Keyring, known: dict[int, a.SealingKey], now: int, log: Callable[..., None]) -> None:
    """A key may be revoked at the hub, by a member of the organisation or an admin."""
    for epoch in ring.epochs():
        there = known.get(epoch.key.epoch)
        if there is not None and there.state == "revoked" and not epoch.revoked:
            ring.revoke(epoch.key.epoch, now)
            ring.withdrawn(epoch.key.epoch)
            log("key revoked at the hub", epoch=epoch.key.epoch)


def _discard(ring: Keyring, known: dict[int, a.SealingKey], now: int) -> None:
    """Epochs that nobody has heard of and nobody shall, or whose number another key has, in a copy of this folder; and
    those behind a gap, which no hub takes."""
    epochs = ring.epochs()
    last = max([*known, *(epoch.key.epoch for epoch in epochs if epoch.published)], default=0)
    for epoch in epochs:
        there = known.get(epoch.key.epoch)
        useless = bool(epoch.revoked) or epoch.key.expires <= now or epoch.key.epoch > last + 1
        if not epoch.published and (useless if there is None else there.public_key != epoch.key.public_key):
            ring.discard(epoch.key.epoch)


def _old(newest: Epoch, settings: Keys, now: int) -> bool:
    return now >= newest.key.created + int(settings.rotate_every_days * DAY_S * SECOND)


def _ahead(newest: Epoch, known: dict[int, a.SealingKey]) -> bool:
    """The hub knows epochs that this folder does not: it was restored from a backup, or is a copy."""
    number = newest.key.epoch
    return max(known, default=0) > number or (number in known and known[number].public_key != newest.key.public_key)


def _renew(ring: Keyring, settings: Keys, known: dict[int, a.SealingKey], now: int, log: Callable[..., None]) -> None:
    if sum(epoch.key.created > now - DAY_S * SECOND for epoch in ring.epochs()) >= EPOCHS_PER_DAY:
        log("no new key", detail=f"{EPOCHS_PER_DAY} keys were begun within a day; the next one waits")
        return
    grace_s = settings.grace_days * DAY_S
    valid_s = settings.rotate_every_days * DAY_S + grace_s
    ring.renew(now, valid_s=valid_s, grace_s=grace_s, after=max(known, default=0))


def _publish(ring: Keyring, client: Client, epoch: Epoch, log: Callable[..., None]) -> None:
    key = epoch.key
    body = {
        "public_key": key.public_key,
        "suite": key.suite,
        "created_at": key.created,
        "expires_at": key.expires,
        "signature": key.signature,
        "grace_s": epoch.grace_s,
    }
    client.put_key(ring.site_id, key.epoch, body)
    log("key published", epoch=key.epoch)
