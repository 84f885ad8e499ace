"""What a figure needs to be there: sites with tokens, projects with members, running runs.

Sites and memberships are written as records through the store, thousands at once; runs are started by the real
decision.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from actors.deciding import decide_batch
from benchmarks.people import Person
from benchmarks.yard import Hub
from config.clock import SystemClock, draw_id, draw_secret
from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.ids import Id, sha256_hex
from domain.records import Record
from domain.rules import Rules
from domain.values import Subject
from storage.store import Changes, Store
from storage.tables import COLUMNS

CLOCK = SystemClock()
AT_ONCE = 100


@dataclass(frozen=True)
class Site:
    """A site with its token."""

    id: Id
    organisation_id: Id
    token: str

    @property
    def subject(self) -> Subject:
        return Subject(kind="site", id=self.id, organisation_id=self.organisation_id)

    def __repr__(self) -> str:
        return f"Site({self.id})"


def write(hub: Hub, records: Sequence[Record]) -> None:
    """Rows, as a decision would write them."""
    rows: dict[type[Record], list[Record]] = {}
    for record in records:
        rows.setdefault(type(record), []).append(record)
    store = Store(hub.database)
    with store.deciding() as transaction:
        transaction.write(Changes(rows=rows))


def sites(hub: Hub, count: int) -> list[Site]:
    """Enrolled sites of one organisation."""
    now = CLOCK.now()
    organisation = draw_id()
    made = [Site(draw_id(), organisation, draw_secret()) for _ in range(count)]
    records: list[Record] = [
        r.Organisation(id=organisation, name=f"organisation {organisation}", created_at=now),
        r.Stream(id=organisation, kind="organisation", last_seq=0, last_hash=""),
    ]
    for site in made:
        name = f"site {site.id}"
        records += [
            r.Site(
                id=site.id,
                organisation_id=organisation,
                name=name,
                description="",
                identity_key="A" * 43 + "=",
                state="online",
                state_at=now,
                created_at=now,
            ),
            r.Mailbox(site_id=site.id),
            r.Stream(id=site.id, kind="site", last_seq=0, last_hash=""),
            r.Token(
                id=draw_id(),
                owner_kind="site",
                owner_id=site.id,
                sha256=sha256_hex(site.token.encode()),
                label="bench",
                scopes="read write",
                created_at=now,
            ),
        ]
    write(hub, records)
    return made


def publish_keys(hub: Hub, people: Sequence[Person]) -> None:
    """Their identities and sealing keys, as the hub knows them once they were published."""
    now = CLOCK.now()
    records: list[Record] = []
    with hub.database.connection():
        found = hub.database.all(f"SELECT {', '.join(COLUMNS[r.Site])} FROM sites")  # noqa: S608 - names of ours
    known = {row[0]: r.Site(*row) for row in found}
    for one in people:
        identity = base64.b64encode(one.ring.identity_key).decode()
        records += [
            msgspec.structs.replace(known[one.site_id], identity_key=identity),
            r.SiteKey(
                site_id=one.site_id,
                epoch=one.key.epoch,
                state="current",
                digest=sha256_hex(one.key.statement()),
                added_at=now,
            ),
            r.KeyStatement(
                site_id=one.site_id,
                epoch=one.key.epoch,
                suite=one.key.suite,
                public_key=one.key.public_key,
                created_at=one.key.created,
                expires_at=one.key.expires,
                signature=one.key.signature,
            ),
        ]
    write(hub, records)


def project(
    hub: Hub,
    members: Sequence[Site],
    *,
    rounds: int = 100_000,
    live_runs: int = 100,
    sealed: bool = False,
    workloads: Sequence[values.Holder] = (),
) -> Id:
    """A project of one task, coordinated by the first member. sealed: it takes nothing else.

    workloads: hold seats beside those of the members; then one seat is enough for a round.
    """
    now = CLOCK.now()
    ident = draw_id()
    contract = values.Contract(quorum=1, quorum_of="count") if workloads else values.Contract()
    task = values.TaskSpec(name="train", model="bench", rounds=rounds, contract=contract, workloads=list(workloads))
    coordinator = members[0]
    head = r.Project(
        id=ident,
        organisation_id=coordinator.organisation_id,
        coordinator_site_id=coordinator.id,
        name=f"project {ident}",
        description="",
        data_format="",
        client_image="",
        joining="open",
        max_live_runs=live_runs,
        tasks_json=msgspec.json.encode([task]).decode(),
        last_run_number=0,
        created_at=now,
        sealed="required" if sealed else "optional",
    )
    memberships = [
        r.Membership(
            project_id=ident,
            site_id=site.id,
            role="coordinator" if site is coordinator else "participant",
            state="active",
            notes="",
            created_at=now,
            state_at=now,
        )
        for site in members
    ]
    write(hub, [head, r.Stream(id=ident, kind="project", last_seq=0, last_hash=""), *memberships])
    return ident


def runs(hub: Hub, project_id: Id, coordinator: Site, count: int) -> list[Id]:
    """Started runs of a project."""
    store = Store(hub.database)
    started: list[Id] = []
    for first in range(0, count, AT_ONCE):
        now = CLOCK.now()
        envelopes = [
            codec.envelope_of(c.StartRun(project_id=project_id), id=draw_id(), by=coordinator.subject, at=now)
            for _ in range(first, min(first + AT_ONCE, count))
        ]
        batch = decide_batch(store, envelopes, now, Rules())
        for envelope in envelopes:
            outcome = batch.outcomes[envelope.id]
            assert outcome.state == "accepted", outcome.answer_json
            started.append(msgspec.json.decode(outcome.answer_json)["id"])
    return started


def newest(hub: Hub, site: Site) -> int:
    """The last number in a site's inbox."""
    with hub.database.connection():
        found = hub.database.one("SELECT last_seq FROM mailboxes WHERE site_id = %s", site.id)
    assert found is not None
    return int(found[0])
