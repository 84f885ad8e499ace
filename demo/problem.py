"""A learning problem as in Fedota, from an archive of initial files to a round that has made a model.

A person of the network sets it and uploads the archive. The hub starts the problem's own coordinator and two selectors
as processes; stand-ins take the place of Fedota's images (demo/fedota). North and south say that they are ready, write
their clients' configurations, each with a token that is good for this problem alone, and run their clients.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from demo.fedota.files import CHECKPOINT, INITIAL_FILES, MODEL, packed
from demo.hospitals import Records
from demo.processes import ROOT, DemoError
from demo.secrecy import short
from demo.stage import COORDINATOR, SITE, SOON_S, Stage
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.client.transfer import Transfer
from fedyard.clock import draw_key
from fedyard.wire import answers as a

PROBLEM = "tumours"
SETTER = "Ada"
MEMBERS = (COORDINATOR, "south")
"""Whose clients take part."""
SHOWN_FOR = "south"
SELECTORS = 2
GOAL = len(MEMBERS)
PARTS_WITHIN_S = ROUND_WITHIN_S = 60.0
SHOWN = 12
"""Characters of a token that are shown."""
_PYTHON = f"/usr/bin/env PYTHONPATH={ROOT} {sys.executable} -m"
COORDINATOR_IMAGE, SELECTOR_IMAGE = "local/fl-coordinator", "local/fl-selector"
PROCESS_IMAGES = {
    COORDINATOR_IMAGE: f"{_PYTHON} demo.fedota.coordinator",
    SELECTOR_IMAGE: f"{_PYTHON} demo.fedota.selector",
}
"""What the hub's operator allows, beside what holds seats."""


