"""`fedyard simulate`, `fedyard task try` and `fedyard new`: tasks on this machine, without a hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fedyard.actions.site import UsageError
from fedyard.agent.policy import EVERY_PROJECT, HELD_BACK, ProjectPolicy, policy_of
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.cli.common import FILE, complain
from fedyard.cli.listing import Listing, terminal
from fedyard.cli.own import own_of
from fedyard.tasks.settings import Tasks
from fedyard.tasks.sources import Source
from fedyard.wire.answers import TaskSpec
from fedyard.wire.command_line import JSON, Command, Group, Words, print_json
from fedyard.wire.own import parameters_said
from fedyard.wire.plurals import counted
from fedyard.wire.shown import shown

if TYPE_CHECKING:  # numpy is heavy, and no other command needs it
    from fedyard.simulating.results import Round, Simulated, SiteRound
    from fedyard.simulating.trying import Step, Tried, Word
    from fedyard.tasks import Content
    from fedyard.tasks.privacy import Privacy, Released

SPLITS = ("iid", "label", "quantity")
_ANY = "="
"""In place of a task's name where there is one task: no setting begins with it."""
LEFT_OUT = "the metric"
"""How a line of a hook's log begins that says of a metric that it does not count."""
MAX_COLUMNS = 8
"""Metrics that a table has room for."""


@click.command("simulate", cls=Command)
@click.argument("task")
@click.option("--data", cls=Words, required=True, metavar="FILE...", help="each site's train, or its folder of files")
@click.option("--sites", type=click.IntRange(1, 1000), help="divide one FILE among so many sites")
@click.option("--split", type=click.Choice(SPLITS), default="iid", help="how it is divided")
@click.option("--alpha", type=float, default=0.5, help="of the Dirichlet distribution, for label and quantity (0.5)")
@click.option("--label", default="label", metavar="COLUMN", help="that --split label goes by (label)")
@click.option("--test", type=FILE, metavar="FILE", help="the coordinator's test data, and that of sites without some")
@click.option("--rounds", type=click.IntRange(1, 100_000), help="how many (1, or what tasks.json says)")
@click.option("--set", "settings", cls=Words, metavar="NAME=VALUE...", help="parameters; TASK.NAME=VALUE of several")
@click.option("--seed", type=int, default=0, help="another one gives other partitions, drop-outs and draws (0)")
@click.option("--drop-outs", type=float, default=0.0, metavar="P", help="how likely a site is gone for a round (0)")
@click.option("--stragglers", type=float, default=0.0, metavar="P", help="how likely its update comes too late (0)")
@click.option("--quorum", type=float, metavar="Q", help="sites that a round needs: a fraction, or a count of 2 or more")
@click.option("--min-updates", type=click.IntRange(1, 100_000), default=2, help="make no model of fewer (2)")
@click.option("--processes", is_flag=True, help="each site in a process of its own, as at an agent")
@click.option("--to", type=FILE, metavar="FOLDER", help="write each task's last model there")
@JSON
def simulate(task: str, as_json: bool, **said: Any) -> int:
    """Run a TASK on many sites' data, here and now: no hub, no agents.

    TASK: file.py:Class, package.module:Class, a built-in model, or a tasks.json. Exit code 0 if it succeeded.
    """
    from fedyard.simulating.simulation import simulate as simulated  # noqa: PLC0415 - see above

    run = simulated(
        task,
        list(said["data"]) if len(said["data"]) > 1 else said["data"][0],
        rounds=said["rounds"],
        parameters=parameters_of(task, said["settings"]),
        sites=said["sites"],
        split=said["split"],
        alpha=said["alpha"],
        label=said["label"],
        test=said["test"],
        contract=_contract(said["quorum"]),
        seed=said["seed"],
        drop_outs=said["drop_outs"],
        stragglers=said["stragglers"],
        min_updates=said["min_updates"],
        processes=said["processes"],
        told=None if as_json else _told,
    )
    if as_json:
        print_json(_plain(run))
    else:
        _print(run)
    if said["to"] is not None:
        for path in run.save(said["to"]):
            complain(f"the model is in {path}")
    return 0 if run.state == "succeeded" else 1


