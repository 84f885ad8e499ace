"""The commands about keys, trust, and what was sealed: rotate-keys, revoke-key, fingerprint, trust, send, logs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from fedyard.agent.courier import INLINE_AT_MOST_BYTES, Courier, Directory
from fedyard.agent.logs import KIND, Piece
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.agent.upkeep import EPOCHS_PER_DAY, tend
from fedyard.cli.common import (
    NOWHERE,
    UsageError,
    client_of,
    command,
    courier_of,
    folder_of,
    names_of,
    project_named,
    run_named,
    silent,
)
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.sealed.errors import Malformed, Replayed, SealError
from fedyard.sealed.keys import MICROS, fingerprint, hex_groups, words
from fedyard.sealed.sealing import Address
from fedyard.sealed.trust import How, Member, Pin, named
from fedyard.wire import answers as a
from fedyard.wire.shown import LINE_AT_MOST, shown
from fedyard.wire.types import Undecodable, decode

LOOK_AGAIN_S = 5
"""While a log is followed: how often it is looked whether the run has ended, which wakes no reader of logs."""
LARGE_KIND = "result"
"""What a message is called that goes by an artifact."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Put the commands to the others."""
    command(commands, "keys", "this site's sealing keys", _keys)
    command(commands, "rotate-keys", "publish a new sealing key now", _rotate)
    revoke = command(commands, "revoke-key", "give a sealing key up at once, e.g. because it was stolen", _revoke)
    revoke.add_argument("epoch", type=int)

    fingers = command(commands, "fingerprint", "this site's fingerprint, and those of the sites it knows", _fingerprint)
    fingers.add_argument("site", nargs="?", help="a site's name or id")
    trust = command(commands, "trust", "say that you have compared a site's fingerprint", _trust)
    trust.add_argument("site", help="its name or id")
    trust.add_argument("fingerprint", nargs="+", help="the twelve words, or the hex digits, as that site told you")
    trust.add_argument("--replace", action="store_true", help="the site has told you that its identity is a new one")

    send = command(commands, "send", "send a sealed message", _send)
    send.add_argument("project")
    send.add_argument("--to", nargs="+", required=True, help="coordinator, participants, or names of sites")
    what = send.add_mutually_exclusive_group(required=True)
    what.add_argument("--text")
    what.add_argument("--file", type=Path)
    send.add_argument(
        "--kind", help="a word for the recipient's programs (default: message, and result if it is large)"
    )

    logs = command(commands, "logs", "what the sites' tasks say while they work", _logs)
    logs.add_argument("run", metavar="RUN", help="PROJECT/NUMBER, the run's id, or how that begins")
    logs.add_argument("--follow", action="store_true", help="until the run is finished")
    logs.add_argument("--site", help="of this site only: its name or id")


# keys


def _keys(chosen: argparse.Namespace) -> None:
    table = Listing("epoch", "state", "made", "nothing is sealed to it from", "opens until")
    for epoch in folder_of(chosen).keyring().epochs():
        until = _time(epoch.gone_at) if epoch.state == "superseded" else ""
        state = epoch.state if epoch.published or epoch.revoked else "not published"
        table.add_row(str(epoch.key.epoch), state, _time(epoch.key.created), _time(epoch.key.expires), until)
    table.print()


