"""A real hub and real agents, as processes; and a wire between them that a test can cut."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from fedyard.actions.site import joining_of
from fedyard.agent.consents import UNKNOWN, Join, Wanted
from fedyard.agent.site import Folder, Settings
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.sealed import sealing
from fedyard.tasks.settings import Tasks
from fedyard.wire.answers import Entry, Run, TaskRun
from tests.ops.program import ROOT, environment
from tests.prepared import AGENT, Prepared, Running
from tests.waiting import until

TASKS = "tests.fedyard.tasks_of_tests"
_NAMES = (
    "Gated",
    "Stubborn",
    "Failing",
    "Large",
    "Swapping",
    "Odd",
    "Picky",
    "Doubling",
    "Stepping",
    "Nonsense",
    "Counted",
)
ALLOWED = [f"{TASKS}:{name}" for name in _NAMES]

UNCONFINED = '\n[project."*"]\nconfine = { on = "never" }\n'
"""The tasks of tests note what they do in the site's folder."""


class World:
    """One hub for many tests; every test makes its own sites and projects in it."""

    def __init__(self, hub: str, admin_token: str, folder: Path = Path()) -> None:
        self.hub = hub
        self.admin_token = admin_token
        self.folder = folder
        self.admin = Client(hub, admin_token)
        self.organisation_id = self.admin.organisations()[0].id

    def sites(self, folder: Path, *names: str, hub: str | None = None, **settings: Any) -> list[SiteProcess]:
        return [SiteProcess(self, folder / name, hub or self.hub, **settings) for name in names]


class SiteProcess:
    """A site's folder and its agent. Its name is made unique by the folder."""

    def __init__(self, world: World, path: Path, hub: str, **settings: Any) -> None:
        self.folder = Folder(path)
        self.path = path
        self.name = f"{path.parent.name}-{path.name}"
        self._process: Running | None = None
        token = world.admin.create_enrolment(world.organisation_id).token
        assert token is not None
        settings.setdefault("tasks", Tasks(allow=ALLOWED))
        self.folder.create(Settings(hub=hub, name=self.name, **settings), token)
        text = (path / "site.toml").read_text()
        (path / "site.toml").write_text(
            text.replace("allow = []", f"allow = {ALLOWED!r}")
            .replace("= 5.0", "= 0.5")
            .replace("1073741824", "8388608")
            + UNCONFINED
        )
        self.site_id = self.folder.enrol(Settings(hub=world.hub, name=self.name))
        self.client = Client(world.hub, self.folder.token())

    def may_be_alone(self) -> SiteProcess:
        """As a coordinator it makes a model of a single update, too."""
        text = (self.path / "site.toml").read_text()
        (self.path / "site.toml").write_text(text.replace("min_updates = 2", "min_updates = 1"))
        return self

    def start(self, program: Prepared = AGENT) -> SiteProcess:
        """program: `SITE` for hooks that are started as agents do it."""
        with (self.path / "agent.log").open("ab") as log:
            self._process = program.start(
                *("--folder", self.path, "site", "run"),
                output=log,
                error=log,
                environment=environment(PYTHONPATH=str(ROOT)),
            )
        return self

    def serve(self, project_id: str) -> None:
        """As its people do with `project join`, but for asking the hub."""
        joining_of(self.folder, self.client).agree(self.client.project(project_id), Wanted(), "people")

    def join(self, project_id: str) -> None:
        """Consent, and be a member, if it does not coordinate the project."""
        self.serve(project_id)
        joining_of(self.folder, self.client).ask(self.client.project(project_id), "")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[psutil.Process]:
        """The first process of each task run at this site, by its folder: some are not the agent's own children."""
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if one.cwd() == str(self.path) and os.getsid(one.pid) == one.pid:
                    found.append(one)
        return found

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """The exit code; None if it was not running."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(how)
        code, self._process = self._process.wait(), None
        return code

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def hold(self, hook: str) -> None:
        """The site's hooks of this name wait from now on."""
        (self.path / f"hold-{hook}").touch()

    def release(self, hook: str) -> None:
        (self.path / f"hold-{hook}").unlink()

    def calls(self) -> list[str]:
        log = self.path / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def opened(self, message_id: str) -> bytes:
        """A message as this site reads it, wherever it was sealed for; it must be sealed."""
        body = self.client.message(message_id).body
        assert body is not None
        ring, trust = self.folder.keyring(), self.folder.trust(self.folder.settings())
        found, _ = sealing.read_seal(body)
        signers = {**trust.signers(), ring.site_id: ring.identity_key}
        opener = sealing.Opener(ring, signers, micros_now(), lambda _id, _expires: True)
        return sealing.open(body, found.address(), opener)

    def entries(self) -> list[Entry]:
        """Everything that the hub has put into the site's inbox."""
        return self.client.inbox(after=0, limit=200).items


