"""What a site's side costs: simulating, an agent's memory, noise on updates, and `fedyard task try`.

`sites` needs the board's hub for the agent alone. Each figure that is a time has beside it what it is compared with,
measured in the same minutes: the hooks called without anything around them, packing without noise, a command that does
nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.board import Board
from benchmarks.cases.pages import admin
from config.clock import draw_id
from fedyard.actions.site import joining_of
from fedyard.agent.consents import Wanted
from fedyard.agent.site import Folder, Settings
from fedyard.client.client import Client
from fedyard.simulating.simulation import simulate
from fedyard.tasks import Content, Context, Update
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.logistic_regression import LogisticRegression
from fedyard.tasks.privacy import Filter, Privacy
from fedyard.tasks.privacy.accounting import spent_with
from fedyard.tasks.privacy.noise import filtered
from fedyard.tasks.settings import Tasks
from ops.place import CHECKOUT

ROWS, FEATURES = 200, 10
SMALL, TIMES = 1_000, 20
PRIVACY = Privacy(clip=1.0, noise=8.0, epsilon=10.0)
WITHIN_S = 600.0
LOOK_EVERY_S = 0.02
SETTLE_S = 3.0
"""An agent that has just started is not idle."""
BULK = """
import numpy as np

from fedyard import Result, Task


class Bulk(Task):
    def train(self, context, model):
        return Result({"w": np.ones(context.parameters["numbers"], np.float32)} if model is None else model)

    def aggregate(self, context, updates):
        return Result(updates[0].content)
"""

MEANS = """
import numpy as np

from fedyard import Result, Task


class Means(Task):
    def prepare(self, context):
        self.rows = np.loadtxt(context.data["train"], delimiter=",", skiprows=1)

    def train(self, context, model):
        return Result({"means": self.rows.mean(axis=0)})

    def aggregate(self, context, updates):
        return Result({"means": np.mean([update.content["means"] for update in updates], axis=0)})
"""


def measure(board: Board) -> None:
    folder = board.yard.folder / f"sites-{draw_id()}"
    folder.mkdir(parents=True)
    _measure_simulating(board, folder)
    _measure_noise(board, folder)
    _measure_trying(board, folder)
    _measure_memory(board, folder)


# simulating


def _measure_simulating(board: Board, folder: Path) -> None:
    files = [_table(folder / f"site-{number:02d}.csv", number) for number in range(board.sizes.simulated_sites)]
    rounds = board.sizes.simulated_rounds
    runs = range(board.sizes.runs)
    board.add("simulate_s", "10x50", [_timed(lambda: _simulated(files, rounds)) for _ in runs])
    board.add("simulate_s", "10x50 processes", [_timed(lambda: _simulated(files, rounds, processes=True))])
    board.add("simulate_s", "10x50 bare", [_timed(lambda: _bare(files, rounds, folder)) for _ in runs])


def _simulated(files: list[Path], rounds: int, *, processes: bool = False) -> None:
    run = simulate("logistic_regression", [str(file) for file in files], rounds=rounds, processes=processes)
    assert run.state == "succeeded", run.reason


def _bare(files: list[Path], rounds: int, folder: Path) -> None:
    """The same hooks on the same files, and nothing between them."""
    tasks = [LogisticRegression() for _ in files]
    sites = [_context(folder, f"site-{place:02d}", {"train": file}, rounds, 1) for place, file in enumerate(files)]
    for task, site in zip(tasks, sites, strict=True):
        task.validate({})
        task.prepare(site)
    model: Content | None = None
    coordinator = LogisticRegression()
    coordinator.validate({})
    for number in range(1, rounds + 1):
        updates = []
        for task, file in zip(tasks, files, strict=True):
            context = _context(folder, file.stem, {"train": file}, rounds, number)
            result = task.train(context, model)
            updates.append(Update(file.stem, result.content, dict(result.metrics)))
        model = coordinator.aggregate(_context(folder, "coordinator", {}, rounds, number), updates).content


def _context(folder: Path, site_id: str, data: Mapping[str, Path], rounds: int, number: int) -> Context:
    return Context(
        site_id=site_id,
        run_id="bare",
        task="train",
        round=number,
        rounds=rounds,
        parameters={},
        data=dict(data),
        folder=folder,
        seed=1,
        site_seed=1,
        stopping=lambda: False,
        log=lambda _text: None,
    )


def _table(path: Path, seed: int) -> Path:
    """Rows of numbers with a label, as a site would export them."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(ROWS, FEATURES))
    labels = (rows.sum(axis=1) + generator.normal(size=ROWS) > 0).astype(int)
    names = ",".join([*(f"x{number}" for number in range(FEATURES)), "label"])
    lines = [",".join([*(f"{one:.6f}" for one in row), str(label)]) for row, label in zip(rows, labels, strict=True)]
    path.write_text("\n".join([names, *lines]) + "\n")
    return path


# noise


