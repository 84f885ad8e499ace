"""Who is in a project that this site serves: verified against the pins; asked for again when a notice says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fedyard.agent.consents import Consent, Consents
from fedyard.client.client import Client
from fedyard.client.errors import HubError
from fedyard.clock import micros_now
from fedyard.sealed.errors import (
    NoKey,
    NotConsented,
    SealError,
)
from fedyard.sealed.keys import Key, Keyring, identity_hash
from fedyard.sealed.trust import Changed, Member, Trust
from fedyard.wire import answers as a

DIRECTORY_GOOD_FOR_S = 600.0
"""A directory is asked for again after that, also if no notice came."""
PROBLEMS_GOOD_FOR_S = 30.0
"""The same if a site in it has no key that could be used."""


@dataclass(frozen=True)
class Directory:
    """A project as the hub shows it and the pins allow it. problems: why nothing is sealed to a site.

    at: when it was asked for, by the monotonic clock. pinned: when the pins had changed last.
    """

    project_id: str
    coordinator: str
    sealed: str
    at: float
    pinned: int = 0
    keys: dict[str, Key] = field(default_factory=dict)
    problems: dict[str, SealError] = field(default_factory=dict)

    def key_of(self, site_id: str) -> Key:
        """The key to seal to. Raises `SealError`."""
        if site_id in self.problems:
            raise self.problems[site_id]
        if site_id not in self.keys:
            raise NoKey(f"site {site_id} is not in the directory of project {self.project_id}")
        return self.keys[site_id]


class Directories:
    """The directories of this site's projects. Safe to use from many threads."""

    def __init__(
        self,
        keyring: Keyring,
        trust: Trust,
        consents: Consents,
        client: Client,
        *,
        monotonic: Callable[[], float],
        log: Callable[..., None],
    ) -> None:
        self.consents = consents
        self._keyring, self._trust, self._client = keyring, trust, client
        self._site_id = keyring.site_id
        self._monotonic = monotonic
        self._log = log
        self._lock = threading.Lock()
        self._known: dict[str, Directory] = {}

    def of(self, project_id: str, *, fresh: bool = False) -> Directory:
        """The members of a project that this site serves, and their keys.

        Raises `trust.Changed`, `SealError` (`NotConsented` of any other project), and what the client raises.
        """
        consent = self.consented(project_id)
        known = self._known.get(project_id)
        if known is not None and not fresh and self._still_good(known):
            return known
        at, now = self._monotonic(), micros_now()
        project = self._client.project(project_id)
        members = [_member(item) for item in self._client.project_keys(project_id)]
        if consent.coordinator != project.coordinator_site_id:
            raise NotConsented(
                f"project {project_id} was joined under the coordinator {consent.coordinator}, and the hub now says "
                f"{project.coordinator_site_id}"
            )
        found = Directory(project_id, consent.coordinator, project.sealed, at)
        others = [member for member in members if not self._is_me(member)]
        for member in others:
            if member.site_id == consent.coordinator and member.identity != consent.identity:
                raise Changed(member, consent.identity)
        for site_id, key in {**self._trust.verify(others, now), self._site_id: self._own_key()}.items():
            if isinstance(key, SealError):
                found.problems[site_id] = key
                self._log("no key", project=project.name, about=site_id, reason=key.slug, detail=key.fact)
            else:
                found.keys[site_id] = key
        found = replace(found, pinned=self._trust.changed_at())
        with self._lock:
            self._known[project_id] = found
        return found

    def consented(self, project_id: str | None) -> Consent:
        """The consent to serve a project, whose coordinator is pinned as it says.

        Raises `NotConsented`, also if the coordinator's pin was replaced since.
        """
        consent = self.consents.of(project_id)
        pin = self._trust.pins().get(consent.coordinator)
        if pin is not None and pin.identity != consent.identity:
            raise NotConsented(
                f"project {consent.name!r} ({consent.project_id}) was joined under another identity of its coordinator "
                f"{consent.coordinator} than the one that is pinned"
            )
        return consent

    def forget(self, project_id: str | None = None) -> None:
        """Ask for the directory of a project, or of all, before the next use."""
        with self._lock:
            if project_id is None:
                self._known.clear()
            else:
                self._known.pop(project_id, None)

    def record_conflict(self, changed: Changed) -> None:
        """Log it, and put it on record at the hub; that may fail, since it is the hub that is in doubt."""
        pinned, seen = identity_hash(changed.pinned), identity_hash(changed.seen)
        self._log("identity conflict", about=changed.site_id, pinned=pinned, seen=seen, detail=str(changed))
        try:
            self._client.report_conflict(self._site_id, changed.site_id, pinned, seen)
        except HubError as error:
            self._log("conflict not recorded", about=changed.site_id, detail=str(error))

    def _still_good(self, known: Directory) -> bool:
        """No notice has come, a person has not changed the pins, and it is not too old."""
        limit = PROBLEMS_GOOD_FOR_S if known.problems else DIRECTORY_GOOD_FOR_S
        return self._monotonic() - known.at < limit and known.pinned == self._trust.changed_at()

    def _is_me(self, member: Member) -> bool:
        if member.site_id == self._site_id and member.identity != self._keyring.identity_key:
            raise Changed(member, self._keyring.identity_key)
        return member.site_id == self._site_id

    def _own_key(self) -> Key | SealError:
        try:
            return self._keyring.current()
        except NoKey as error:
            return error


def _member(item: a.MemberKey) -> Member:
    shown = item.key
    key = (
        None
        if shown is None
        else Key(
            site_id=shown.site_id,
            epoch=shown.epoch,
            created=shown.created_at,
            expires=shown.expires_at,
            suite=shown.suite,
            public_key=shown.public_key,
            signature=shown.signature,
        )
    )
    return Member(
        site_id=item.site_id,
        name=item.site_name,
        role=item.role,
        identity=item.identity_key,
        key=key,
        key_state=shown.state if shown else "",
    )