def _contract(quorum: float | None) -> dict[str, Any]:
    if quorum is None:
        return {}
    return {"quorum": quorum, "quorum_of": "fraction" if quorum <= 1 else "count"}


def parameters_of(task: str, settings: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` as a task's parameters, of a tasks.json `TASK.NAME=VALUE`, as `run start` has them.

    Names that a tasks.json does not have are told. Raises `UsageError`.
    """
    if task.endswith(".json"):
        from fedyard.simulating.named import named  # noqa: PLC0415 - numpy is heavy

        return dict(own_of(named(task).specs, settings, [])[0]) if settings else {}
    try:
        return dict(parameters_said(settings, [TaskSpec(name=_ANY, model=task)]).get(_ANY, {}))
    except ValueError as error:
        raise UsageError(f"--set {error}".replace("TASK.NAME", "NAME").replace("train.", "")) from None


def _told(one: Round) -> None:
    """A line, as the round ends."""
    done = sum(site.outcome == "submitted" for site in one.sites)
    values = {**one.metrics, **{f"score.{name}": value for name, value in one.score.items()}}
    metrics = ", ".join(f"{shown(name)} {value:.6g}" for name, value in sorted(values.items()))
    said = f"{one.task}, round {one.number}: {done} of {counted(len(one.sites), 'site')}"
    print(f"{said}, {one.seconds:.2f} s{'; ' if metrics else ''}{metrics}", flush=True)
    for line in _left_out(one.log):
        print(f"  the model's: {shown(line)}")
    if one.state == "completed" and one.trace:
        print(f"  the model has no metrics of its own: {shown(one.log[-1] if one.log else 'evaluate failed')}")
    for site in one.sites:
        for line in _left_out(site.log):
            print(f"  {site.site}: {shown(line)}")
        if site.score_reason:
            print(f"  {site.site}: no score: {shown(site.score_reason)}")
        if site.outcome not in ("submitted", "out", "resting"):
            print(f"  {site.site}: {site.outcome}: {shown(site.reason)}")


def _left_out(log: Sequence[str]) -> list[str]:
    """What a hook's log says of metrics that did not count."""
    return [line for line in log if line.startswith(LEFT_OUT) and " left out" in line]


def _print(run: Simulated) -> None:
    """The last round of each task by site, and why it failed."""
    for task in run.tasks:
        if task.rounds:
            _print_sites(task.rounds[-1].sites)
        if task.best is not None:
            print(f"{task.name}: the best model is that of round {task.best}")
        if task.reason and task.state == "succeeded":
            print(f"{task.name}: {shown(task.reason)}")
    print(f"{run.state}{': ' if run.reason else ''}{shown(run.reason)}")
    if "this site has no data" in run.reason:
        for site, files in run.sites.items():
            print(f"  the data of {shown(site)}: {', '.join(map(shown, sorted(files)))}")
        print("  a file is a site's train; a folder is a site, which has data called as the files in it")
    traces = [site.trace for one in run.rounds for site in one.sites if site.trace]
    traces += [one.trace for one in run.rounds if one.trace]
    if traces:
        print(f"\nthe first traceback ({len(traces)} in all):\n{traces[0]}")


def _print_sites(sites: Sequence[SiteRound]) -> None:
    names = sorted({name for site in sites for name in site.metrics})[:MAX_COLUMNS]
    table = Listing("site", "outcome", "bytes", "norm", "s", *names)
    for site in sites:
        metrics = [f"{site.metrics[name]:.6g}" if name in site.metrics else "" for name in names]
        norm = "" if site.norm is None else f"{site.norm:.6g}"
        table.add_row(site.site, site.outcome, str(site.size_bytes), norm, f"{site.seconds:.3f}", *metrics)
    table.print()


def _plain(run: Simulated) -> dict[str, Any]:
    """All but the models, as JSON has it."""
    whole: dict[str, Any] = msgspec.to_builtins(
        {"state": run.state, "reason": run.reason, "seed": run.seed, "sites": dict(run.sites)}
    )
    whole["tasks"] = [
        {
            "name": task.name,
            "state": task.state,
            "reason": task.reason,
            "best": task.best,
            "rounds": [msgspec.to_builtins(one) for one in task.rounds],
        }
        for task in run.tasks
    ]
    return whole


# task try


@click.command("try", cls=Command)
@click.argument("task")
@click.option("--data", cls=Words, metavar="NAME=FILE...", help="in place of the site's own data")
@click.option("--project", metavar="NAME", help="whose section of site.toml counts: its data, and its noise")
@click.option("--set", "settings", cls=Words, metavar="NAME=VALUE...", help="parameters; TASK.NAME=VALUE of several")
@click.option("--rounds", type=click.IntRange(1, 1000), help="how many (2, or what tasks.json says)")
@click.option("--model", type=FILE, metavar="FILE", help="that round 1 begins with: .npz, or any other file as bytes")
@JSON
@click.pass_obj
def attempt(
    folder: Folder,
    task: str,
    data: Sequence[str],
    project: str | None,
    settings: Sequence[str],
    rounds: int | None,
    model: Path | None,
    as_json: bool,
) -> int:
    """Run a TASK's hooks on this site's own data and show what would leave it. Nothing is sent.

    TASK: file.py:Class, package.module:Class, a built-in model, or a tasks.json (its first task). The site is that of
    --folder; with --data no site is needed. Exit code 0 if all hooks ended well.
    """
    from fedyard.simulating.trying import tried  # noqa: PLC0415 - numpy is heavy

    own = parameters_of(task, settings)
    section = None if project is None else _section(folder, project)
    word = None if section is None else _word(folder, section)
    found = tried(
        task,
        _data(folder, data, section),
        parameters=own,
        rounds=rounds,
        model=None if model is None else _content(model),
        word=word,
        sources={} if data else _sources(folder, section),
        min_count=_min_count(folder, section),
    )
    if as_json:
        print_json(found)
    else:
        _print_tried(found, word)
    return 1 if found.reason else 0


@dataclass(frozen=True)
class Section:
    """What site.toml says of a project. project_id: of one that is served."""

    policy: ProjectPolicy
    project_id: str = ""


def _section(folder: Folder, project: str) -> Section:
    """Raises `UsageError` for a project that is neither served nor has a section."""
    sections, served = folder.settings().project, folder.consents().named(project)
    if served:
        return Section(policy_of(sections, served[0]), served[0].project_id)
    if project not in sections:
        raise UsageError(f"this site serves no project {project!r}, and site.toml has no section for it")
    return Section(sections[project])


def _word(folder: Folder, section: Section) -> Word:
    """What the section lets leave; what has been spent before is read, and stays as it is."""
    from fedyard.simulating.trying import Word  # noqa: PLC0415 - numpy is heavy

    policy, path = section.policy, folder.path / "state.sqlite"
    released: list[Released] = []
    if policy.privacy is not None and section.project_id and path.exists():
        state = State(path)
        try:
            released = state.releases.of(section.project_id)
        finally:
            state.close()
    return Word(policy.privacy, released, policy.metrics, "" if policy.logs else HELD_BACK)


def _data(folder: Folder, said: Sequence[str], section: Section | None) -> Mapping[str, str]:
    """name -> file: what was said, else what the site's settings have for that project."""
    if said:
        files = {}
        for one in said:
            name, sign, file = one.partition("=")
            if not sign:
                name, file = "train", one
            if "://" not in file and not Path(file).exists():
                raise UsageError(f"there is no data file {file}")
            files[name] = file if "://" in file else str(Path(file).absolute())
        return files
    if not (folder.path / "site.toml").exists():
        raise UsageError(
            f"{folder.path} is no site's folder: name data with --data train=FILE, or a site with --folder"
        )
    own = folder.settings().data
    if section is not None:
        own = dict(section.policy.data_of(own))
    if not own:
        raise UsageError("this site has no data in its site.toml: name some with --data train=FILE")
    return {name: file if "://" in file else str(folder.path / file) for name, file in own.items()}


def _sources(folder: Folder, section: Section | None) -> Mapping[str, Source]:
    """How the site has its data read."""
    return folder.sources(folder.settings(), EVERY_PROJECT if section is None else section.policy)


def _min_count(folder: Folder, section: Section | None) -> int:
    """The smallest count that a ready task may tell here; without a site, that of a site that says nothing."""
    tasks = folder.settings().tasks if (folder.path / "site.toml").exists() else Tasks()
    return tasks.min_count if section is None else section.policy.least(tasks.min_count)


def _content(file: Path) -> Content:
    import numpy as np  # noqa: PLC0415 - numpy is heavy

    if file.suffix != ".npz":
        return file.read_bytes()
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _print_tried(found: Tried, word: Word | None) -> None:
    print(f"task {found.task}; it could read:")
    for name, place in found.data.items():
        print(f"  {name}: {shown(place)}")
    for step in found.steps:
        _print_step(step, found.logs_stay)
    if found.reason:
        return
    lines = "" if found.logs_stay else " and log lines"
    print(
        f"\nWould leave this site: of each train its arrays{lines} (sealed to the coordinator's site), and its\n"
        "metrics (the hub and the coordinator read them). An aggregate is the coordinator's; here it is made of this\n"
        "site's update alone, so that the next round has a model."
    )
    if found.logs_stay:
        print("Log lines, and sentences of hooks that fail, would stay.")
    if word is not None and word.privacy is not None:
        _print_cost(found, word, word.privacy)


def _print_cost(found: Tried, word: Word, privacy: Privacy) -> None:
    """What the updates would cost of the budget, and how far that would go."""
    from fedyard.tasks.privacy.accounting import epsilon_of, updates_within  # noqa: PLC0415 - as above

    costs = [step.spent for step in found.steps if step.spent is not None]
    before = epsilon_of(word.released, privacy.delta)
    print(
        f"These arrays were clipped to norm {privacy.clip:g} and have noise of {privacy.clip * privacy.noise:g} on each"
        f" number. {counted(len(costs), 'update')} would\ncost epsilon {costs[-1].epsilon:.4g} in all, delta "
        f"{privacy.delta:g}, with {before:.4g} that has been spent before; {privacy.epsilon:g} is allowed, which is\n"
        f"{counted(updates_within(privacy, word.released), 'update')} more at this noise. Nothing was spent now."
    )


def _print_step(step: Step, logs_stay: bool) -> None:
    print(f"\n{step.hook}{f', round {step.round}' if step.hook != 'prepare' else ''}: {step.seconds:.3f} s")
    for line in step.log if not step.reason or logs_stay else ():
        print(f"  log{' (stays)' if logs_stay else ''}: {shown(line)}")
    if step.reason:
        print(f"  FAILED. The coordinator would be told: {shown(step.reason)}")
        if step.trace:
            print(f"  The whole traceback, which stays here:\n{step.trace}")
        return
    if step.size_bytes:
        norm = "" if step.norm is None else f", Euclidean norm {step.norm:.6g}"
        print(f"  {step.size_bytes} bytes, packed{norm}")
    if step.unclipped is not None:
        print(f"  its norm was {step.unclipped:.6g} before it was clipped and had noise (stays)")
    if step.leaves:
        table = Listing("array", "type", "shape", "bytes", "begins with")
        for one in step.leaves:
            table.add_row(one.name, one.dtype, "x".join(map(str, one.shape)) or "-", str(one.size_bytes), one.first)
        table.print(terminal())
    if step.metrics:
        print("  metrics: " + ", ".join(f"{shown(name)} {value:.6g}" for name, value in step.metrics.items()))
    if step.stay:
        print("  metrics that stay: " + ", ".join(shown(name) for name in step.stay))


task = Group("task", help="Tasks on this site's own data.", commands=[attempt])


# new


@click.command("new", cls=Command)
@click.argument("folder_", metavar="FOLDER", type=FILE)
@click.option(
    "--template",
    type=click.Choice(("numpy", "sklearn", "pytorch", "statistics")),
    default="numpy",
    help="what its task is made with (numpy)",
)
def new(folder_: Path, template: str) -> None:
    """Write a project to begin with into FOLDER: a task, three sites' data, a test, its tasks.json."""
    from fedyard.simulating.starting import write  # noqa: PLC0415 - numpy is heavy

    for path in write(folder_, template):
        print(path)
    print(f"\nTry it: cd {folder_} && fedyard simulate tasks.json --data data/north.csv data/east.csv data/south.csv")
