"""`python -m chaos`: the kill tests. Exit code 0 if everything that shall be zero is, 1 if not, 2 if it cannot run."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from broker.management import ManagementError
from chaos import books
from chaos.announcing import Announcer
from chaos.compare import Books, compare, undone
from chaos.disk import unmount
from chaos.faults import Conductor, deck_of
from chaos.jobs import JOBS
from chaos.lying import Lying
from chaos.plan import Held
from chaos.report import Outcome, decided, recoveries, show, site_recoveries
from chaos.restoring import Restores
from chaos.setup import Cast
from chaos.site import STARTER
from chaos.stack import CLOCK, ChaosError, Stack
from chaos.watch import Watch
from chaos.working import Victims, going_on, running, working_of
from chaos.working import findings as findings_of
from devservers.installing import install_missing
from devservers.process import ServerError, temporary_folder
from fedyard.wire.plurals import counted
from ops.place import CHECKOUT, PASSED_THROUGH, InUse, only_hub_in
from storage.database import Database, DatabaseUnavailable, open_database

DRAIN_WITHIN_S = 300.0
GO_ON_WITHIN_S = 120.0
"""For sites to have recovered from a restore, and for agents to train again after a lie."""
FIGURES_AGE_S = 6.0
"""RabbitMQ's management API tells what was true five seconds ago."""
LOAD_ENDS_WITHIN_S = 90.0
WARM_UP_S = 6.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """From an empty folder to the table."""
    asked = _arguments()
    console = Console(width=110 if not sys.stdout.isatty() else None)
    for number in SIGNALS:
        signal.signal(number, _ended)
    try:
        with only_hub_in(asked.folder, PASSED_THROUGH):
            return _Test(asked, console).run()
    except (ChaosError, ServerError, ManagementError, DatabaseUnavailable, InUse) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Kill everything, lose nothing.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults happen (default 10)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the faults and of the load; drawn if it is not given"
    )
    parser.add_argument("--sites", type=int, default=25, help="sites of the load, five a project (default 25)")
    parser.add_argument(
        "--cluster", type=int, choices=(0, 1), default=0, help="1: RabbitMQ as a cluster of three nodes"
    )
    parser.add_argument("--only", default="", help="only faults with these words, e.g. 'kill decider'")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "var" / "chaos", help="for ledgers and logs")
    return parser.parse_args()


