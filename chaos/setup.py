"""Who takes part: projects of reduced sites for the load, and two real agents who train a real model, sealed, and then
carry ballast that is too large to travel inline."""

from __future__ import annotations

import base64
import hashlib
import random
import shlex
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chaos.flood import Flood
from chaos.liar import liar_before
from chaos.links import Link
from chaos.lying import Between
from chaos.plan import Plan, PlannedSite, Starter
from chaos.stack import CLOCK, HEARTBEAT_EVERY_S, HUB_CLUSTER, IMAGES, ChaosError, Running, Stack
from chaos.working import clear
from config.clock import draw_secret
from demo.hospitals import LABEL, split, write
from fedyard.actions.site import joining_of
from fedyard.agent.cluster import processes_of
from fedyard.agent.consents import UNKNOWN, Join
from fedyard.agent.site import Coordinator, Folder, Settings
from fedyard.client.client import Client
from fedyard.sealed.keys import enrolment_proof
from fedyard.tasks.settings import Tasks
from ops.accounts import create_account
from ops.place import CHECKOUT
from storage.database import open_database

SITES_OF_PROJECT = 5
"""Its coordinator among them."""
RUN_WITHIN_S = 240.0
STAGE_WITHIN_S = 45.0
MESSAGE_EVERY_S = 0.5
SOON_S = 60.0
SLOW_DELAY_S = 0.3
SLOW_CUT_EVERY_S = 20.0

PARAMETERS: dict[str, object] = {"label": LABEL, "local_epochs": 5, "learning_rate": 0.5, "l2": 0.001}
_CONTRACT: dict[str, object] = {
    "quorum": 0.5,
    "select_within_s": STAGE_WITHIN_S,
    "train_within_s": STAGE_WITHIN_S,
    "aggregate_within_s": STAGE_WITHIN_S,
    "silent_within_s": 60.0,
}
AGENTS = ("north", "east")
BALLAST = "chaos.ballast:Ballast"
CLUSTER = """
[cluster]
kind = "processes"
projects = ["*"]
[cluster.images]
""" + "".join(f'"{image}" = ["{program}"]\n' for image, program in IMAGES.items())
"""What east's people write into its site.toml: workloads run there."""


