"""`fedyard site`: init, run (the agent), whoami, inbox, egress, receipts, consents; keys, heads and more beside."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fedyard.actions.enrolling import enrol
from fedyard.actions.messages import read
from fedyard.actions.site import UsageError
from fedyard.actions.unit import IDENTITY_CHANGED
from fedyard.agent.agent import Agent
from fedyard.agent.consents import UNKNOWN, Join
from fedyard.agent.notices import told
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.agent.state import State
from fedyard.cli import keys
from fedyard.cli.common import FILE, client_of, complain, time_of
from fedyard.cli.heads import heads, trust_hub
from fedyard.cli.heads import told as told_of_heads
from fedyard.cli.listing import Listing
from fedyard.cli.machine import refuse_elsewhere, status, unit
from fedyard.cli.portal import portal
from fedyard.cli.site_failures import failures
from fedyard.cli.site_policy import approve, policy, refuse
from fedyard.cli.site_privacy import privacy
from fedyard.cli.site_workloads import workloads
from fedyard.client.errors import Refused, Unreachable
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.sealed.keys import fingerprint, words
from fedyard.sealed.trust import Changed
from fedyard.tasks.settings import Tasks
from fedyard.wire.command_line import JSON, Command, Group, Words, print_json
from fedyard.wire.forgiving import forgive
from fedyard.wire.statements import hex_groups
from fedyard.wire.stopping import on_stop_signal


@click.command("init", cls=Command)
@click.option("--hub", required=True, metavar="URL", help="address of the hub, e.g. https://hub.example")
@click.option("--name", required=True, metavar="NAME", help="this site's, for all to see")
@click.option("--description", default="", metavar="TEXT", help="what the others should know of it")
@click.option("--token-file", type=FILE, metavar="FILE", help=f"holds the enrolment token (or set {ENROLMENT_TOKEN})")
@click.option("--data", multiple=True, metavar="NAME=FILE", help="e.g. train=train.csv; docs/data.md")
@click.option("--join", "joins", multiple=True, metavar="PROJECT", help="its id or name: join it once it exists")
@click.option(
    "--coordinator",
    "coordinators",
    cls=Words,
    metavar="WHO...",
    help="whose that project is: a site's id, or its fingerprint; without it the first one is believed",
)
@click.option("--allow", "allowed", cls=Words, metavar="MODEL...", help="that may run here, e.g. mean_dose:MeanDose")
@click.option("--ca-file", type=FILE, metavar="FILE", help="certificates to trust, instead of the system's")
@click.option("--proxy", metavar="URL", help='to the hub; "none" for none; without it HTTPS_PROXY and NO_PROXY count')
@click.option(
    "--allow-plain-http",
    "plain",
    multiple=True,
    metavar="HOST",
    help="the hub's once more: show the token to whoever is on the way there",
)
@click.option("--later", is_flag=True, help="enrol at the first `fedyard site run`")
@click.pass_obj
def init(
    folder: Folder,
    *,
    hub: str,
    name: str,
    description: str,
    token_file: Path | None,
    data: Sequence[str],
    joins: Sequence[str],
    coordinators: Sequence[str],
    allowed: Sequence[str],
    ca_file: Path | None,
    proxy: str | None,
    plain: Sequence[str],
    later: bool,
) -> None:
    """Make a folder for a new site and enrol it at the hub."""
    token = token_file.read_text("utf-8").strip() if token_file else os.environ.get(ENROLMENT_TOKEN)
    if not token:
        raise UsageError(f"no enrolment token: name a file with --token-file, or set {ENROLMENT_TOKEN}")
    settings = Settings(
        hub=hub.rstrip("/"),
        name=name,
        description=description,
        ca_file=None if ca_file is None else folder.certificates(ca_file.resolve(), "--ca-file"),
        proxy=proxy,
        allow_plain_http=[*plain] or False,
        tasks=Tasks(allow=[*allowed]),
        join=joins_of(joins, coordinators),
        data=dict(_named(text) for text in data),
    )
    enrol(folder, settings, token, later=later, waiting=complain)
    print(f"wrote {folder.path / 'site.toml'}")
    for title, path in folder.data(settings).items():
        if not path.exists():
            print(f"warning: --data {title}={path}: there is no such file; a task that needs it fails", file=sys.stderr)
    for join in settings.join:
        whose = "the first one that the hub shows is believed" if join.coordinator == UNKNOWN else join.coordinator
        print(f"it will join {join.project}; coordinator: {whose}")
    if not later:
        print(f"enrolled as site {folder.site_id()}; now: fedyard --folder {folder.path} site run")
        print(f"its fingerprint, to tell others: {words(fingerprint(folder.keyring().identity_key))}")


def joins_of(projects: Sequence[str], coordinators: Sequence[str]) -> list[Join]:
    """What --join and --coordinator of `init` mean: one coordinator for all, or one for each project in their order.

    The words of one fingerprint need no quotes, as in `project join`.
    """
    whose = [*coordinators] or [UNKNOWN]
    if len(whose) not in (1, len(projects)) and all(who.isalnum() and who != UNKNOWN for who in whose):
        whose = coordinators = [" ".join(whose)]
    if len(whose) == 1:
        whose *= max(1, len(projects))
    if len(whose) != len(projects) and coordinators:
        raise UsageError(f"{len(coordinators)} --coordinator for {len(projects)} --join: say one for all, or one each")
    try:
        return [Join(project=name, coordinator=who) for name, who in zip(projects, whose, strict=False)]
    except ValueError as error:
        raise UsageError(f"--coordinator: {error}") from None


def _named(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise UsageError(f"--data {text}: write NAME=FILE, e.g. train=train.csv")
    return name, str(Path(file).resolve())


@click.command("run", cls=Command)
@click.pass_obj
def run_agent(folder: Folder) -> int:
    """Be this site's agent, until Ctrl-C or SIGTERM.

    Exit code 3 if another site shows another identity than it had.
    """
    refuse_elsewhere(sys.platform)
    forgive()
    agent = Agent(folder)
    on_stop_signal(agent.stop)
    try:
        agent.run()
    except Refused as error:
        print(f"fedyard: the hub does not take this site: {error}", file=sys.stderr)
        return 1
    except Unreachable as error:
        print(f"fedyard: no way to the hub: {error}", file=sys.stderr)
        return 1
    except Changed as changed:
        print(f"fedyard: STOPPED, IDENTITY CHANGED: {changed}", file=sys.stderr)
        return IDENTITY_CHANGED
    return 0


@click.command("whoami", cls=Command)
@JSON
@click.pass_obj
def whoami(folder: Folder, as_json: bool) -> None:
    """Who the hub takes this site for."""
    me = client_of(folder).me()
    if as_json:
        print_json(me)
        return
    print(f"{me.kind} {me.name} ({me.id}) at {folder.settings().hub}")


@click.command("inbox", cls=Command)
@click.option("--count", type=int, default=20, metavar="N", help="so many entries (20)")
@click.option("--read", "seq", type=int, metavar="SEQ", help="write what this message holds to standard output")
@JSON
@click.pass_obj
def inbox(folder: Folder, count: int, seq: int | None, as_json: bool) -> None:
    """What came in lately."""
    path = folder.path / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    state = State(path)
    if seq is not None:
        _read(state, seq)
        return
    if as_json:
        print_json(state.inbox.latest(count))
        state.close()
        return
    site_id = folder.site_id()
    table, sentences = Listing("seq", "at", "kind", "run", "round", "message", ids=("seq", "run")), []
    for entry in state.inbox.latest(count):
        message = "" if entry.message is None else f"{entry.message.kind}, {entry.message.size_bytes} bytes"
        if entry.message is not None and (body := state.bodies.get(entry.message.id)) is not None:
            if body.artifact_id is not None and not body.opened:
                message += ", still at the hub"
            elif body.file and not Path(body.file).exists():
                message += ", gone"
        at = entry.created_at.isoformat(timespec="seconds")
        table.add_row(str(entry.seq), at, entry.kind, (entry.run_id or "")[:8], str(entry.round or ""), message)
        if (sentence := told(entry, site_id)) is not None:
            sentences.append(f"{entry.seq}  {sentence}")
    recovered_at = state.history.position().recovered_at
    if recovered_at:
        sentences.append(
            f"the hub was restored, and this site recovered, {time_of(recovered_at)}: numbers have jumped since"
        )
    sentences += told_of_heads(state.heads.head_faults())
    state.close()
    table.print()
    for sentence in sentences:
        print(sentence)


def _read(state: State, seq: int) -> None:
    """What a message holds, as the agent has opened it."""
    content = read(state, seq)
    if isinstance(content, bytes):
        sys.stdout.buffer.write(content)
        return
    with content.open("rb") as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)


@click.command("receipts", cls=Command)
@JSON
@click.pass_obj
def receipts(folder: Folder, as_json: bool) -> int:
    """This site's updates that are missing in their models.

    From the agent's own memory: the hub is not asked. Exit code 1 if there are any.
    """
    state = State(folder.path / "state.sqlite")
    missing = state.receipts.missing_receipts()
    state.close()
    if as_json:
        print_json(missing)
        return 1 if missing else 0
    if not missing:
        print("no update of this site that the hub has accepted is known to be missing in its model")
        return 0
    names = {consent.project_id: consent.name for consent in folder.consents().all().values()}
    table = Listing("run", "task", "round", "why", "project", "since", "the hub was told", ids=("run",))
    for one in missing:
        hub = {"": "not yet", "ok": "yes"}.get(one.hub, one.hub)
        project = names.get(one.project_id, one.project_id)
        table.add_row(one.run_id, str(one.task_seq), str(one.round), one.reason, project, time_of(one.at), hub)
    table.print()
    return 1


@click.command("egress", cls=Command)
@click.option("--count", type=int, default=20, metavar="N", help="so many rows (20)")
@JSON
@click.pass_obj
def egress(folder: Folder, count: int, as_json: bool) -> None:
    """What has left this site.

    From the agent's own memory: the hub is not asked. Newest first; a log's text is not kept.
    """
    state = State(folder.path / "state.sqlite")
    left = state.egress.latest(count)
    state.close()
    if as_json:
        print_json(left)
        return
    names = {consent.project_id: consent.name for consent in folder.consents().all().values()}
    table = Listing("at", "what", "project", "run", "task", "round", "bytes", "norm", "sha256", "to", "said")
    for one in left:
        table.add_row(
            time_of(one.at),
            one.kind,
            names.get(one.project_id, one.project_id),
            one.run_id,
            str(one.task_seq),
            str(one.round),
            str(one.size_bytes),
            "" if one.norm is None else f"{one.norm:.6g}",
            one.digest,
            ", ".join(one.recipients),
            one.text or ", ".join(f"{name} {value:.6g}" for name, value in sorted(one.metrics.items())),
        )
    table.print()


@click.command("consents", cls=Command)
@JSON
@click.pass_obj
def consents(folder: Folder, as_json: bool) -> None:
    """The projects that this site serves.

    Since when, under whom, and by whose word. Without the hub: what is in the folder is what counts.
    """
    found = sorted(folder.consents().all().values(), key=lambda one: one.at)
    if as_json:
        print_json(found)
        return
    pins = folder.trust(folder.settings()).pins()
    for consent in found:
        name = pins[consent.coordinator].name if consent.coordinator in pins else "this site"
        finger = fingerprint(consent.identity)
        until = "" if consent.live else f", left {time_of(consent.withdrawn_at)}"
        print(f"{consent.name} ({consent.project_id})\n  served since {time_of(consent.at)}, by {consent.by}{until}")
        print(f"  coordinator {name} ({consent.coordinator})\n  {hex_groups(finger)}\n  {words(finger)}")


site = Group(
    "site",
    help="This site: its agent, what came in, its keys, and whom it trusts.",
    commands=[
        init,
        run_agent,
        portal,
        status,
        unit,
        whoami,
        inbox,
        egress,
        policy,
        approve,
        refuse,
        privacy,
        failures,
        receipts,
        consents,
        workloads,
        keys.list_keys,
        keys.rotate,
        keys.revoke,
        keys.show_fingerprints,
        keys.trust,
        trust_hub,
        heads,
    ],
)
