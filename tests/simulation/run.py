"""One seed from its beginning to its end."""

from __future__ import annotations

import functools
import logging
import os
import random
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import actors.ticker
import config.clock
import domain.decisions.webhooks
import domain.webhooks
import fedyard.clock
import storage.history
import web.api.recovery
import web.live.coalescing
import web.live.shares
import web.serving.app
from actors.deciding import decide_now
from config.key_files import make_once
from config.settings import Settings
from domain import commands as c
from domain import records as r
from domain.codec import THE_HUB, envelope_of
from domain.commands import AnyCommand
from domain.ids import derive, sha256_hex
from domain.values import Subject
from domain.workloads import AT_SITE
from storage.database import open_database
from storage.store import Store
from tests.memory import MEMORY
from tests.simulation.agents import LookingAfter
from tests.simulation.broker import Broker
from tests.simulation.bugs import Bug, planted, replaced
from tests.simulation.checks import Checker
from tests.simulation.clusters import KEY as CLUSTER_KEY
from tests.simulation.clusters import NAME, SimulatedCluster
from tests.simulation.database import prepare
from tests.simulation.deploying import Deploying
from tests.simulation.flooding import Flood
from tests.simulation.payloads import KEY
from tests.simulation.people import Wanting
from tests.simulation.processes import (
    RECOVERY_COUNTS_AS,
    RETENTION_EVERY_S,
    WRITES_PER_S,
    DecidingProcess,
    DoingProcess,
    RelayProcess,
    StillHeartbeats,
    TickerProcess,
    Web,
)
from tests.simulation.programs import Programs
from tests.simulation.receivers import AGAIN_AFTER_S, LEASE_S, Receivers
from tests.simulation.sending import OPERATOR
from tests.simulation.sites import Site
from tests.simulation.streams import Announcing, BridgeProcess, Kafka
from tests.simulation.training import SPANS_OF_TRAINING, Door, Trainers, waiting_in
from tests.simulation.visitors import Visitors
from tests.simulation.workloads import SWAPS, ReconcilingProcess
from tests.simulation.world import START, Broken, World
from web.live.waiters import Waiters

KNOWN_SITES = ("Aarau", "Bergen", "Cadiz", "Delft")
NEWCOMER = "Elba"
TOLD = ("Aarau", "Cadiz")
"""Whose organisations have a webhook: of a coordinator, and of a participant."""
WITH_CLUSTERS = ("Bergen", "Cadiz")
"""Who has a cluster, where workloads run: a coordinator, and a participant."""


