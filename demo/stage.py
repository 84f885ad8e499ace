"""What every story of the demo begins with: an empty folder, a hub, an admin's account; and how it tells and waits."""

from __future__ import annotations

import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from rich.console import Console

from demo.processes import ROOT, DemoError, Processes
from fedyard.agent.consents import Join
from fedyard.agent.site import Folder, Settings
from fedyard.client.client import Client
from fedyard.clock import Clock, SystemClock, draw_key, utc_now
from fedyard.sealed.keys import fingerprint, words
from fedyard.tasks.settings import Tasks
from fedyard.wire.durable import write_whole

T = TypeVar("T")

HUB = str(ROOT / "bin" / "fedyard-hub")
SITE = str(ROOT / "bin" / "fedyard")
ORGANISATION = "The demo's hospitals"
PROJECT = "breast-cancer"
COORDINATOR = "north"
READY_WITHIN_S = 90.0
SOON_S = 30.0
LOOK_EVERY_S = 0.1
LINK_GOOD_FOR_S = 3600.0


@dataclass(frozen=True)
class Chosen:
    """What the caller wants. folder: emptied first; everything of the demo lies in it. look: the hub stays up."""

    broker: str
    rounds: int
    folder: Path
    look: bool = False


class Stage(ABC):
    """Where a story is told.

    project_name: before the mark. data: what each hospital's site.toml names, name -> file. allow: models of its own.
    """

    project_name: ClassVar[str] = PROJECT
    data: ClassVar[Mapping[str, str]] = {"train": "train.csv", "test": "test.csv"}
    allow: ClassVar[Sequence[str]] = ()

    def __init__(self, chosen: Chosen, processes: Processes, console: Console, clock: Clock | None = None) -> None:
        self.chosen = chosen
        self.processes = processes
        self.console = console
        self.clock = clock or SystemClock()
        self.hub_folder = chosen.folder / "hub"
        self.token_file = chosen.folder / "admin.token"
        self.hub = ""
        """The address, once it is ready."""
        self.mark = ""
        self.folders: dict[str, Folder] = {}

    @abstractmethod
    def tell(self) -> bool:
        """True if everything went as it should."""

    def _empty_folder(self) -> None:
        shutil.rmtree(self.chosen.folder, ignore_errors=True)
        # PostgreSQL's account must get through to its data; what is in here is for its owner only, one by one.
        self.chosen.folder.mkdir(parents=True)
        self.chosen.folder.chmod(0o711)

    def _start_hub(self, settings: Mapping[str, str] | None = None, port: int = 0) -> None:
        """settings: of the hub's environment, beside what it has. port: where it listens; 0: where there is room."""
        verb = ["embedded", "--port", str(port)] if self.chosen.broker == "embedded" else ["up"]
        command = [HUB, *verb, "--data", str(self.hub_folder)]
        self.processes.start("the hub", command, self.chosen.folder / "hub.log", settings)

    def _address(self) -> str:
        """The hub's, as soon as it is ready."""
        log = self.chosen.folder / "hub.log"

        def ready() -> str:
            lines = log.read_text(errors="replace").splitlines()
            return next((line.removeprefix("ready ") for line in lines if line.startswith("ready http")), "")

        return self._waited("the hub is ready", ready, READY_WITHIN_S)

    def _admin(self) -> Client:
        """An admin's account; its token lies in a file that only its owner can read."""
        asked = ["account", "create", "--data", str(self.hub_folder), "--name", "demo", "--organisation", ORGANISATION]
        made = subprocess.run(  # noqa: S603 - the operator's own program
            [HUB, *asked, "--role", "admin"], cwd=ROOT, capture_output=True, text=True, timeout=SOON_S, check=False
        )
        facts = dict(line.split(None, 1) for line in made.stdout.splitlines() if " " in line)
        if made.returncode or "token" not in facts:
            raise DemoError(f"no account could be created: {made.stderr.strip()[-500:]}")
        write_whole(self.token_file, facts["token"].encode())
        self.organisation_id = facts["organisation"]
        self.admin = Client(self.hub, facts["token"])
        return self.admin

    def _say_page(self) -> None:
        """Where the demo's admin can look: a link that signs in once."""
        code = self.admin.write("POST", "/v1/sign-ins", {"for_s": LINK_GOOD_FOR_S}, dict, key=draw_key())["token"]
        self._say(f"page       {self.hub}/page/sign-in?code={code}  (signs in once, within the hour)")

    def _look(self) -> None:
        """With LOOK=1 the hub stays up until somebody has seen enough."""
        if not self.chosen.look:
            return
        self._say("\nThe hub stays up for looking. Ctrl-C ends it.\n")
        self._say_page()
        never = threading.Event()
        try:
            while True:
                self.processes.check()
                self.clock.wait(never, LOOK_EVERY_S)
        except KeyboardInterrupt:
            self._say("")

    def _mark(self, admin: Client) -> str:
        """Names are unique in a network: in one that has seen a demo before, this one's get a mark."""
        taken = any(site.name == COORDINATOR for site in admin.sites()) or admin.projects(name=self.project_name)
        return f"-{utc_now():%m%d-%H%M%S}" if taken else ""

    # the sites

    def _prepare(self, admin: Client, name: str, joins: list[Join]) -> None:
        """A folder as `fedyard site init` makes it; the hospital's own records come beside it."""
        enrolment = admin.create_enrolment(self.organisation_id, note=f"hospital {name}")
        assert enrolment.token is not None
        settings = Settings(
            hub=self.hub,
            name=name + self.mark,
            description=f"hospital {name} of the demo",
            join=joins,
            data=dict(self.data),
            tasks=Tasks(allow=list(self.allow)),
        )
        self.folders[name].create(settings, enrolment.token)

    def _join(self) -> Join:
        """What the others are told by telephone: the project's name, and the twelve words of who leads it."""
        identity = self.folders[COORDINATOR].identity().public_key().public_bytes_raw()
        return Join(project=self.project_name + self.mark, coordinator=words(fingerprint(identity)))

    def _start_agent(self, name: str) -> None:
        command = [SITE, "--folder", str(self.folders[name].path), "site", "run"]
        self.processes.start(f"the agent of {name}", command, self.chosen.folder / f"{name}.log")

    def _client_of(self, name: str) -> Client:
        folder = self.folders[name]
        self._waited(f"{name} is enrolled", (folder.path / "site.id").exists, SOON_S)
        return Client(self.hub, folder.token())

    # what it says

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _waited(self, what: str, fact: Callable[[], T], within_s: float) -> T:
        """The fact, once it is true; `DemoError` if it takes too long or a process has ended."""
        end, never = self.clock.monotonic() + within_s, threading.Event()
        while self.clock.monotonic() < end:
            found = fact()
            if found:
                return found
            self.processes.check()
            self.clock.wait(never, LOOK_EVERY_S)
        raise DemoError(f"waited {within_s:.0f} s in vain until {what}; the logs lie in {self.chosen.folder}")