@dataclass
class Project:
    """A project with one task, coordinated by its first site."""

    sites: list[SiteProcess]
    id: str

    @property
    def coordinator(self) -> Client:
        return self.sites[0].client

    def start(self) -> str:
        return self.coordinator.start_run(self.id, finish_within_s=100).id

    def run(self, run_id: str) -> Run:
        return self.coordinator.run(run_id)

    def task(self, run_id: str) -> TaskRun:
        return self.run(run_id).tasks[0]

    def seat(self, run_id: str, site: SiteProcess) -> str:
        """A seat's state and round, e.g. "training 1"."""
        found = next(s for s in self.task(run_id).seats if s.site_id == site.site_id)
        return f"{found.state} {found.round}"

    def stands(self, run_id: str, site: SiteProcess, seat: str) -> None:
        """Wait until a seat stands so."""
        until(lambda: self.seat(run_id, site) == seat)

    def finished(self, run_id: str) -> Run:
        return until(lambda: (run := self.run(run_id)).finished and run)


def project_of(
    sites: list[SiteProcess], *, model: str = "Gated", rounds: int = 2, sealed: str = "required", **options: Any
) -> Project:
    """Every site a member of a new project with one task. called: for sites that have had one already."""
    name = options.pop("called", f"project of {sites[0].name}")
    contract = {"select_within_s": 60, "train_within_s": 60, "aggregate_within_s": 60, **options.pop("contract", {})}
    task = {
        "name": "train",
        "model": model if ":" in model else f"{TASKS}:{model}",
        "rounds": rounds,
        "contract": contract,
        **options,
    }
    made = sites[0].client.create_project(name, [task], joining="open", sealed=sealed)
    for site in sites:
        site.join(made)
    return Project(sites, made)


def joining(project: str, coordinator: str = UNKNOWN) -> list[Join]:
    return [Join(project=project, coordinator=coordinator, notes="let me in")]


# a wire that can be cut

Fault = Callable[[str, str, bytes], str]
"""(method, path, body) -> what to do with a request.

"": let it through; "before": cut before it reaches the hub; "after": cut its answer; "refuse": 413 in its place.
"""


@dataclass
class Wire:
    """Between a site and its hub. `hold` keeps requests that match back until it is cleared."""

    url: str = ""
    fault: Fault = lambda _method, _path, _body: ""
    hold: Callable[[str, bytes], bool] = lambda _path, _body: False
    rewrite: Callable[[str, str, bytes], bytes] = lambda _method, _path, content: content
    """(method, path, what the hub answers) -> what the site gets: a hub that lies."""
    passed: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    """What the hub has seen: method, path, key, body."""
    held: threading.Event = field(default_factory=threading.Event)


@contextmanager
def wire_to(hub: str) -> Iterator[Wire]:
    wire, target = Wire(), urlsplit(hub).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if wire.hold(self.path, body):
                wire.held.set()
                until(lambda: not wire.hold(self.path, body))
                self._cut()
                return
            fault = wire.fault(self.command, self.path, body)
            if fault == "before":
                self._cut()
                return
            if fault == "refuse":
                self._answer(413, {"Content-Type": "application/problem+json"}, b'{"type": "/problems/too_large"}')
                return
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            content = wire.rewrite(self.command, self.path, content)
            wire.passed.append((self.command, self.path, self.headers.get("Idempotency-Key", ""), body))
            if fault == "after":
                self._cut()
                return
            kept = ("Location", "Retry-After", "Content-Type", "ETag", "Content-Range", "Accept-Ranges")
            self._answer(answer.status, {n: answer.headers[n] for n in kept if answer.headers.get(n)}, content)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        do_GET = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are part of the game."""

    server = Server(("127.0.0.1", 0), Handler)
    wire.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield wire
    finally:
        wire.hold = lambda _path, _body: False
        server.shutdown()
        thread.join()
        server.server_close()
