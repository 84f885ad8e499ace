"""The key directory: which sealing keys a site has, which of them may be sealed to."""

from __future__ import annotations

import base64
import functools

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import find, forbidden, missing, own_site
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import too_many
from domain.decisions.sites import administered
from domain.decisions.telling import by_another, conflict_cause, note_told, tell
from domain.events import EventKind
from domain.ids import Id, sha256_hex
from domain.ledger import name_of_key
from domain.needs import Needs
from domain.states import KEY, KeyState, MemberState, SiteState, Step, follow
from domain.values import Micros
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import DAY, SECOND

CONFLICT_AGAIN = 3600 * SECOND
"""A site's reports about another one are put on record so often; between them they are accepted, and change nothing."""
REVOKED_BEFORE = "revoked before the hub was restored"
"""The reason of what is revoked again."""
_encoder = msgspec.json.Encoder()


def usable(key: r.SiteKey, now: Micros) -> bool:
    """May it be sealed to? A superseded one for as long as its grace lasts."""
    if key.state == KeyState.SUPERSEDED:
        return key.grace_until is not None and now < key.grace_until
    return key.state == KeyState.CURRENT


def needs_of_put_site_key(command: c.PutSiteKey) -> Needs:
    return Needs(keyrings={command.site_id}, revocations={name_in_ledger(command)})


def put_site_key(draft: Draft, command: c.PutSiteKey) -> Decision:
    """The site's next epoch; the one before it is superseded. The same key again changes nothing."""
    site = find(draft, r.Site, "site", command.site_id)
    if draft.by.id != site.id:
        raise forbidden(f"only site {site.id} itself adds keys: they are signed with its identity key")
    if draft.get(r.SiteKey, site.id, command.epoch) is None:
        check_epochs(draft, site)
    return _answer(draft, add_key(draft, site, command))


def check_epochs(draft: Draft, site: r.Site) -> None:
    """Whoever seals to the site is told of each, also of those that it brings back when it recovers. Raises 409."""
    in_all, per_day = draft.rules.keys_per_site, draft.rules.keys_per_day
    keys = draft.group(r.SiteKey, site.id)
    if len(keys) >= in_all:
        raise too_many("epochs", site.id, len(keys), in_all, "enrol the site anew, with its next identity")
    lately = sum(key.added_at > draft.now - DAY for key in keys)
    if lately >= per_day:
        raise too_many("epochs of a day", site.id, lately, per_day, "begin the next one tomorrow")


def add_key(draft: Draft, site: r.Site, command: c.PutSiteKey, *, recovering: bool = False) -> r.SiteKey:
    """The next epoch in the directory, and who has to know is told. One that the ledger of revocations names is
    revoked again at once. recovering: it was there before the history went back, and may have expired since.
    """
    keys = draft.group(r.SiteKey, site.id)
    digest = digest_of_key(command)
    known = draft.get(r.SiteKey, site.id, command.epoch)
    if known is not None and known.digest == digest:
        return known
    if known is not None:
        raise Refused(
            ProblemType.EPOCH_TAKEN,
            f"site {site.id} has another key in epoch {command.epoch}; its next epoch is {len(keys) + 1}",
        )
    if command.epoch != len(keys) + 1:
        raise Refused(
            ProblemType.EPOCH_NOT_NEXT,
            f"epochs are counted without gaps: the next one of site {site.id} is {len(keys) + 1}, not {command.epoch}",
        )
    if command.expires_at <= max(draft.now, command.created_at) and not recovering:
        raise Refused(ProblemType.ALREADY_EXPIRED, "the key would expire before it could be used; state another")
    if keys and keys[-1].state == KeyState.CURRENT:
        draft.change(
            keys[-1],
            state=follow(KEY, KeyState.CURRENT, Step.SUPERSEDE),
            grace_until=draft.now + int(command.grace_s * SECOND),
        )
    key = r.SiteKey(site_id=site.id, epoch=command.epoch, state=KeyState.CURRENT, digest=digest, added_at=draft.now)
    draft.put(key)
    draft.put(
        r.KeyStatement(
            site_id=site.id,
            epoch=command.epoch,
            suite=command.suite,
            public_key=command.public_key,
            created_at=command.created_at,
            expires_at=command.expires_at,
            signature=command.signature,
        )
    )
    facts = {"epoch": key.epoch, "digest": digest, "expires_at": command.expires_at, "grace_s": command.grace_s}
    draft.event(("site", site.id), EventKind.KEY_ADDED, facts, site_id=site.id)
    if draft.get(r.Revocation, name_in_ledger(command)) is not None:
        return revoke_key(draft, site, key, REVOKED_BEFORE)
    _tell(draft, key)
    return key


def name_in_ledger(command: c.PutSiteKey) -> str:
    return name_of_key(command.site_id, command.epoch, digest_of_key(command))


