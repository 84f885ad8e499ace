"""Joining projects: consent first, on this site's disk, then the request to the hub.

Agent and command line join alike. What the hub shows of a project is held to what was asked for: the project by name or
id, its coordinator by site, by fingerprint, or, where this site does not know him yet, as he is shown first (trust on
first use).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fedyard.agent.consents import (
    By,
    Consent,
    Consents,
    Join,
    NotChosen,
    Wanted,
    choose,
    consent_to,
    describe,
    parse_coordinator,
)
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.clock import micros_now
from fedyard.sealed.errors import IdentityChanged, NotConsented
from fedyard.sealed.keys import fingerprint, words
from fedyard.sealed.trust import Changed, Member, Trust
from fedyard.wire.answers import Membership, Project
from fedyard.wire.statements import hex_groups

NOT_NOW = (403, 404, 409)


class Joining:
    """One site's way into projects. identity: this site's own raw public key. Safe to use from many threads."""

    def __init__(
        self,
        site_id: str,
        identity: bytes,
        consents: Consents,
        trust: Trust,
        client: Client,
        log: Callable[..., None],
    ) -> None:
        self.consents = consents
        self._site_id, self._identity = site_id, identity
        self._trust, self._client, self._log = trust, client, log
        self._said: set[str] = set()

    # for people

    def agree(self, project: Project, wanted: Wanted, by: By) -> Consent:
        """Consent to serve this project under this coordinator, whose identity is pinned.

        Raises `NotChosen` if he is another than `wanted`, `IdentityChanged` if he was another before, and `Changed` if
        his site was pinned with another identity.
        """
        site_id, identity = project.coordinator_site_id, project.coordinator_identity_key
        if not wanted.allows(site_id, identity):
            raise NotChosen(f"its coordinator was said to be {wanted}, and the hub shows {describe(project)}")
        member = Member(site_id=site_id, name=project.coordinator_name, role="coordinator", identity=identity)
        now = micros_now()
        if site_id == self._site_id:
            if identity != self._identity:
                raise Changed(member, self._identity)
        elif wanted.finger is not None:
            self._trust.confirm(member, wanted.finger.hex(), now)
        else:
            self._trust.verify([member], now)
        replace = by == "people" and not wanted.anybody
        return self.consents.give(consent_to(project, by, now), replace=replace)

    def lead(self, project_id: str, name: str) -> Consent:
        """Serve a project that this site has just made."""
        return self.consents.give(
            Consent(
                project_id=project_id,
                name=name,
                coordinator=self._site_id,
                identity=self._identity,
                at=micros_now(),
                by="people",
            )
        )

    def ask(self, project: Project, notes: str) -> Membership | None:
        """Join a project that was consented to, or ask to, or accept its invitation; None if this site leads it."""
        if project.coordinator_site_id == self._site_id:
            return None
        return self._client.put_member(project.id, self._site_id, notes)

    # for the configuration

    def keep_configured(self, joins: Iterable[Join]) -> None:
        """What site.toml does not say any more is not served any more."""
        for consent in self.consents.keep_configured(joins):
            self._log(
                "consent withdrawn",
                project=consent.name,
                id=consent.project_id,
                detail="site.toml does not join it any more; `fedyard project leave` tells the hub, too",
            )

    def tried(self, join: Join) -> bool:
        """Join as site.toml asks; True if nothing is left to do. What is in the way is logged once."""
        try:
            return self._tried(join)
        except Changed:
            raise
        except (NotChosen, IdentityChanged) as error:
            self._once("not joined", project=join.project, detail=str(error))
        except Refused as error:
            if error.status not in NOT_NOW:
                raise
            self._once("not joined", project=join.project, detail=error.detail)
        except NotConsented as error:
            self._once("not joined", project=join.project, detail=str(error))
            return True
        return False

    def _tried(self, join: Join) -> bool:
        wanted = parse_coordinator(join.coordinator)
        known = [
            one
            for one in self.consents.all().values()
            if join.names(one.project_id, one.name) and wanted.allows(one.coordinator, one.identity)
        ]
        if known and not any(one.live for one in known):
            raise NotConsented(f"the people of this site left project {known[0].name!r} ({known[0].project_id})")
        project = (
            self._client.project(next(one.project_id for one in known if one.live))
            if known
            else choose(self._found(join), join.project, wanted)
        )
        if project is None:
            return False
        consent = self.agree(project, wanted, "configuration")
        if not known:
            self._tell(consent, project, wanted)
        membership = self.ask(project, join.notes)
        self._once(
            "joined", project=project.name, id=project.id, state=membership.state if membership else "coordinator"
        )
        return True

    def again(self, consent: Consent) -> None:
        """Tell a hub whose history went back what people joined, or left: it may have forgotten either.

        Only as it was consented to: under the same coordinator, and if people have not changed their mind meanwhile.
        What is in the way is logged.
        """
        if self.consents.all().get(consent.project_id) != consent:
            return
        try:
            if not consent.live:
                self._client.remove_member(consent.project_id, self._site_id)
                return
            project = self._client.project(consent.project_id)
            if (project.coordinator_site_id, project.coordinator_identity_key) != (
                consent.coordinator,
                consent.identity,
            ):
                self._once("not joined", project=consent.name, id=consent.project_id, detail=describe(project))
                return
            membership = self.ask(project, "")
            self._log(
                "joined again",
                project=project.name,
                id=project.id,
                state=membership.state if membership else "coordinator",
            )
        except Refused as error:
            if error.status not in NOT_NOW:
                raise
            if consent.live:
                self._once("not joined", project=consent.name, id=consent.project_id, detail=error.detail)

    def _found(self, join: Join) -> Sequence[Project]:
        named = self._client.projects(name=join.project)
        return named or [project for project in self._client.projects() if project.id == join.project]

    def invited(self, project: Project, joins: Iterable[Join]) -> None:
        """Accept an invitation to what this site serves, or is configured to join. People are told of any other."""
        if project.coordinator_site_id == self._site_id:
            return
        for join in joins:
            if join.names(project.id, project.name):
                self.tried(join)
        if self.consents.serves(project.id):
            consent = self.consents.of(project.id)
            if (consent.coordinator, consent.identity) == (
                project.coordinator_site_id,
                project.coordinator_identity_key,
            ):
                self.ask(project, "")
                return
        self._once(
            "invitation",
            project=project.name,
            detail=f"{describe(project)}; this site did not join it: `fedyard project join`, if it shall",
        )

    def _tell(self, consent: Consent, project: Project, wanted: Wanted) -> None:
        finger = fingerprint(consent.identity)
        self._log(
            "consent given",
            project=project.name,
            id=project.id,
            coordinator=project.coordinator_name,
            coordinator_id=consent.coordinator,
            words=words(finger),
            hex=hex_groups(finger),
            detail="site.toml names no coordinator, so the first one is believed: compare these words with its people"
            if wanted.anybody
            else f"as site.toml asks: {wanted}",
        )

    def _once(self, what: str, **facts: str) -> None:
        """A line that was not written before."""
        line = f"{what} {sorted(facts.items())}"
        if line not in self._said:
            self._said.add(line)
            self._log(what, **facts)
