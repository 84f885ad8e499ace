"""The same model, trained by workloads: processes hold seats of the run, and one that is killed is started again.

North coordinates and trains as a site. East has given its records to the hub, in three parts: the hub starts a process
for each. South allows workloads at its own site: one runs there, beside records that stay where they are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from demo.clearing import ENDS_WITHIN_S, cleared
from demo.hospitals import LABEL, Records, split, write
from demo.problem import PROCESS_IMAGES, ProblemStage
from demo.processes import ROOT, DemoError
from demo.secrecy import short
from demo.stage import COORDINATOR, PROJECT, SITE, SOON_S
from fedyard.actions.site import joining_of
from fedyard.agent.site import Folder
from fedyard.cli.show import watch
from fedyard.client.client import Client
from fedyard.sealed.keys import fingerprint, words
from fedyard.tasks.reading.labelled import Labelled
from fedyard.wire.answers import Run, Seat, Workload

AT_HUB = ("east-1", "east-2", "east-3")
KILLED = AT_HUB[0]
HOST = "south"
"""The site at which a workload runs."""
AT_SITE = "south-yard"
BEGINS_AGAIN_WITHIN_S = 90.0
RUN_WITHIN_S = 300.0
FIRST_LINES, LINE = 4, 120
PROGRAM = ROOT / "demo" / "takes_part.sh"
IMAGE = "local/sh"
CLUSTER = f"""
[cluster]
kind = "processes"
projects = ["{PROJECT}"]
max_workloads = 1
[cluster.images]
"{IMAGE}" = ["/bin/sh"]
"""
"""What south's people write into its site.toml."""


