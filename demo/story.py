"""The demo's story, from an empty folder to the comparison."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.table import Table as Rows

from demo import alone, secrecy
from demo.federation import CONTRACT, Federation
from demo.hospitals import LABEL, Records, split, write
from demo.processes import ROOT, DemoError
from demo.secrecy import short
from demo.stage import COORDINATOR, PROJECT, SOON_S
from fedyard.actions.models import model_of
from fedyard.client.client import Client
from fedyard.sealed.keys import fingerprint, words
from fedyard.tasks.arrays import unpack
from fedyard.wire.answers import Run

PARAMETERS: dict[str, object] = {"label": LABEL, "local_epochs": 10, "learning_rate": 0.5, "l2": 0.001}


class Demo(Federation):
    """One telling of the story."""

    about = "Is a tumour malignant?"
    data_format = "CSV, 30 measurements, label"

    def tell(self) -> bool:
        """True if the run succeeded, the federated model beats the mean local-only one, and the hub knows nothing."""
        start = self.clock.monotonic()
        self._empty_folder()
        self._start_hub()
        records = split()
        self._say_records(records)
        admin = self._let_in()
        project_id = self._gathered(admin, records)
        self._say(f"payloads   sealed by who sends them, opened by who they are for: {self._sealed(project_id)}")
        self._say_fingerprints()
        run = self._trained(project_id)
        good = run.state == "succeeded" and all((self._compared(run, records), self._pinned(), self._secret(run)))
        self._say_where(run)
        return self._ended(start, good=good)

    # the sites

    def _gathered(self, admin: Client, records: Records) -> str:
        """The project's id, once every hospital is enrolled and a member."""

        def settled(folder: Path, name: str) -> None:
            write(records.training[name], folder / "train.csv")
            write(records.test, folder / "test.csv")

        return self._federated(admin, list(records.training), settled, [self._task()])

    def _task(self) -> dict[str, object]:
        return {
            "name": "train",
            "model": "logistic_regression",
            "rounds": self.chosen.rounds,
            "parameters": PARAMETERS,
            "contract": CONTRACT,
        }

    # the run

    def _compared(self, run: Run, records: Records) -> bool:
        """Federated against alone and against all in one place; True if it beats the mean of those alone."""
        message_id = run.tasks[0].model_message_id
        if message_id is None:
            raise DemoError(f"run {run.id} has succeeded without a model")
        folder = self.folders[COORDINATOR]
        model = model_of(folder, self.coordinator, run.project_id, message_id, folder.path / "compared.packed")
        federated = alone.accuracy(unpack(model), records.test, PARAMETERS)
        local = {
            name: alone.trained(table, records.test, PARAMETERS, self.chosen.rounds)
            for name, table in records.training.items()
        }
        mean = sum(local.values()) / len(local)
        pooled = alone.trained(records.pooled(), records.test, PARAMETERS, self.chosen.rounds)
        table = Rows(title=f"accuracy on the {len(records.test.rows)} patients held out", title_justify="left")
        table.add_column("model")
        table.add_column("accuracy", justify="right")
        for name, value in local.items():
            table.add_row(f"{name} alone", f"{value:.3f}")
        table.add_row("mean of those alone", f"{mean:.3f}", style="bold")
        table.add_row("federated, records stay where they are", f"{federated:.3f}", style="bold")
        table.add_row("all records in one place", f"{pooled:.3f}", style="bold")
        self._say("")
        self.console.print(table)
        return federated > mean

    # what is secret

    def _sealed(self, project_id: str) -> str:
        """The project's own word on it."""
        sealed = self.coordinator.project(project_id).sealed
        if sealed != "required":
            raise DemoError(f"project {project_id} says that sealing is {sealed}, and it should be required")
        return sealed

    def _pinned(self) -> bool:
        """True if every hospital has pinned the others' very identities, which it has from the hub."""
        own = {folder.site_id(): folder.keyring().identity_key for folder in self.folders.values()}
        wrong = []
        for name, folder in self.folders.items():
            pins = folder.trust(folder.settings()).pins()
            for other, identity in own.items():
                if other != folder.site_id() and (other not in pins or pins[other].identity != identity):
                    wrong.append(f"{name} of {other}")
        if wrong:
            self._say(f"\npinned     NOT the same fingerprints: {', '.join(wrong)}")
        else:
            self._say(f"\npinned     each of the {len(own)} agents has pinned these fingerprints for the other two")
        return not wrong

    def _secret(self, run: Run) -> bool:
        """True if the hub's files hold the sealed updates and models, and nothing of what is in them."""
        found = secrecy.payloads(self.folders[COORDINATOR], self.coordinator, run)
        places = self._hub_places()
        sites = [folder.path for folder in self.folders.values()]
        said = secrecy.search(found, places, sites, self.chosen.folder)
        updates = sum(payload.kind == "update" for payload in found)
        whose = f"{updates} updates and {len(found) - updates} models"
        self._say(f"searched   the hub's {secrecy.size_of(places) / 1e6:.0f} MB of files, for pieces of {whose}")
        at_sites = f"(in the hospitals' folders: {_listed(said.at_sites)})"
        self._say(f"opened     {said.opened_count:6d} pieces, at the hub: {_listed(said.opened)} {at_sites}")
        self._say(f"sealed     {said.sealed_count:6d} pieces, at the hub: {_listed(said.sealed)}")
        if said.opened:
            self._say("           THE HUB CAN READ what the hospitals sent to each other")
        self._say("\nSearch by yourself: the first line finds nothing, the second the files with the sealed bytes.\n")
        for line in said.lines:
            self._say(f"  {line}")
        return said.good

    def _hub_places(self) -> list[Path]:
        """Everything of the hub's: its folder, its log, and where PostgreSQL's data were moved to, if they were."""
        places = [self.hub_folder, self.chosen.folder / "hub.log"]
        moved = self.hub_folder / "postgres" / "moved"
        return [*places, Path(moved.read_text().strip())] if moved.exists() else places

    # what it says

    def _say_records(self, records: Records) -> None:
        for name, table in records.training.items():
            share = 100 * table.labels.mean()
            self._say(f"{name:10s} {len(table.rows):3d} patients to train on, {share:2.0f} % malignant")
        self._say(f"held out   {len(records.test.rows):3d} patients, for everybody to test on")

    def _say_fingerprints(self) -> None:
        """Twelve words for each hospital, from its own folder: what its people would read out to the others."""
        self._say("\nfingerprints, each from the hospital's own folder")
        for name, folder in self.folders.items():
            self._say(f"{name:10s} {words(fingerprint(folder.keyring().identity_key))}")
        self._say("")

    def _say_where(self, run: Run) -> None:
        """Where everything lies, and lines that work: they are run here, before they are believed."""
        folder, fedyard = short(self.chosen.folder), _program("fedyard-hub")
        token = f'-H "Authorization: Bearer $(cat {folder / "admin.token"})"'
        lines = [
            f"curl -s {token} {self.hub}/v1/runs/{run.id}",
            f"curl -s {token} '{self.hub}/v1/runs/{run.id}/events?limit=5'",
            f"curl -s {token} {self.hub}/v1/sites",
            f"curl -s {token} {self.hub}/v1/projects/{run.project_id}/models",
        ]
        logs = f"{_program('fedyard')} --folder {folder / COORDINATOR} logs {PROJECT}{self.mark}/{run.number}"
        port = urlsplit(self.hub).port
        if self.chosen.broker == "embedded":
            again = f"{fedyard} embedded --data {folder / 'hub'} --port {port}"
            store = f"{folder / 'hub' / 'store.sqlite'} (SQLite)"
        else:
            again = f"FEDYARD_WEB_PORT={port} {fedyard} up --data {folder / 'hub'}"
            store = f"PostgreSQL in {folder / 'hub' / 'postgres'}"
        self._say(f"\nThe store is {store}; each hospital's folder and log lie in {folder}.")
        until = "once you have ended it with Ctrl-C" if self.chosen.look else "since it stops with the demo"
        self._say(f"Start the hub again on the same store, {until}:\n\n  {again}\n\nand look at it:\n")
        for line in lines:
            self._say(f"  {line}")
        self._say(f"\nWhat the tasks have said, sealed, too; {COORDINATOR} can open all of it:\n\n  {logs}")
        portal = f"{_program('fedyard')} --folder {folder / COORDINATOR} site portal"
        self._say(f"\n{COORDINATOR} in a browser: what left it, its models, its keys:\n\n  {portal}")
        self._prove(lines)
        self._prove_logs(logs)

    def _prove(self, lines: list[str]) -> None:
        """Run the very lines while the hub is up; each must answer with JSON and no problem."""
        if shutil.which("curl") is None:
            self._say("\n(there is no curl here, so these lines were not tried)")
            return
        for line in lines:
            ran = subprocess.run(  # noqa: S602 - the line as it was printed
                f"{line} --fail", shell=True, capture_output=True, timeout=SOON_S, check=False
            )
            try:
                msgspec.json.decode(ran.stdout)
            except msgspec.DecodeError:
                raise DemoError(f"this line does not work (curl's code {ran.returncode}): {line}") from None

    def _prove_logs(self, line: str) -> None:
        """Run the line until it shows what every hospital said in the last round: it may be on its way.

        What one said before that comes before it.
        """

        last = f"task 1 round {self.chosen.rounds}"

        def shown() -> bool:
            ran = subprocess.run(  # noqa: S602 - the line as it was printed
                line, shell=True, capture_output=True, text=True, timeout=SOON_S, check=False
            )
            return ran.returncode == 0 and all(f" {name}{self.mark} {last}  " in ran.stdout for name in self.folders)

        self._waited(f"this line shows every hospital's whole log: {line}", shown, SOON_S)


def _program(name: str) -> str:
    """One of the checkout's two programs, as people type it here."""
    program = ROOT / "bin" / name
    return str(short(program)) if ROOT.is_relative_to(Path.cwd()) else str(program)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