def _measure_noise(board: Board, folder: Path) -> None:
    """Of an update in a file, as large ones are; and of one that is small, with its place in the budget."""
    size = board.sizes.model_bytes
    update: dict[str, np.ndarray] = {"w": np.linspace(0, 1, size // 4, dtype=np.float32)}
    path = folder / "update.packed"
    plain, noised = [], []
    for _ in range(board.sizes.runs):
        plain.append(_timed(lambda: pack(update, large=path)))
        noised.append(_timed(lambda: pack(_filtered(update, path), large=folder / "noised.packed")))
    path.unlink(missing_ok=True)
    (folder / "noised.packed").unlink(missing_ok=True)
    board.add("noise_s", "500 MB plain", plain)
    board.add("noise_s", "500 MB", noised)
    board.add("noise_s", "500 MB to plain", [with_ / without for with_, without in zip(noised, plain, strict=True)])
    small = {"w": np.zeros(SMALL)}
    spent_with(Filter(PRIVACY))  # loads the accountant, once in a process

    def often() -> None:
        for _ in range(TIMES):
            spent_with(Filter(PRIVACY))
            filtered(small, small, PRIVACY)

    board.add("noise_ms", f"{SMALL} numbers", [1000 * _timed(often) / TIMES for _ in range(board.sizes.runs)])


def _filtered(update: Content, path: Path) -> Content:
    """As after a hook: the model that came is read once more, to measure from."""
    model = unpack(path) if path.exists() else None
    return filtered(update, model, PRIVACY).arrays


# trying


def _measure_trying(board: Board, folder: Path) -> None:
    table = _table(folder / "train.csv", 0)
    site = Folder(folder / "tried")
    site.create(Settings(hub=board.hub.url, name="tried", data={"train": str(table)}), "one-time")
    toml = site.path / "site.toml"
    words = "\n".join(f"{name} = {getattr(PRIVACY, name)}" for name in ("clip", "noise", "epsilon"))
    toml.write_text(f"{toml.read_text()}\n[project.noisy.privacy]\n{words}\n")
    (folder / "means.py").write_text(MEANS)
    at = ("--folder", str(site.path), "task", "try", f"{folder / 'means.py'}:Means")
    for case, arguments in {
        "plain": at,
        "with noise": (*at, "--project", "noisy"),
        "no command": ("--version",),
    }.items():
        board.add("try_s", case, [_timed(partial(_command, *arguments)) for _ in range(board.sizes.runs)])


def _command(*arguments: str) -> None:
    done = subprocess.run([*_FEDYARD, *arguments], check=False, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stdout + done.stderr


# memory


def _measure_memory(board: Board, folder: Path) -> None:
    """A site that coordinates itself, sealed, in files: the agent and the process of its task's hooks."""
    site, client = _site(board, folder / "bulk")
    with _running(site) as agent:
        time.sleep(min(SETTLE_S, board.sizes.settle_s))
        board.add("site_rss_mb", "agent idle", [agent.memory_info().rss / 1e6])
        parameters = {"numbers": board.sizes.model_bytes // 4}
        task = {"name": "bulk", "model": "bulk:Bulk", "rounds": 2, "parameters": parameters}
        project = client.create_project(f"bulk {draw_id()}", [task], sealed="required")
        joining_of(site, client).agree(client.project(project), Wanted(), "people")
        run_id, peaks, end = client.start_run(project).id, {"agent": 0.0, "hooks": 0.0}, time.monotonic() + WITHIN_S
        while not (run := client.run(run_id)).finished:
            assert time.monotonic() < end, f"run {run_id} is not finished: {site.path}/agent.log"
            _look(agent, peaks)
            time.sleep(LOOK_EVERY_S)
        assert run.state == "succeeded", (site.path / "agent.log").read_text()
        board.add("site_rss_mb", "agent 500 MB", [_peak(agent)])
        board.add("site_rss_mb", "hooks 500 MB", [peaks["hooks"]])


def _site(board: Board, path: Path) -> tuple[Folder, Client]:
    people = Client(board.hub.url, admin(board.hub))
    token = people.create_enrolment(people.organisations()[0].id).token
    assert token is not None
    site, settings = (
        Folder(path),
        Settings(hub=board.hub.url, name=f"bulk-{draw_id()}", tasks=Tasks(allow=["bulk:Bulk"])),
    )
    site.create(settings, token)
    toml = path / "site.toml"
    toml.write_text(
        toml.read_text().replace("allow = []", 'allow = ["bulk:Bulk"]').replace("min_updates = 2", "min_updates = 1")
    )
    (path / "bulk.py").write_text(BULK)
    site.enrol(site.settings())
    return site, Client(board.hub.url, site.token())


@contextmanager
def _running(site: Folder) -> Iterator[psutil.Process]:
    with (site.path / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [*_FEDYARD, "--folder", str(site.path), "site", "run"], stdout=log, stderr=log, env=_environment()
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _look(agent: psutil.Process, peaks: dict[str, float]) -> None:
    """Of everything below the agent the largest: a task's first process, which ends it, is small."""
    with suppress(psutil.Error):
        for process in agent.children(recursive=True):
            peaks["hooks"] = max(peaks["hooks"], _peak(process))


def _peak(process: psutil.Process) -> float:
    """The most memory that was resident at once, in MB: the kernel's own mark."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 / 1e6 if found else 0.0


_FEDYARD = (str(CHECKOUT / "bin" / "fedyard"),)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")}


def _timed(does: Callable[[], object]) -> float:
    begun = time.perf_counter()
    does()
    return time.perf_counter() - begun