def digest_of_key(command: c.PutSiteKey | c.HeldKey) -> str:
    """Of what the site states, without its signature, which may be made anew."""
    public_key, suite = sha256_hex(command.public_key), command.suite
    return sha256_hex(_encoder.encode([suite, public_key, command.created_at, command.expires_at]))


def needs_of_revoke_site_key(command: c.RevokeSiteKey) -> Needs:
    return Needs(keyrings={command.site_id})


def revoke_site_key(draft: Draft, command: c.RevokeSiteKey) -> Decision:
    """At once and for good: nothing that is sealed to it is taken any more. A revoked key stays as it is."""
    site = administered(draft, command.site_id)
    key = draft.get(r.SiteKey, site.id, command.epoch)
    if key is None:
        raise Refused(ProblemType.NOT_FOUND, f"site {site.id} has no key of epoch {command.epoch}")
    return _answer(draft, revoke_key(draft, site, key, command.reason))


def revoke_key(draft: Draft, site: r.Site, key: r.SiteKey, reason: str) -> r.SiteKey:
    """As the key is now; who has to know is told."""
    if key.state == KeyState.REVOKED:
        return key
    key = draft.change(key, state=follow(KEY, KeyState(key.state), Step.REVOKE), revoked_at=draft.now, reason=reason)
    draft.event(("site", site.id), EventKind.KEY_REVOKED, {"epoch": key.epoch, "reason": reason}, site_id=site.id)
    _tell(draft, key)
    if by_another(draft, site) and site.state != SiteState.RETIRED:
        tell(draft, site, msgspec.structs.replace(_changed(key), reason=reason))
    return key


def needs_of_report_conflict(command: c.ReportConflict) -> Needs:
    site, about = command.site_id, command.about_site_id
    return Needs(acquainted={site, about}, told={conflict_cause(site, about, command.seen)})


def report_conflict(draft: Draft, command: c.ReportConflict) -> Decision:
    """Put on record, in the streams of both, that a site was shown another identity than it has pinned.

    on_record: of the identity that the hub has of that site, which may be either of the two, or neither.
    """
    site = own_site(draft, command.site_id)
    about = draft.get(r.Site, command.about_site_id)
    if about is None or about.id == site.id or not _acquainted(draft, site.id, about.id):
        raise missing("site", command.about_site_id)
    if command.pinned == command.seen:
        raise Refused(ProblemType.NO_CONFLICT, f"site {site.id} has pinned what it saw of site {about.id}; all is well")
    facts = {
        "site_id": site.id,
        "about_site_id": about.id,
        "pinned": command.pinned,
        "seen": command.seen,
        "on_record": identity_of(about),
    }
    cause = conflict_cause(site.id, about.id, command.seen)
    last = draft.get(r.Told, cause)
    if last is not None and draft.now - last.at < CONFLICT_AGAIN:
        return draft.accept(results.ConflictResult(site_id=site.id, about_site_id=about.id))
    note_told(draft, site.id, cause)
    for each in (site, about):
        draft.event(("site", each.id), EventKind.IDENTITY_CONFLICT, facts, site_id=each.id)
    if by_another(draft, site):
        tell(draft, site, n.IdentityConflict(about_site_id=about.id))
    return draft.accept(results.ConflictResult(site_id=site.id, about_site_id=about.id))


def _acquainted(draft: Draft, one: Id, other: Id) -> bool:
    """Do they share a project?"""
    active = [m for m in draft.every(r.Membership) if m.state == MemberState.ACTIVE]
    projects = [{m.project_id for m in active if m.site_id == site_id} for site_id in (one, other)]
    return bool(projects[0] & projects[1])


@functools.lru_cache(maxsize=4096)
def _identity(identity_key: str) -> str:
    return sha256_hex(base64.b64decode(identity_key))


def identity_of(site: r.Site) -> str:
    """SHA-256 (hex) of a site's raw identity key, by which seals and pins name it."""
    return _identity(site.identity_key)


def _tell(draft: Draft, key: r.SiteKey) -> None:
    """Whoever exchanges payloads with the site: its coordinators, and the participants of what it coordinates."""
    for project in sorted(draft.every(r.Project), key=lambda project: project.id):
        for site_id in _beside(draft, project, key.site_id) if project.archived_at is None else ():
            draft.notify(site_id, _changed(key), project_id=project.id)


def _beside(draft: Draft, project: r.Project, site_id: Id) -> list[Id]:
    if project.coordinator_site_id == site_id:
        members = draft.group(r.Membership, project.id)
        return [m.site_id for m in members if m.state == MemberState.ACTIVE and m.site_id != site_id]
    own = draft.get(r.Membership, project.id, site_id)
    return [project.coordinator_site_id] if own is not None and own.state == MemberState.ACTIVE else []


def _changed(key: r.SiteKey) -> n.KeyChanged:
    return n.KeyChanged(site_id=key.site_id, epoch=key.epoch, state=key.state)


def _answer(draft: Draft, key: r.SiteKey) -> Decision:
    return draft.accept(results.KeyResult(site_id=key.site_id, epoch=key.epoch, state=KeyState(key.state)))
