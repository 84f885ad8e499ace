"""Consent is the site's own: which projects it serves, and under whose coordination, whatever the hub says.

A project is served once this site's configuration (`[[join]]` in site.toml) or its people (`fedyard project join`,
`project create`) said so. The hub may show memberships, invitations and runs of any other: nothing of them reaches a
hook or is opened, and nothing is sealed to them. A consent names the project by its id and its coordinator by site and
identity; another coordinator is another matter, and asks for another consent. Consents lie in consents.json in the
site's folder, beside the pins; agent and command line may both write there, and a lost state.sqlite takes none along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedyard.sealed.errors import IdentityChanged, NotConsented
from fedyard.sealed.keys import fingerprint, parse_fingerprint, words
from fedyard.wire import locks
from fedyard.wire.answers import Project
from fedyard.wire.durable import write_whole
from fedyard.wire.statements import hex_groups
from fedyard.wire.types import UUID_PATTERN

By = Literal["configuration", "people"]
UNKNOWN = "unknown"
"""As a coordinator: this site does not know him yet, and holds to whom it is shown first."""
MAX_CONSENTS = 1000
"""Projects that are served."""
MAX_WITHDRAWN = 1000
"""Projects that were left and are remembered one by one; the oldest go first."""
_UUID = re.compile(UUID_PATTERN)


def means(said: str, project_id: str, name: str) -> bool:
    """True if people mean this project. What looks like an id is one: a hub may show any project under any name."""
    if _UUID.fullmatch(said.lower()):
        return said.lower() == project_id
    return said in (project_id, name)


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to join as soon as it exists. project: its name or id. notes: shown to the coordinator.

    coordinator: site id, or fingerprint (twelve words or hex digits), or "unknown".
    """

    project: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    coordinator: Annotated[str, msgspec.Meta(max_length=200)]
    notes: Annotated[str, msgspec.Meta(max_length=4000)] = ""

    def __post_init__(self) -> None:
        parse_coordinator(self.coordinator)

    def names(self, project_id: str, name: str) -> bool:
        return means(self.project, project_id, name)


@dataclass(frozen=True)
class Wanted:
    """Whom a project must be coordinated by: a site, an identity with this fingerprint, or, with neither, anybody."""

    site_id: str | None = None
    finger: bytes | None = None

    def allows(self, site_id: str, identity: bytes) -> bool:
        if self.site_id is not None:
            return site_id == self.site_id
        return self.finger is None or fingerprint(identity) == self.finger

    @property
    def anybody(self) -> bool:
        return self.site_id is None and self.finger is None

    def __str__(self) -> str:
        if self.finger is not None:
            return hex_groups(self.finger)
        return UNKNOWN if self.site_id is None else f"site {self.site_id}"


def parse_coordinator(text: str) -> Wanted:
    """Raises `ValueError` with what is wrong."""
    said = text.strip()
    if said == UNKNOWN:
        return Wanted()
    if _UUID.fullmatch(said.lower()):
        return Wanted(site_id=said.lower())
    try:
        return Wanted(finger=parse_fingerprint(said))
    except ValueError as error:
        raise ValueError(
            f"coordinator {said[:60]!r} is neither a site's id nor a fingerprint ({error}); write "
            f'"{UNKNOWN}" if you do not know him yet'
        ) from None


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """This site serves a project. name: as the project was called then. identity: the coordinator's raw public key.

    at, withdrawn_at: microseconds since 1970.
    """

    project_id: str
    name: str
    coordinator: str
    identity: bytes
    at: int
    by: By
    withdrawn_at: int | None = None

    @property
    def live(self) -> bool:
        return self.withdrawn_at is None


def consent_to(project: Project, by: By, now: int) -> Consent:
    """To a project as the hub shows it."""
    return Consent(
        project_id=project.id,
        name=project.name,
        coordinator=project.coordinator_site_id,
        identity=project.coordinator_identity_key,
        at=now,
        by=by,
    )


class _Kept(msgspec.Struct, frozen=True):
    """consents.json. forgotten: how many withdrawn consents are not in it any more."""

    consents: list[Consent] = []
    forgotten: int = 0


class NotChosen(Exception):
    """It is not clear, or not as it was asked for, which project is meant; the sentence says what to do."""


def choose(found: Sequence[Project], project: str, wanted: Wanted) -> Project | None:
    """The project that is meant by a name or id; None if there is none yet. Raises `NotChosen`."""
    named = [p for p in found if means(project, p.id, p.name) and p.archived_at is None]
    fitting = [p for p in named if wanted.allows(p.coordinator_site_id, p.coordinator_identity_key)]
    if len(fitting) > 1:
        shown = "; ".join(describe(p) for p in sorted(fitting, key=lambda p: p.id))
        remedy = "say the project's id" + (", and whose it is" if wanted.anybody else "")
        raise NotChosen(f"{len(fitting)} projects are called {project!r}: {shown}. To join one, {remedy}")
    if named and not fitting:
        shown = "; ".join(describe(p) for p in sorted(named, key=lambda p: p.id))
        raise NotChosen(f"project {project!r} is asked for with coordinator {wanted}, and the hub shows {shown}")
    return fitting[0] if fitting else None


def describe(project: Project) -> str:
    """A project and whose it is, for people to compare."""
    finger = fingerprint(project.coordinator_identity_key)
    return (
        f"project {project.id}, coordinated by {project.coordinator_name!r} "
        f"({project.coordinator_site_id}; {words(finger)}; {hex_groups(finger)})"
    )