@dataclass
class Result:
    """What became of a seed. broken: the invariant that did not hold, or None."""

    seed: int
    broken: str | None = None
    story: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    died_at: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class Chance:
    """In place of the modules that `config/clock.py` draws from: everything drawn comes from the seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._keys = random.Random(f"keys of {seed}")
        self.uniform = self._random.uniform

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)

    def token_urlsafe(self, size: int) -> str:
        return self._random.randbytes(size).hex()

    def token_bytes(self, size: int) -> bytes:
        return self._keys.randbytes(size)


def simulate(seed: int, bug: Bug | None = None) -> Result:
    """Run one seed, with a bug planted or without. The same seed is the same history."""
    template, sites, enrolment = ground()
    folder = template.parent / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "store.sqlite"
    shutil.copyfile(template, path)
    with ExitStack() as stack:
        chance = Chance(seed)
        for name in ("random", "uuid", "secrets"):
            stack.enter_context(replaced(config.clock, name, chance))
        stack.enter_context(replaced(web.serving.app, "HeartbeatBuffer", StillHeartbeats))
        stack.enter_context(replaced(web.live.coalescing, "READERS", 100))  # one thread cannot wait
        stack.enter_context(replaced(web.live.shares, "HELD_S", 0.0))
        stack.enter_context(replaced(web.api.recovery, "COUNTS_AS", RECOVERY_COUNTS_AS))
        stack.enter_context(replaced(actors.ticker, "RETENTION_EVERY_S", RETENTION_EVERY_S))
        stack.enter_context(replaced(domain.webhooks, "AGAIN_AFTER_S", AGAIN_AFTER_S))
        stack.enter_context(replaced(domain.decisions.webhooks, "LEASE_S", LEASE_S))
        stack.enter_context(_quiet())
        world = World(seed, path)
        stack.callback(_end, world)
        stack.enter_context(replaced(storage.history, "_file", lambda _: str(world.restores.file)))
        settings = Settings(
            broker_url=f"embedded://{folder}/none",
            database_url=f"sqlite:///{path}",
            artifacts_url=f"file:///{folder}/artifacts",
            head_key_file=f"{folder}/head.key",
            webhook_key_file=f"{folder}/webhook.key",
            workload_key_file=f"{folder}/workload.key",
            writes_per_s=WRITES_PER_S,
        )
        world.broker = Broker(world)
        world.receivers = Receivers(world)
        world.cluster = SimulatedCluster(world)
        world.clusters = {NAME: world.cluster}
        world.kafka = Kafka(world)
        world.door = Door()
        for swap in SWAPS if world.cluster.on else ():
            stack.enter_context(replaced(*swap))
        world.checker = Checker(world)
        stack.callback(world.checker.close)
        world.web = Web(world, settings)
        folk = [Site(world, name, ident=sites[name], boss=name in KNOWN_SITES[:2]) for name in KNOWN_SITES]
        folk.append(Site(world, NEWCOMER, enrolment=enrolment))
        world.processes = [
            world.web,
            world.broker,
            DecidingProcess(world, "decider 1"),
            DecidingProcess(world, "decider 2"),
            DoingProcess(world, "doer"),
            RelayProcess(world, "relay"),
            TickerProcess(world, "ticker 1"),
            TickerProcess(world, "ticker 2"),
            *folk,
        ]
        flood = Flood(world, folk[3])
        if flood.on:
            world.processes.append(flood)
        visitors = Visitors(world)
        if visitors.on:
            world.processes.append(visitors)
            stack.enter_context(replaced(Waiters, "sleep", waiting_in(world)))
        if world.cluster.on:
            make_once(folder / "workload.key", CLUSTER_KEY)
        if world.cluster.on and not world.kafka.on:
            stack.enter_context(replaced(fedyard.clock, "uuid", Chance(-seed)))
            _add_workloads(world, folk, folder)
        if world.kafka.on:
            world.processes += [BridgeProcess(world, f"bridge {n}", world.kafka) for n in (1, 2)]
            world.processes.append(Announcing(world, world.kafka))
            for owner, name, value in SPANS_OF_TRAINING:
                stack.enter_context(replaced(owner, name, value))
            stack.enter_context(replaced(Waiters, "sleep", waiting_in(world)))
            world.processes += [ReconcilingProcess(world, f"reconciler {n}") for n in (1, 2)]
            world.processes += [Trainers(world), Deploying(world, folk[2])]
        result = Result(seed)
        if bug is not None:
            stack.enter_context(planted(bug, world))
        try:
            world.run(functools.partial(_undone, world, folk))
            for site in folk:
                site.compare()
                site.stays_revoked()
                site.still_there()
            world.checker.still_revoked(world.web.blobs)
            world.checker.find_every_byte(world.web.blobs)
            assert world.web.database is not None
            world.checker.audit(world.web.database)
            world.checker.all_taken()
            world.checker.all_true()
            world.kafka.all_once()
            world.checker.all_trained()
        except Broken as broken:
            result.broken, result.story = str(broken), list(world.story)
        return _told(result, world)


def _add_workloads(world: World, folk: list[Site], folder: Path) -> None:
    """Clusters, who looks after them, what runs there, and who wants it."""
    for site in folk:
        if site.name in WITH_CLUSTERS:
            where = f"{AT_SITE}{site.id}"
            world.clusters[where] = SimulatedCluster(world, where, site.id)
            world.agents[where] = LookingAfter(world, site, world.clusters[where], folder / site.name)
    world.processes += [ReconcilingProcess(world, f"reconciler {n}") for n in (1, 2)]
    world.processes += [*world.agents.values(), Programs(world), Wanting(world, folk)]


def _undone(world: World, folk: list[Site]) -> str | None:
    sites = (site.undone() for site in folk)
    return (
        world.checker.undone()
        or next(filter(None, sites), None)
        or world.checker.unswept(world.web.blobs)
        or world.checker.untold()
        or next(filter(None, (one.undone() for one in world.processes if isinstance(one, (Wanting, Deploying)))), None)
        or world.checker.still_runs()
        or world.kafka.undone()
        or world.checker.untrained()
    )


def _end(world: World) -> None:
    for process in world.processes:
        process.end()


def _told(result: Result, world: World) -> Result:
    result.happened, result.places, result.died_at = world.happened, world.places, world.died_at
    result.commands = len(world.checker.rows[r.Outcome])
    result.runs = Counter(str(run.state) for run in world.checker.every(r.Run))
    outcomes = sorted((o.id, o.state, o.decided_at) for o in world.checker.every(r.Outcome))
    result.digest = sha256_hex(repr((outcomes, sorted(result.places.items()), result.broken)).encode())
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """A world full of faults is full of warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@functools.cache
def ground() -> tuple[Path, dict[str, str], str]:
    """The store that every seed starts from: organisations, four sites (ids by name), an enrolment for a fifth."""
    holder = tempfile.TemporaryDirectory(prefix="fedyard-sim-", dir=MEMORY if MEMORY.is_dir() else None)
    folder = Path(holder.name)
    _holders.append(holder)
    template = folder / "template.sqlite"
    prepare(template)
    database = open_database(f"sqlite:///{template}")
    with database.connection():  # drawn by the migration, the only thing in it that is; ids are derived from it
        database.execute(f"UPDATE history SET history_id = '{derive('ground', 'history')}', since = {START}")
    store = Store(database)
    sites = {}
    made = 0

    def ok(command: AnyCommand, by: Subject = THE_HUB) -> dict[str, Any]:
        nonlocal made
        made += 1
        envelope = envelope_of(command, id=derive("ground", made), by=by, at=START - 1_000_000)
        outcome = decide_now(store, [envelope], START - 1_000_000)[0]
        assert outcome.state == "accepted", outcome.answer_json
        said: dict[str, Any] = msgspec.json.decode(outcome.answer_json)
        return said

    def enrolment_of(name: str) -> tuple[str, Subject]:
        organisation = ok(c.CreateOrganisation(name=f"hospital of {name}"))["id"]
        if name in TOLD:
            ok(
                c.CreateWebhook(
                    owner_kind="organisation",
                    owner_id=organisation,
                    url=f"https://{name.lower()}.example/in",
                    kinds=["run.ended", "seat.left_out", "site.silent", "site.returned", "identity.conflict"],
                )
            )
        token = f"enrolment of {name}"
        new = c.CreateEnrolment(
            organisation_id=organisation, sha256=sha256_hex(token.encode()), note="", expires_at=START + 10**12
        )
        return token, Subject(kind="enrolment", id=ok(new)["id"], organisation_id=organisation)

    network = ok(c.CreateOrganisation(name="network"))["id"]
    operator = sha256_hex(OPERATOR.encode())
    ok(c.CreateAccount(organisation_id=network, name="operator", role="admin", token_sha256=operator))
    for name in KNOWN_SITES:
        _, by = enrolment_of(name)
        secret = sha256_hex(f"token of {name}".encode())
        sites[name] = ok(c.EnrolSite(name=name, description="", identity_key=KEY, token_sha256=secret), by)["id"]
    token, _ = enrolment_of(NEWCOMER)
    database.close()
    return template, sites, token


_holders: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that go when the interpreter does."""