class WorkloadsDemo(ProblemStage):
    """One telling of the story. Embedded alone: the hub's own machine is its cluster."""

    def tell(self) -> bool:
        """True if the run succeeded with all its seats, one of them under its second attempt, and nothing is left."""
        start = self.clock.monotonic()
        if set(" ,") & set(f"{ROOT}{sys.executable}"):
            raise DemoError(f"{ROOT} has a space or a comma in its path, which no list of images can have: move it")
        self._empty_folder()
        self.pids = self.chosen.folder / "pids"
        self.pids.mkdir()
        try:
            good = self._told()
        finally:
            self.processes.stop()  # nothing starts a workload any more, and none outlives the demo
            roots = [self.hub_folder / "workloads", self.chosen.folder / HOST / "workloads" / "processes"]
            left = cleared(roots, self._waited)
        self._say(f"left       {left or 'nothing'}, after hub and sites have stopped")
        good = good and not left
        took = self.clock.monotonic() - start
        self._say(f"\n{'Done' if good else 'NOT as it should be: exit code 1'}, after {took:.0f} s.")
        return good

    def _told(self) -> bool:
        records = split()
        images = {IMAGE: "/bin/sh", **PROCESS_IMAGES}
        self._start_hub({"FEDYARD_PROCESS_IMAGES": ",".join(f"{name}={words}" for name, words in images.items())})
        self.hub = self._address()
        admin = self._admin()
        self._say(f"hub        {self.hub} ({self.chosen.broker}); its cluster: the processes of this machine")
        self._say_page()
        project = self._project(admin, records)
        run_id = self.coordinator.start_run(project, finish_within_s=RUN_WITHIN_S).id
        self._say_who(project)
        self._kill(project, run_id)
        seats = self.coordinator.run(run_id).tasks[0].seats
        names = {seat.site_id: _short(seat) for seat in seats}
        run = watch(self.coordinator, run_id, names, self.console, site_id=self.coordinator.me().id)
        self._say("")
        held = self._seats(run)
        ended = self._ended(project)
        self._say_log(project)
        problem = self._problem_told(admin, records)
        self._say(f"Everything lies in {short(self.chosen.folder)}.")
        self._look()
        return run.state == "succeeded" and held and ended and problem

    # who takes part

    def _project(self, admin: Client, records: Records) -> str:
        """The project's id, once north leads it and south, at which a workload shall run, is a member."""
        for name in (COORDINATOR, HOST):
            self._settle(admin, name, records)
        self._start_agent(COORDINATOR)
        self.coordinator = self._client_of(COORDINATOR)
        self._start_agent(HOST)
        self._client_of(HOST)
        project = self.coordinator.create_project(PROJECT, [self._task(records)], joining="open")
        joining_of(self.folders[COORDINATOR], self.coordinator).lead(project, PROJECT)
        host = self.folders[HOST].site_id()
        self._waited(
            f"{HOST} is a member",
            lambda: any(m.site_id == host and m.state == "active" for m in self.coordinator.members(project)),
            SOON_S,
        )
        return project

    def _settle(self, admin: Client, name: str, records: Records) -> None:
        self.folders[name] = Folder(self.chosen.folder / name)
        folder = self.folders[name].path
        self._prepare(admin, name, [] if name == COORDINATOR else [self._join()])
        write(records.training[name], folder / "train.csv")
        write(records.test, folder / "test.csv")
        if name == HOST:
            with (folder / "site.toml").open("a") as settings:
                settings.write(CLUSTER)

    def _task(self, records: Records) -> dict[str, object]:
        """Seats: north's own, three of processes at the hub, one of a process at south."""
        held = [self._holder(name, "hub", self._part(name, number, records)) for number, name in enumerate(AT_HUB)]
        south = self.folders[HOST]
        held.append(self._holder(AT_SITE, f"site:{south.site_id()}", south.path))
        return {
            "name": "train",
            "model": "logistic_regression",
            "rounds": self.chosen.rounds,
            "parameters": {"label": LABEL, "local_epochs": 10, "learning_rate": 0.5, "l2": 0.001},
            "who": [self.folders[COORDINATOR].site_id()],
            "workloads": held,
        }

    def _part(self, name: str, number: int, records: Records) -> Path:
        """A third of east's records, in a folder of the hub's machine."""
        folder = self.chosen.folder / name
        folder.mkdir()
        east = records.training["east"]
        third = slice(number, None, len(AT_HUB))
        write(Labelled(rows=east.rows[third], labels=east.labels[third], features=east.features), folder / "train.csv")
        write(records.test, folder / "test.csv")
        return folder

    def _holder(self, name: str, where: str, data: Path) -> dict[str, object]:
        identity = self.folders[COORDINATOR].identity().public_key().public_bytes_raw()
        whose = words(fingerprint(identity))
        files = [str(data / "train.csv"), str(data / "test.csv")]
        spec = {
            "kind": "job",
            "image": IMAGE,
            "arguments": [str(PROGRAM), SITE, str(self.pids), *files, whose],
            "attempts": 3,
            "deadline_s": RUN_WITHIN_S,
            "grace_s": 5.0,
        }
        return {"name": name, "where": where, "spec": spec}

    # one is killed

    def _kill(self, project: str, run_id: str) -> None:
        """Kill a process that has begun to take part; back when another one holds its seat.

        So early the round waits for it: no model is sealed yet that the next attempt could not open.
        """
        workload = self._workload(project, KILLED)
        self._waited(f"{KILLED} takes part", lambda: self._takes_part(run_id, workload.id, 1), BEGINS_AGAIN_WITHIN_S)
        pid = int((self.pids / f"{workload.id}-1").read_text())
        os.kill(pid, signal.SIGKILL)
        self._say(f"\nkilled     process {pid}, which holds the seat of {KILLED}: nobody told the hub")
        self._waited(
            f"the hub has noticed that {KILLED} is gone",
            lambda: self._workload(project, KILLED).attempt > 1,
            BEGINS_AGAIN_WITHIN_S,
        )
        events = [event.partition(" ")[2] for event in self.coordinator.workload_log(workload.id, 1).events]
        self._say(f"noticed    what the cluster says of attempt 1: {'; '.join(events)}")
        self._waited(
            f"{KILLED} takes part again", lambda: self._takes_part(run_id, workload.id, 2), BEGINS_AGAIN_WITHIN_S
        )
        self._say(f"again      attempt 2 of {KILLED} holds the seat; what attempt 1 says is not heard any more\n")

    def _takes_part(self, run_id: str, workload: str, attempt: int) -> bool:
        """Whether that attempt has enrolled and prepares, or has come further."""
        seats = self.coordinator.run(run_id).tasks[0].seats
        return any(
            (seat.site_name or "").endswith(f" {workload} {attempt}") and seat.state != "invited" for seat in seats
        )

    # what it says

    def _say_who(self, project: str) -> None:
        self._say(f"\n{'seat':12s} {'where':6s} what holds it")
        self._say(f"{COORDINATOR:12s} {'-':6s} a site with an agent of its own; it coordinates, too")
        for one in self.coordinator.workloads(project):
            where = "hub" if one.where == "hub" else HOST
            self._say(f"{one.name:12s} {where:6s} workload {one.id}, {one.state}")
        self._say(
            f"\nWithout [cluster] in its site.toml nothing would run at {HOST}; its people have written:{CLUSTER}"
        )

    def _seats(self, run: Run) -> bool:
        """Whether every seat was held to the end, in words."""
        seats = run.tasks[0].seats
        done = [seat for seat in seats if seat.state == "done"]
        out = [f"{_short(seat)} ({seat.reason})" for seat in seats if seat.state != "done"]
        self._say(f"seats      {len(done)} done; out: {', '.join(out) or 'none'}")
        return len(done) == 1 + len(AT_HUB) + 1 and len(out) == 1

    def _ended(self, project: str) -> bool:
        """The run has ended, and so have those that held its seats: each is confirmed by its cluster."""

        def all_stopped() -> list[Workload]:
            found = self.coordinator.workloads(project)
            return found if all(one.state in ("stopped", "succeeded") for one in found) else []

        ended = self._waited("what held seats has stopped", all_stopped, ENDS_WITHIN_S)
        told = ", ".join(f"{one.name} {one.state} (attempt {one.attempt})" for one in ended)
        alive = [file.name for file in self.pids.iterdir() if _lives(int(file.read_text()))]
        self._say(f"stopped    with the run: {told}")
        self._say(f"processes  that still run: {', '.join(alive) or 'none'}")
        return not alive and {one.name: one.attempt for one in ended}[KILLED] == 2

    def _say_log(self, project: str) -> None:
        """What a workload has said is kept, of what was killed as of what was stopped."""
        for name, attempt in ((KILLED, 1), (AT_SITE, 1)):
            workload = self._workload(project, name)
            left = self.coordinator.workload_log(workload.id, attempt)
            if left.log is None:
                raise DemoError(f"attempt {attempt} at {name} left no log")
            lines = left.log.decode(errors="replace").splitlines()
            self._say(f"\nlog        of {name}, attempt {attempt}, as `fedyard workload log` shows it:")
            for line in lines[:FIRST_LINES]:
                self._say(f"  {line[:LINE]}")

    # finding and clearing

    def _workload(self, project: str, name: str) -> Workload:
        return next(one for one in self.coordinator.workloads(project) if one.name == name)


def _short(seat: Seat) -> str:
    """Of a workload its name and its attempt."""
    name, *of = (seat.site_name or seat.site_id).split(" ")
    return f"{name}/{of[1]}" if of else name


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