class Consents:
    """The consents of one site."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "consents.json"
        self._read: tuple[tuple[int, int, int], dict[str, Consent], int] | None = None

    def all(self) -> dict[str, Consent]:
        """Every consent, by project id, withdrawn ones too, as far as they are not forgotten."""
        return dict(self._kept()[0])

    def _kept(self) -> tuple[dict[str, Consent], int]:
        """The consents, and how many withdrawn ones are forgotten."""
        try:
            stat = self._path.stat()
            known, version = self._read, (stat.st_mtime_ns, stat.st_ino, stat.st_size)  # a new file takes its place
            if known is None or known[0] != version:
                found = msgspec.json.decode(self._path.read_bytes(), type=_Kept | list[Consent])
                kept = found if isinstance(found, _Kept) else _Kept(found)  # a bare list is of an older agent
                by_id = {consent.project_id: consent for consent in kept.consents}
                known = self._read = version, by_id, kept.forgotten
        except FileNotFoundError:
            return {}, 0
        return known[1:]

    def of(self, project_id: str | None) -> Consent:
        """The consent to serve a project. Raises `NotConsented` if there is none, or not any more."""
        found = self.all().get(project_id or "")
        if found is None:
            raise NotConsented(f"neither the configuration nor the people of this site joined project {project_id}")
        if not found.live:
            raise NotConsented(f"the people of this site left project {found.name!r} ({project_id})")
        return found

    def serves(self, project_id: str | None) -> bool:
        found = self.all().get(project_id or "")
        return found is not None and found.live

    def give(self, consent: Consent, *, replace: bool = False) -> Consent:
        """Keep a consent, before the hub hears of it; the one in force, which is the older one if they agree.

        What people withdrew only people give anew. Raises `IdentityChanged` if the project had another coordinator,
        unless `replace`, and `NotConsented` if configuration asks for what people withdrew, or may have withdrawn:
        once something is forgotten, only people join what is not served yet.
        """

        def given(consents: dict[str, Consent]) -> None:
            before = consents.get(consent.project_id)
            if before is None and consent.by == "configuration" and self._kept()[1]:
                raise NotConsented(
                    f"the people of this site left more than {MAX_WITHDRAWN} projects, and the oldest of them are "
                    f"forgotten: project {consent.name!r} ({consent.project_id}) may be one of them, so site.toml does "
                    "not join it; `fedyard project join` does"
                )
            if before is not None and not before.live and consent.by == "configuration":
                raise NotConsented(f"the people of this site left project {before.name!r} ({before.project_id})")
            same = before is not None and (before.coordinator, before.identity) == (
                consent.coordinator,
                consent.identity,
            )
            if before is not None and not same and not replace:
                raise IdentityChanged(
                    f"project {before.name!r} ({before.project_id}) was joined under site {before.coordinator} "
                    f"({hex_groups(fingerprint(before.identity))}), and the hub now shows site {consent.coordinator} "
                    f"({hex_groups(fingerprint(consent.identity))}) as its coordinator"
                )
            if before is None or not before.live or not same:
                consents[consent.project_id] = consent
            if sum(one.live for one in consents.values()) > MAX_CONSENTS:
                raise NotChosen(f"this site serves {MAX_CONSENTS} projects, which is the most: leave some")

        return self._change(given)[consent.project_id]

    def withdraw(self, consent: Consent, now: int) -> None:
        """From now on the project is not served; kept, so that the configuration does not join it again."""
        withdrawn = msgspec.structs.replace(consent, withdrawn_at=now)
        self._change(lambda consents: consents.update({consent.project_id: withdrawn}))

    def put_back(self, given: Consent, before: Consent | None) -> None:
        """What was in force before `given`, exactly; not if it was changed again meanwhile."""

        def back(consents: dict[str, Consent]) -> None:
            if consents.get(given.project_id) != given:
                return
            if before is None:
                del consents[given.project_id]
            else:
                consents[given.project_id] = before

        self._change(back)

    def keep_configured(self, joins: Iterable[Join]) -> list[Consent]:
        """Configuration's consents hold for as long as it says so; those that went."""
        asked = [(join, parse_coordinator(join.coordinator)) for join in joins]

        def stays(consent: Consent) -> bool:
            return (
                consent.by == "people"
                or not consent.live
                or any(
                    join.names(consent.project_id, consent.name)
                    and wanted.allows(consent.coordinator, consent.identity)
                    for join, wanted in asked
                )
            )

        gone = [consent for consent in self.all().values() if not stays(consent)]
        if gone:
            self._change(lambda consents: [consents.pop(one.project_id, None) for one in gone])
        return gone

    def named(self, project: str) -> list[Consent]:
        """The consents that people mean by a project's name or id."""
        return [consent for consent in self.all().values() if project in (consent.project_id, consent.name)]

    def _change(self, change: Callable[[dict[str, Consent]], object]) -> dict[str, Consent]:
        """Read, change and write under a lock; nothing is written if nothing changed or something is raised."""
        with self._path.with_suffix(".lock").open("w") as lock:
            locks.lock(lock)
            before, forgotten = self._kept()
            after = dict(before)
            change(after)
            withdrawn = sorted((one for one in after.values() if not one.live), key=lambda one: one.withdrawn_at or 0)
            old = withdrawn[: max(0, len(withdrawn) - MAX_WITHDRAWN)]
            for one in old:
                del after[one.project_id]
            if after != before:
                kept = _Kept(sorted(after.values(), key=lambda one: one.project_id), forgotten + len(old))
                write_whole(self._path, msgspec.json.encode(kept))
            return after
