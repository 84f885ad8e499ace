"""What this site does and does not, in words: site.toml as its people would say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedyard.actions.policy import MAX_REASON, Effect, answer, in_effect, lines_of
from fedyard.actions.privacy import Budget, budgets
from fedyard.agent.cluster import ALL, ClusterSettings
from fedyard.agent.consents import UNKNOWN, Consent
from fedyard.agent.policy import ALL_OTHERS, ProjectPolicy
from fedyard.agent.site import Settings
from fedyard.client.errors import Unreachable
from fedyard.client.routes import STRAIGHT, routes_of
from fedyard.look.forms import Form
from fedyard.portal.desk import Answer, Done, Page, Visit, Wrong
from fedyard.tasks.confined import Confine
from fedyard.tasks.confined.entering import held
from fedyard.wire.plurals import counted


@dataclass(frozen=True)
class Section:
    """lines: in site.toml, what says so."""

    title: str
    sentences: Sequence[str]
    lines: str


def show(visit: Visit) -> Answer:
    desk = visit.desk
    spent = budgets(desk.folder, desk.state())
    sections = in_words(desk.settings(), list(desk.consents().values()), spent, held().lacks)
    effect = in_effect(desk.folder, desk.state(), desk.now())
    return shown(sections, effect, str(desk.folder.path / "site.toml"), visit.form)


def shown(sections: Sequence[Section], effect: Effect, file: str, form: Form | None = None) -> Page:
    """effect: what holds for each project, and what waits for a person. form: a refusal that was not taken."""
    projects = [(one, lines_of(one.policy)) for one in effect.projects]
    waiting = [(one, bytes(one.task).decode()) for one in effect.waiting]
    facts = {"sections": sections, "file": file, "projects": projects, "waiting": waiting, "form": form}
    return Page("policy.html", facts)


def approve(visit: Visit) -> Answer:
    """As `fedyard site approve`."""
    return _answered(visit, "approved")


def refuse(visit: Visit) -> Answer:
    """As `fedyard site refuse`."""
    reason = visit.form.value("reason").strip()
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise Wrong("reason", f"one line of {MAX_REASON} characters at most")
    return _answered(visit, "refused", reason)


def _answered(visit: Visit, word: Literal["approved", "refused"], reason: str = "") -> Answer:
    done = answer(visit.desk.state(), visit.form.value("run"), word, visit.desk.now(), reason)
    return Done("/policy", " ".join(f"Task {one.name} of run {one.run_id} is {word}." for one in done))


def in_words(
    settings: Settings, consents: Sequence[Consent], spent: Sequence[Budget] = (), lacks: str = ""
) -> list[Section]:
    """Every rule that this site follows. lacks: in what this system cannot confine tasks."""
    return [
        Section("Which projects it serves", _serves(settings, consents), "[[join]]"),
        Section("Which code may read its data", _code(settings), "[tasks] allow, [data]"),
        Section("What leaves the house", _leaves(settings), "[trust] unsealed, [coordinator], transfer_hosts"),
        Section("Which noise is added, and what that costs", _noise(spent), "[project.NAME.privacy]"),
        Section("What a task may reach", _reach(settings.project, lacks), "[project.NAME.confine]"),
        Section("Whom it trusts", _trusts(settings), "[trust]"),
        Section("What others may run here", _runs(settings.cluster), "[cluster]"),
        Section("How much it takes", _takes(settings), "[tasks], [messages]"),
        Section("Its keys", _keys(settings), "[keys]"),
    ]


def _serves(settings: Settings, consents: Sequence[Consent]) -> list[str]:
    live = sorted(one.name for one in consents if one.live)
    said = [
        f"It serves {counted(len(live), 'project')}: {', '.join(live)}."
        if live
        else "It serves no project: whatever the hub sends, nothing reaches a hook."
    ]
    for join in settings.join:
        whose = (
            "whoever the hub shows first is believed"
            if join.coordinator == UNKNOWN
            else f"only under {join.coordinator}"
        )
        said.append(f"It joins {join.project} by itself, as soon as that exists; {whose}.")
    said.append(
        "It comes back with the next round after it was dropped."
        if settings.rejoin
        else "Once dropped from a run, it stays out."
    )
    return said


def _code(settings: Settings) -> list[str]:
    said = ["The models that come with Fedyard may run here; no code ever comes from the hub."]
    if settings.tasks.allow:
        said.append(f"So may these, from files of this house: {', '.join(settings.tasks.allow)}.")
    if settings.data:
        files = ", ".join(f"{name} ({file})" for name, file in sorted(settings.data.items()))
        said.append(f"A task that runs here may read {files}. These files never leave.")
    else:
        said.append("It names no data: a task that needs some fails here.")
    return said


def _leaves(settings: Settings) -> list[str]:
    said = [
        "Updates, models, messages and logs leave sealed to whom they are for; the hub cannot read them.",
        "Metrics, states and reasons go to the hub, which reads them.",
        "What [project.NAME] says stands before this: below it is shown for each project.",
    ]
    asked = _named(name for name, one in settings.project.items() if one.ask != "never")
    said.append(
        f"A person approves tasks of {asked} before anything of them leaves."
        if asked
        else "Nothing waits for approval before it leaves."
    )
    if settings.trust.unsealed:
        said.append(
            "Where a project allows it, payloads go unsealed to a site that has no key: the hub can read these."
        )
    least = settings.coordinator.min_updates
    said.append(f"As coordinator it makes no model of fewer than {counted(least, 'update')}.")
    if settings.transfer_hosts:
        said.append(f"Large payloads may be carried by {', '.join(settings.transfer_hosts)}, beside the hub.")
    if settings.plain_hosts:
        hosts = ", ".join(settings.plain_hosts)
        said.append(f"Its token may go to {hosts} by plain http: whoever is on the way can act as this site.")
    if settings.proxy is not None:
        said.append(_by_way(settings.proxy))
    return said


def _named(sections: Iterable[str]) -> str:
    """Sections of site.toml as people call their projects."""
    return ", ".join("all projects without a section" if name == ALL_OTHERS else name for name in sorted(sections))


def _noise(spent: Sequence[Budget]) -> list[str]:
    if not spent:
        return [
            "No noise is added and nothing is clipped: what a task computes leaves as it is.",
            "No budget of privacy (ε) is kept.",
        ]
    said = []
    for one in spent:
        name = one.name or one.project_id
        how = (
            f"updates of {name} leave clipped to norm {one.clip:g}, with noise of {one.noise:g} times that on each "
            "number"
            if one.clip is not None and one.noise is not None
            else f"updates of {name} leave without noise now"
        )
        of = "" if one.allowed is None else f" of {one.allowed:g}"
        delta = one.at_delta if one.delta is None else one.delta
        said.append(
            f"{how[0].upper()}{how[1:]}: ε {one.epsilon:.3g}{of} is spent (δ {delta:g}), by "
            f"{counted(one.updates, 'update')}."
        )
        if one.without:
            said.append(f"Of {counted(one.without, 'update')} that left {name} without noise nothing is promised.")
    said.append("Updates of other projects leave as they are computed.")
    return said


def _reach(sections: Mapping[str, ProjectPolicy], lacks: str) -> list[str]:
    said = ["A task reads its project's data, programs and packages, writes its own folders, and opens no connection."]
    if lacks:
        said.append(f"This system cannot hold it to all of that: {lacks}.")
    words: dict[str, Callable[[Confine], bool]] = {
        "are not confined at all": lambda one: one.on == "never",
        "run where all of that is held, or not at all": lambda one: one.on == "always",
        "may open connections": lambda one: one.on != "never" and one.network,
        "may work in several processes, and reach local sockets": lambda one: one.on != "never" and one.workers,
    }
    for what, is_so in words.items():
        if names := _named(name for name, one in sections.items() if is_so(one.confine)):
            said.append(f"Tasks of {names} {what}.")
    for name, one in sorted(sections.items()):
        if more := [*one.confine.read, *one.confine.write]:
            said.append(f"Tasks of {_named([name])} reach {', '.join(more)}, too.")
    return said


def _by_way(proxy: str) -> str:
    """Without the login."""
    if proxy == STRAIGHT:
        return "It speaks to the hub straight ahead, whatever proxy the environment names."
    try:
        return f"It speaks to the hub through the proxy {routes_of(proxy, {}).https}."
    except Unreachable as error:
        return f"It speaks to nobody: {error}."


def _trusts(settings: Settings) -> list[str]:
    trust = settings.trust
    strict = trust.pin == "fingerprint"
    said = [
        "Nothing goes to a site, or comes from one, whose fingerprint nobody has compared."
        if strict
        else "A site is believed when it is first seen, and held to that identity for ever.",
        "If a site shows another identity than before, the agent stops.",
    ]
    if trust.fingerprints:
        said.append(f"Fingerprints of {', '.join(sorted(trust.fingerprints))} are written down.")
    if trust.hub:
        said.append("The hub's key is written down.")
    return said


def _runs(cluster: ClusterSettings | None) -> list[str]:
    if cluster is None:
        return ["Nothing: workloads that others want to have run here are refused."]
    where = (
        "as processes of this machine, with the agent's rights"
        if cluster.kind == "processes"
        else "on this site's Kubernetes"
    )
    whose = (
        "of every project that it serves"
        if ALL in cluster.projects
        else f"of {', '.join(cluster.projects) or 'no project'}"
    )
    said = [f"Workloads {whose}, {where}: {', '.join(cluster.images) or 'no image'}."]
    limits = [
        f"{cluster.max_workloads} at once" if cluster.max_workloads is not None else "",
        f"{cluster.max_cpu_millis / 1000:g} cores" if cluster.max_cpu_millis is not None else "",
        f"{cluster.max_memory_bytes / 2**20:g} MiB of memory" if cluster.max_memory_bytes is not None else "",
    ]
    said.append(f"At most {', '.join(filter(None, limits))}." if any(limits) else "There is no limit on how many.")
    said.append(
        "What they write may be read by the project's coordinator."
        if cluster.logs
        else "What they write does not leave."
    )
    if cluster.stop_with_agent:
        said.append("They end with the agent.")
    return said


def _takes(settings: Settings) -> list[str]:
    tasks, messages = settings.tasks, settings.messages
    at_once = counted(tasks.at_once, "task run computes", "task runs compute")
    each, all_of_them = messages.sender_limit_bytes / 2**30, messages.limit_bytes / 2**30
    return [
        f"{at_once} at the same time, on {counted(tasks.threads, 'core')} each.",
        f"A task that shall stop has {tasks.stop_within_s:g} s before its process is ended.",
        f"An update or a model has {tasks.content_limit_bytes / 2**20:g} MiB at most.",
        f"Large messages have {all_of_them:g} GiB, {each:g} GiB of each sender.",
        f"They go after {messages.keep_days:g} days.",
    ]


def _keys(settings: Settings) -> list[str]:
    rotate, grace = settings.keys.rotate_every_days, settings.keys.grace_days
    return [f"A new sealing key every {rotate:g} days; the one before still opens for {grace:g} days."]