def _rotate(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    ring = folder.keyring()
    before = max((epoch.key.epoch for epoch in ring.epochs()), default=0)
    tend(ring, folder.settings().keys, client_of(folder), micros_now(), log=silent, renew=True)
    if ring.current().epoch <= before:
        raise UsageError(f"{EPOCHS_PER_DAY} keys were begun within a day: begin the next one tomorrow")
    print(f"sealing key of epoch {ring.current().epoch} is published")


def _revoke(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    client, ring = client_of(folder), folder.keyring()
    if any(epoch.key.epoch == chosen.epoch for epoch in ring.epochs()):
        ring.revoke(chosen.epoch, micros_now())
    else:
        client.revoke_key(ring.site_id, chosen.epoch)
    tend(ring, folder.settings().keys, client, micros_now(), log=silent)
    print(f"epoch {chosen.epoch} is revoked, and its private key deleted; epoch {ring.current().epoch} is current")


def _time(micros: int | None) -> str:
    return "" if micros is None else datetime.fromtimestamp(micros / MICROS, UTC).isoformat(timespec="seconds")


# trust


def _fingerprint(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    settings = folder.settings()
    pins = folder.trust(settings).pins()
    if chosen.site is None:
        _print_fingerprint(f"this site, {settings.name}", fingerprint(folder.keyring().identity_key))
        hub = folder.trust(settings).hub_pin()
        if hub is not None:
            _print_fingerprint(f"the hub, {settings.hub} (its chains of events; {_how(hub.how)})", hub.finger)
        known = sorted((p for p in pins.values() if p.site_id != folder.site_id()), key=lambda pin: pin.name)
    else:
        known = named(pins, chosen.site)
        if not known:
            raise UsageError(f"this site has not met any site {chosen.site!r} yet")
    for pin in known:
        _print_fingerprint(f"{pin.name} ({pin.site_id}; {_how(pin.how)})", pin.finger)


def _how(how: How) -> str:
    return "compared" if how == "fingerprint" else "seen, nobody has compared it"


def _print_fingerprint(whose: str, finger: bytes) -> None:
    print(f"{whose}\n  {hex_groups(finger)}\n  {words(finger)}")


def _trust(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    trust = folder.trust(folder.settings())
    member = _shown(folder, client_of(folder), chosen.site, trust.pins())
    try:
        pin = trust.confirm(member, " ".join(chosen.fingerprint), micros_now(), replace=chosen.replace)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"{pin.name} ({pin.site_id}) is trusted: {words(pin.finger)}")


def _shown(folder: Folder, client: Client, site: str, pins: dict[str, Pin]) -> Member:
    """A site as the hub shows it now, or, if no project has it any more, as it was pinned."""
    found: dict[str, Member] = {}
    for project in client.projects(member=folder.site_id()):
        for item in client.project_keys(project.id):
            if site in (item.site_id, item.site_name):
                found[item.site_id] = Member(
                    site_id=item.site_id, name=item.site_name, role=item.role, identity=item.identity_key
                )
    for pin in named(pins, site):
        found.setdefault(pin.site_id, Member(site_id=pin.site_id, name=pin.name, role="", identity=pin.identity))
    if len(found) != 1:
        many = f"{len(found)} sites are called {site!r}: say the id" if found else f"no project has a site {site!r}"
        raise UsageError(many)
    return next(iter(found.values()))


# messages


def _send(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    client = client_of(folder)
    courier = courier_of(folder, client)
    project = project_named(client, chosen.project)
    to = _recipients(courier.directory(project.id), names_of(client), chosen.to)
    named_so = chosen.to[0] if chosen.to in (["coordinator"], ["participants"]) else to
    content = _content(chosen)
    kind = chosen.kind or "message"
    with tempfile.TemporaryDirectory(dir=folder.path) as spool:
        address = Address(courier.site_id, project.id, kind)
        parcel = courier.pack(content, address, to, Path(spool) / "body")
        artifact_id = None
        if parcel.file is not None:
            if chosen.kind is None:
                address = Address(courier.site_id, project.id, LARGE_KIND)
                parcel = courier.pack(content, address, to, Path(spool) / "body")
            artifact_id = courier.upload(parcel, address, f"message-{micros_now()}")
        state = State(folder.path / "state.sqlite")
        message_id = client.post_message(
            project.id,
            named_so,
            parcel.body,
            kind=address.kind,
            artifact_id=artifact_id,
            keep=lambda key, body: state.keep_sent(key, body, micros_now()),
        )
        state.close()
    print(f"message {message_id} is on its way to {len(to)} site{'s' * (len(to) != 1)}")


def _content(chosen: argparse.Namespace) -> bytes | Path:
    if chosen.text is not None:
        return str(chosen.text).encode()
    file: Path = chosen.file
    if not file.is_file():
        raise UsageError(f"--file {file} is no file")
    return file.read_bytes() if file.stat().st_size < INLINE_AT_MOST_BYTES else file


def _recipients(directory: Directory, names: dict[str, str], to: list[str]) -> list[str]:
    members = {*directory.keys, *directory.problems}
    if to == ["coordinator"]:
        return [directory.coordinator]
    if to == ["participants"]:
        return sorted(members - {directory.coordinator})
    found = {s for s in members if s in to or names.get(s) in to}
    if len(found) != len(set(to)):
        raise UsageError(f"--to {' '.join(to)}: not each of them is one member of the project")
    return sorted(found)


# logs


def _logs(chosen: argparse.Namespace) -> int:
    folder = folder_of(chosen)
    client = client_of(folder)
    courier = courier_of(folder, client)
    run = run_named(client, chosen.run)
    names = names_of(client)
    site = next((s for s, name in names.items() if chosen.site in (s, name)), chosen.site)
    place, good, finished = 0, True, run.finished
    while True:
        wait = LOOK_AGAIN_S if chosen.follow and not finished else 0
        pieces = client.logs(run.id, site_id=site, after=place, wait=wait)
        for piece in pieces:
            place = piece.at
            good = _print_piece(courier, run, piece, names.get(piece.site_id, piece.site_id)) and good
        if not pieces:
            if finished or not chosen.follow:
                return 0 if good else 1
            finished = client.run(run.id).finished


def _print_piece(courier: Courier, run: a.Run, piece: a.LogPiece, name: str) -> bool:
    """False if the piece cannot be trusted; then that is said in its place."""
    where = f"{name} task {piece.task_seq} round {piece.round}"
    try:
        opened = _opened(courier, run, piece)
    except SealError as error:
        print(f"{where}: piece {piece.seq} is not shown ({error.slug}): {error}", file=sys.stderr)
        return False
    for line in opened.text.splitlines():
        print(f"{_time(opened.at)} {where}  {shown(line, LINE_AT_MOST)}", flush=True)
    return True


def _opened(courier: Courier, run: a.Run, piece: a.LogPiece) -> Piece:
    """A piece of a log, if it is the one that its site wrote in this place."""
    expected = Address(piece.site_id, run.project_id, KIND, run.id, piece.task_seq, piece.round)
    place = f"log {run.id}/{piece.task_seq}/{piece.site_id}/{piece.seq}"
    content = courier.unpack(piece.body, expected, place=place, target=NOWHERE).content
    assert isinstance(content, bytes)
    try:
        opened = decode(content, Piece)
    except Undecodable:
        raise Malformed("a piece of a log that no agent has written") from None
    if opened.seq != piece.seq:
        raise Replayed(f"a piece of a log that was numbered {opened.seq}")
    return opened