class Cast:
    """Everybody, enrolled and in their projects."""

    def __init__(self, stack: Stack, folder: Path, *, sites: int, seed: int) -> None:
        self.stack, self.folder, self.seed = stack, folder, seed
        database = open_database(stack.database_url, pool=1, name="chaos setup")
        account = create_account(database, CLOCK, name="chaos", organisation="The test", role="admin")
        database.close()
        self._organisation = account.organisation_id
        self.books = folder.resolve() / "programs"
        self.books.mkdir()
        for root in (stack.workloads, processes_of(folder / "agents" / "east")):
            stack.at_end_of_all(partial(clear, root, CLOCK))
        self._admin = Client(stack.api, account.token)
        self.slow = stack.link("slow site > hub", _port(stack.api), delay_s=SLOW_DELAY_S, cut_every_s=SLOW_CUT_EVERY_S)
        stack.links.pop("slow site > hub")  # it is bad enough as it is
        self.site_links: list[tuple[str, Link]] = []
        self.planned = [one for number in range(max(1, sites // SITES_OF_PROJECT)) for one in self._project(number)]
        self.agents = self._agents()
        self.flood = Flood(stack.api, *self._enrolled("greedy"))

    def plan(self) -> Plan:
        """What the load process is told."""
        north = self.folders["north"]
        starter = Starter(
            id=self.agent_sites["coordinator's agent"],
            token=north.token(),
            hub=self.stack.api,
            project_id=self.agents_project,
        )
        return Plan(
            seed=self.seed,
            sites=self.planned,
            starter=starter,
            message_every_s=MESSAGE_EVERY_S,
            heartbeat_every_s=HEARTBEAT_EVERY_S,
            run_within_s=RUN_WITHIN_S,
            places=[HUB_CLUSTER, f"site:{self.agent_sites['site agent']}"],
            program=str(CHECKOUT / "chaos" / "program.sh"),
            books=str(self.books),
        )

    def issue_token(self, chance: random.Random) -> str:
        """The id of one more token of some site of the load, which an admin has given to it."""
        owner = {"owner_kind": "site", "owner_id": chance.choice(self.planned).id, "label": "spare"}
        sha256 = hashlib.sha256(draw_secret().encode()).hexdigest()
        made = self._admin.write("POST", "/v1/tokens", {**owner, "sha256": sha256}, dict[str, Any], key=None)
        return str(made["id"])

    def revoke_token(self, token_id: str) -> None:
        self._admin.write("DELETE", f"/v1/tokens/{token_id}", None, dict[str, Any], key=None)

    def revoke_key(self, agent: str) -> None:
        """An agent's people give its newest sealing key up."""
        folder = self.folders[agent]
        epoch = folder.keyring().current().epoch
        command = [str(CHECKOUT / "bin" / "fedyard"), "--folder", str(folder.path), "site", "revoke-key", str(epoch)]
        done = subprocess.run(
            command, env=self.stack.environment, capture_output=True, text=True, check=False, timeout=SOON_S
        )
        if done.returncode != 0:
            raise ChaosError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")

    def _project(self, number: int) -> list[PlannedSite]:
        """A coordinator and its participants. The second and third site of the first project have a slow network."""
        project = ""
        made: list[PlannedSite] = []
        for place in range(SITES_OF_PROJECT):
            name = f"site-{number}-{place}"
            id, token = self._enrolled(name)
            client = Client(self.stack.api, token)
            if place == 0:
                task = {"name": "train", "model": "reduced", "rounds": 2, "contract": _CONTRACT}
                task |= {"workloads": [self._holder()]} if number == 0 else {}
                project = client.create_project(f"load-{number}", [task], joining="open", sealed="optional")
            else:
                client.put_member(project, id)
            client.close()
            slow = number == 0 and place in (1, 2)
            hub = f"http://127.0.0.1:{self.slow.port}" if slow else self.stack.api
            made.append(PlannedSite(id=id, name=name, token=token, hub=hub, project_id=project, coordinates=place == 0))
        return made

    def _holder(self) -> dict[str, object]:
        """A workload that holds a seat, which is a process of the hub's."""
        spec = {
            "kind": "job",
            "image": "local/python",
            "arguments": ["-m", "chaos.holder", str(self.books)],
            "environment": {"PYTHONPATH": str(CHECKOUT)},
            "attempts": 5,
            "grace_s": 2.0,
        }
        return {"name": "holder", "where": HUB_CLUSTER, "spec": spec}

    def _enrolled(self, name: str) -> tuple[str, str]:
        enrolment = self._admin.create_enrolment(self._organisation, note=name)
        assert enrolment.token is not None
        token = draw_secret()
        identity = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        key = base64.b64encode(identity.public_key().public_bytes_raw()).decode()
        hashed = hashlib.sha256(token.encode()).hexdigest()
        proof = base64.b64encode(enrolment_proof(identity, enrolment.token, hashed, name)).decode()
        client = Client(self.stack.api, enrolment.token)
        made = client.enrol(name, key, proof, hashed, "", key=f"enrol-{name}")
        client.close()
        return made.id, token

    def _agents(self) -> Running:
        """Two hospitals as the demo has them; north coordinates and trains, east's network can be cut.

        Either is behind a proxy that can lie.
        """
        records = split()
        proxies = ExitStack()
        self.stack.at_end(proxies.close)
        self.between = {
            name: Between(name, proxies.enter_context(liar_before(self.stack.api, remembers=0))) for name in AGENTS
        }
        link = self.stack.link("east > hub", _port(self.between["east"].liar.url))
        self.site_links.append(("east", self.stack.links.pop("east > hub")))
        hubs = {"north": self.between["north"].liar.url, "east": f"http://127.0.0.1:{link.port}"}
        self.folders = {name: Folder(self.folder / "agents" / name) for name in AGENTS}
        for name, folder in self.folders.items():
            enrolment = self._admin.create_enrolment(self._organisation, note=name)
            assert enrolment.token is not None
            data = {"train": "train.csv", "test": "test.csv"}
            join = [] if name == "north" else [Join(project="agents", coordinator=UNKNOWN)]
            tasks = Tasks(allow=[BALLAST])
            few = Coordinator(min_updates=1)  # of two agents one is killed now and then
            folder.create(
                Settings(hub=hubs[name], name=name, join=join, data=data, tasks=tasks, coordinator=few), enrolment.token
            )
            if name == "east":
                with (folder.path / "site.toml").open("a") as settings:
                    settings.write(CLUSTER)
            write(records.training[name], folder.path / "train.csv")
            write(records.test, folder.path / "test.csv")
        program = shlex.quote(str(CHECKOUT / "bin" / "fedyard"))
        lines = {
            name: f"{program} --folder {shlex.quote(str(folder.path))} site run"
            for name, folder in self.folders.items()
        }
        agents = Running(lines, self.folder / "agents.log", self.stack.environment)
        self.stack.at_end(agents.stop)
        agents.start()
        self._gather()
        return agents

    def _gather(self) -> None:
        for name, folder in self.folders.items():
            _until(f"{name} is enrolled", (folder.path / "site.id").exists)
        ids = {name: (folder.path / "site.id").read_text().strip() for name, folder in self.folders.items()}
        self.agent_sites = {"coordinator's agent": ids["north"], "site agent": ids["east"]}
        north = Client(self.stack.api, self.folders["north"].token())
        train = {"name": "train", "model": "logistic_regression", "rounds": 3, "parameters": PARAMETERS}
        freight = {"name": "freight", "model": BALLAST, "rounds": 2}
        tasks = [task | {"contract": _CONTRACT} for task in (train, freight)]
        self.agents_project = north.create_project("agents", tasks, joining="open")
        joining_of(self.folders["north"], north).lead(self.agents_project, "agents")
        _until(
            "east is a member",
            lambda: any(
                one.site_id == ids["east"] and one.state == "active" for one in north.members(self.agents_project)
            ),
        )
        north.close()


def _until(what: str, fact: Callable[[], bool]) -> None:
    end = CLOCK.monotonic() + SOON_S
    while not fact():
        if CLOCK.monotonic() > end:
            raise ChaosError(f"waited {SOON_S:.0f} s in vain until {what}")
        CLOCK.sleep(0.2)


def _port(api: str) -> int:
    return int(api.rpartition(":")[2])