class ProblemStage(Stage):
    """What is told of the problem; the hub, north and south are there."""

    def _problem_told(self, admin: Client, records: Records) -> bool:
        """True if a round made a model, and a client's token is good for the problem alone and ends with it."""
        person = self._person(admin)
        project = self._set(person)
        self._upload(person, project, len(records.test.features))
        self._say_parts(self._started(person, project))
        self._ready(person, project)
        tokens = [self._joining_file(name, project) for name in MEMBERS]
        narrow = self._is_narrow(Client(self.hub, tokens[0]), project)
        self._clients(records)
        good = self._round(person, project)
        self._archived(person, project)
        return all((narrow, good, self._are_revoked(tokens, project)))

    # by the person who sets it

    def _person(self, admin: Client) -> Client:
        """An account of the role member: it acts for its organisation's sites, and for nothing else."""
        account = {"organisation_id": self.organisation_id, "name": SETTER, "role": "member"}
        made = admin.write("POST", "/v1/accounts", account, a.Created, key=draw_key())
        assert made.token is not None, "the hub drew it"
        return Client(self.hub, made.token)

    def _set(self, person: Client) -> str:
        """The project's id."""
        task = {"name": "train", "model": "fedota", "contract": {"quorum": GOAL, "quorum_of": "count"}}
        infrastructure = {"coordinator_image": COORDINATOR_IMAGE, "selector_image": SELECTOR_IMAGE}
        body = {
            "name": PROBLEM,
            "coordinator_site_id": self.folders[COORDINATOR].site_id(),
            "description": "Is a tumour malignant?",
            "data_format": "data/train: CSV of 30 measurements and 0 or 1, no headings",
            "client_image": "registry.example.org/fed/fl-client:1",
            "joining": "open",
            "sealed": "optional",
            "tasks": [task],
            "infrastructure": {**infrastructure, "selectors": SELECTORS},
        }
        project = person.write("POST", "/v1/projects", body, a.Created, key=draw_key()).id
        self._say(f"\nproblem    {PROBLEM}, set by {SETTER} in the name of {COORDINATOR}; a round needs {GOAL} clients")
        return project

    def _upload(self, person: Client, project: str, width: int) -> None:
        """The archive: a model's shape, which the stand-ins do not read, and weights to begin with."""
        archive = self.chosen.folder / f"{PROBLEM}.zip"
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr(MODEL, b"a linear model's shape, as Keras would write it")
            made.writestr(CHECKPOINT, packed({"weights": np.zeros(width), "bias": np.zeros(())}))
        ident = Transfer(person).upload(archive, project_id=project, kind="initial", key=draw_key())

        def settled() -> list[a.Artifact]:
            found = person.artifact(ident)
            return [found] if found.archive is not None and found.archive.state in ("checked", "refused") else []

        (found,) = self._waited("the hub has read the archive", settled, SOON_S)
        if found.archive is None or found.archive.state != "checked":
            raise DemoError(f"the hub refuses {archive}: {found.detail}")
        names = ", ".join(file.path for file in found.files or [])
        self._say(f"archive    {archive.name}: {found.archive.state}, version {found.archive.version}: {names}")

    def _started(self, person: Client, project: str) -> list[a.RunningPart]:
        """Coordinator and selectors, once all of them listen; the coordinator's files are unpacked by then."""
        person.start_infrastructure(project)

        def run() -> list[a.RunningPart]:
            parts = person.project(project).parts or []
            up = [one for one in parts if one.state == "running" and one.ready == one.replicas and one.addresses]
            return up if len(up) == len(parts) == 2 else []

        return self._waited("the problem's coordinator and selectors listen", run, PARTS_WITHIN_S)

    def _say_parts(self, parts: list[a.RunningPart]) -> None:
        for one in parts:
            where = ", ".join(f"{address} ({side} its cluster)" for side, address in sorted(one.addresses.items()))
            self._say(f"{one.part:10s} {one.ready} of {one.replicas} at {one.where}: {where}")
        for path in self._initial_files():
            self._say(f"unpacked   {short(path)}, {path.stat().st_size} bytes")

    def _initial_files(self) -> list[Path]:
        return sorted((self.hub_folder / "workloads" / "volumes").glob(f"*/{INITIAL_FILES}/*"))

    # by its members

    def _fedyard(self, name: str, *words: str) -> str:
        """What the people of a site type, and what they read then."""
        command = [SITE, "--folder", str(self.folders[name].path), *words]
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=ROOT, capture_output=True, text=True, timeout=SOON_S, check=False
        )
        if done.returncode:
            raise DemoError(f"{' '.join(words)} of {name}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _ready(self, person: Client, project: str) -> None:
        """The coordinating site is a member already; its person may speak for it, as that of south's by the command."""
        lead = self.folders[COORDINATOR].site_id()
        self._fedyard(SHOWN_FOR, "project", "join", PROBLEM, "--coordinator", lead)
        self._fedyard(SHOWN_FOR, "project", "ready", PROBLEM, "--for", "3600")
        person.say_ready(project, lead)
        self._say(f"ready      {COORDINATOR}, says {SETTER}; {SHOWN_FOR}, by fedyard project ready {PROBLEM}")

    def _joining_file(self, name: str, project: str) -> str:
        """The configuration of a member's client, written by its people; the token in it."""
        path = self.folders[name].path / "client" / "config.yaml"
        path.parent.mkdir()
        said = self._fedyard(name, "project", "joining", PROBLEM, "--config", str(path), "--token")
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text().splitlines()
        config = {key: value.strip('"') for key, value in (line.split(": ", 1) for line in lines)}
        token = config["ACCESS_TOKEN"]
        if mode != 0o600 or config["FEDYARD_PROJECT_ID"] != project or not config["SELECTOR_ADDRESS"]:
            raise DemoError(f"{path} is not what a client needs")
        if name == SHOWN_FOR:
            self._say(
                f"\njoining    what `fedyard project joining {PROBLEM} --config config.yaml --token` says at {name}:"
            )
            for line in said.splitlines():
                self._say(f"  {line.replace(str(path), path.name)}")
            self._say(f"\nfile       {short(path)}, mode {mode:04o}:")
            for line in lines:
                self._say(f"  {line.replace(token, f'{token[:SHOWN]}...')}")
        return token

    def _is_narrow(self, client: Client, project: str) -> bool:
        """The token says how to take part in this project; nothing else is shown to who has it."""
        found = client.joining(project)
        try:
            client.me()
        except Refused as error:
            sees = f"{found.ready_count} of {found.member_count} members are ready"
            self._say(f"\ntoken      sees that {sees}; of anything else: {error.slug}")
            return found.ready_count == found.member_count == GOAL
        self._say("\ntoken      SHOWS MORE THAN IT SHOULD")
        return False

    # a round

    def _clients(self, records: Records) -> None:
        """Each where its data are, at the same time, as a round needs all of them; its data stay there."""
        scale = records.pooled().rows
        mean, spread = scale.mean(axis=0), scale.std(axis=0)
        begun = []
        for name in MEMBERS:
            folder, table = self.folders[name].path, records.training[name]
            train = folder / "device_data" / "data" / "train"
            train.mkdir(parents=True)
            np.savetxt(
                train / "patients.csv", np.column_stack(((table.rows - mean) / spread, table.labels)), delimiter=","
            )
            begun.append(self._client(folder / "client"))
        for name, client in zip(MEMBERS, begun, strict=True):
            try:
                said, _ = client.communicate(timeout=ROUND_WITHIN_S)
            except subprocess.TimeoutExpired:
                client.kill()
                said, _ = client.communicate()
            if client.returncode:
                raise DemoError(f"the client of {name} ended with code {client.returncode}: {said[-500:]}")
            self._say(f"{name:10s} its client {said.strip()}")

    @staticmethod
    def _client(folder: Path) -> subprocess.Popen[str]:
        """What the line of `joining` would run in a container."""
        return subprocess.Popen(
            [sys.executable, "-m", "demo.fedota.client"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _round(self, person: Client, project: str) -> bool:
        """Whether a round is on record as completed, and its model is the coordinator's checkpoint to the byte."""

        def completed() -> list[a.ProjectRound]:
            rounds = person.rounds(project)
            return [one for one in rounds if one.stage == "COMPLETED" and one.model_version is not None]

        found = self._waited("a round is completed and its checkpoint is a model", completed, ROUND_WITHIN_S)[-1]
        (model,) = person.models(project)
        if model.artifact_id is None:
            raise DemoError(f"version {model.version} of {PROBLEM} has no artifact")
        _, content, _ = person.call("GET", f"/v1/artifacts/{model.artifact_id}")
        (there,) = [path.read_bytes() for path in self._initial_files() if path.name == CHECKPOINT]
        stages = ", ".join(one.stage for one in found.stages)
        self._say(f"round      {found.number}: {found.state}; the sidecar told the hub of {stages}")
        digest = hashlib.sha256(content).hexdigest()
        self._say(
            f"model      version {model.version}, {model.size_bytes} bytes, SHA-256 {digest[:16]}...",
        )
        return found.model_version == model.version and content == there

    # the end

    def _archived(self, person: Client, project: str) -> None:
        """The project is over: its parts are gone, as its cluster confirms."""
        person.write("DELETE", f"/v1/projects/{project}", None, a.Changed, key=draw_key())

        def stopped() -> list[a.Workload]:
            found = person.workloads(project)
            return found if all(one.state == "stopped" for one in found) else []

        ended = self._waited("the problem's parts have stopped", stopped, PARTS_WITHIN_S)
        self._say(f"archived   {', '.join(f'{one.name} {one.state}' for one in ended)}; its files are kept for a day")

    def _are_revoked(self, tokens: list[str], project: str) -> bool:
        """Whether each has stopped to work."""
        left = 0
        for token in tokens:
            try:
                Client(self.hub, token).joining(project)
                left += 1
            except Refused as error:
                left += not error.token_unknown
        self._say(f"tokens     {len(tokens) - left} of {len(tokens)} clients' tokens are revoked with the project\n")
        return left == 0