def _ended(_signal: int, _frame: FrameType | None) -> None:
    """End everything in order, once; whoever is impatient must not leave processes behind."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Load:
    """The load process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with (folder / "load.log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "chaos.load", str(folder)],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def await_quiet(self) -> None:
        """Bounded by the load itself, which gives a command up some time."""
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> None:
        """What it wrote is complete when this returns."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(LOAD_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def held(self) -> Held:
        return msgspec.json.decode((self._folder / "held.json").read_bytes(), type=Held)


class _Test:
    def __init__(self, asked: argparse.Namespace, console: Console) -> None:
        self.asked, self.console = asked, console
        self.seed = asked.seed if asked.seed is not None else CLOCK.now() % 1_000_000
        self.folder: Path = asked.folder
        self.began = CLOCK.monotonic()

    def say(self, text: str) -> None:
        self.console.print(f"{CLOCK.monotonic() - self.began:6.1f} s  {text}", highlight=False, markup=False)

    def run(self) -> int:
        self._tidy()
        install_missing()
        servers = temporary_folder()
        (self.folder / "servers").write_text(f"{servers}\n")
        self.say(f"seed {self.seed}; logs and ledgers in {self.folder}")
        try:
            with Stack(self.folder, servers, nodes=3 if self.asked.cluster else 1) as stack:
                self.say(f"the hub is ready at {stack.api}")
                outcome = self._tested(stack)
        finally:
            shutil.rmtree(servers, ignore_errors=True)
        show(outcome, self.console)
        return 0 if outcome.good else 1

    def _tidy(self) -> None:
        """Away with the last test's files, and with its disk if it was killed."""
        known = self.folder / "servers"
        if known.exists():
            servers = Path(known.read_text().strip())
            unmount(servers / "disk")
            shutil.rmtree(servers, ignore_errors=True)
        for path in self.folder.iterdir():
            if path.name == "lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _tested(self, stack: Stack) -> Outcome:
        with ExitStack() as ending:
            cast = Cast(stack, self.folder, sites=self.asked.sites, seed=self.seed)
            plan = cast.plan()
            (self.folder / "plan.json").touch(mode=0o600)
            (self.folder / "plan.json").write_bytes(msgspec.json.encode(plan))
            watch = Watch(stack.database_url, cast.agent_sites)
            ending.callback(watch.stop)
            watch.start()
            load = _Load(self.folder)
            ending.callback(load.end)
            self.say(f"{len(plan.sites)} sites and two agents are at work")
            CLOCK.sleep(WARM_UP_S)
            restores = Restores(stack, cast)
            lying = Lying(cast.between, self.folder, self.folder / "agents.log", self.say)
            victims = Victims(cast.books)
            announcer = Announcer(stack.kafka, self.seed)
            ending.callback(announcer.quiet)
            announcer.start()
            others = [restores.fault(), *lying.faults(), *victims.faults(), *announcer.faults(stack.kafka_thread)]
            whole = deck_of(stack, cast.agents, cast.site_links, cast.flood, others)
            deck = [fault for fault in whole if self.asked.only in str(fault)]
            conductor = Conductor(deck, random.Random(self.seed), CLOCK, self.say)
            conductor.run(self.asked.minutes * 60)
            self.say("no more faults")
            database = open_database(stack.database_url, pool=2, name="chaos")
            ending.callback(database.close)
            load_sites = [site.id for site in plan.sites]
            went_on = self._go_on(stack, database, [*load_sites, *cast.agent_sites.values()], restores, lying)
            announcer.quiet()
            announced = partial(announcer.all_taken, database)
            drained = self._drain(stack, load, database, load_sites, cast.books, announced)
            ledgers = books.ledgers_in(self.folder / "ledgers")
            decisions = decided(ledgers)
            projects = {site.id: site.project_id for site in plan.sites}
            projects |= dict.fromkeys((STARTER, JOBS), plan.starter.project_id)
            trouble = [one.error for one in conductor.history if one.error]
            if drained is None:
                trouble.append(f"not everything had drained after {DRAIN_WITHIN_S:.0f} s")
            held = load.held()
            store = books.store_of(database, stack, restores.done, cast.folders)
            working = working_of(database, cast.books, victims, store)
            findings = {
                **compare(ledgers, store, _started(ledgers, projects)),
                **findings_of(working),
                **announcer.findings(database),
                "lies that were believed": [*lying.believed(), *_falsely_succeeded(database, cast)],
                "lies that were not named": lying.not_named(),
                "sites that did not go on": went_on,
            }
            bugs = held.statuses.get("500", 0)
            return Outcome(
                seconds=self.asked.minutes * 60,
                seed=self.seed,
                history=conductor.history,
                recoveries=recoveries(conductor.history, decisions, watch),
                recovered=site_recoveries(ledgers, [one.ready_at for one in restores.done]),
                undone=undone(ledgers, store),
                held=held,
                decided=len(decisions),
                runs=list(books.run_reasons(database)),
                attempts=Counter(one.state for one in working.attempts.values()),
                drained_s=drained,
                findings={**findings, "requests answered 500": [f"{bugs} of them: see hub.log"] if bugs else []},
                trouble=trouble,
                left_out=[f"disk full for PostgreSQL: {stack.no_disk}"] if stack.no_disk else [],
            )

    def _go_on(self, stack: Stack, database: Database, sites: list[str], restores: Restores, lying: Lying) -> list[str]:
        """Wait until all sites have recovered, and agents train that were lied to; a sentence for who does not."""
        end = CLOCK.monotonic() + GO_ON_WITHIN_S
        stack.await_ready()
        while True:
            missing = books.not_recovered(database, sites) if restores.done else 0
            waiting = lying.waiting_for()
            if not (missing or waiting) or CLOCK.monotonic() > end:
                break
            CLOCK.sleep(0.5)
        found = [f"{name} had no update taken after the last lie that it was told" for name in waiting]
        return [*found, f"{counted(missing, 'site')} did not recover from the last restore"] if missing else found

    def _drain(
        self,
        stack: Stack,
        load: _Load,
        database: Database,
        sites: list[str],
        programs: Path,
        announced: Callable[[], bool],
    ) -> float | None:
        """Let everything come to rest; how long that took, None if it did not."""
        begin = CLOCK.monotonic()
        stack.await_ready()
        load.tell("quiet")
        load.await_quiet()
        drained: float | None = None
        while drained is None and CLOCK.monotonic() < begin + DRAIN_WITHIN_S:
            is_drained = _is_drained(stack, database, sites) and not running(programs)
            if is_drained and announced():
                drained = CLOCK.monotonic() - begin
            else:
                CLOCK.sleep(0.5)
        load.tell("over")
        load.end()
        self.say("drained" if drained is not None else "NOT drained")
        CLOCK.sleep(FIGURES_AGE_S)
        return drained


def _falsely_succeeded(database: Database, cast: Cast) -> list[str]:
    runs = {run for between in cast.between.values() for run in between.aggregated_falsely}
    return [f"run {run} succeeded, and its aggregation was a lie" for run in books.succeeded(database, sorted(runs))]


def _is_drained(stack: Stack, database: Database, sites: list[str]) -> bool:
    with database.connection():
        left = database.one(
            "SELECT (SELECT count(*) FROM runs WHERE state IN ('created', 'running')), "
            "(SELECT count(*) FROM outbox), "
            "(SELECT count(*) FROM mailboxes WHERE acknowledged_seq < last_seq AND site_id {any:uuid})",
            database.many(sites),
        )
    return left == (0, 0, 0) and not going_on(database) and not any(books.queued(stack).values())


def _started(ledgers: Mapping[str, Books], projects: Mapping[str, str]) -> dict[str, set[str]]:
    """Project -> ids of the commands that start its runs."""
    found: dict[str, set[str]] = {}
    for site, book in ledgers.items():
        ids = {id for id, asked in book.asked.items() if asked.kind == "start_run"}
        found.setdefault(projects[site], set()).update(ids)
    return found


if __name__ == "__main__":
    sys.exit(main())
