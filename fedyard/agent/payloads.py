"""What the entries of a run carry, opened and checked against their entry; and what the hooks made, sealed.

Opened content is kept in place of its sealed form, since the key that opens it will be gone one day. Large content
lies in the run's private folder and goes with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fedyard.agent import contract
from fedyard.agent.courier import Courier, Parcel, Unpacked
from fedyard.agent.paths import agents_own, under
from fedyard.agent.patience import Patience
from fedyard.agent.room import Room
from fedyard.agent.state import Egress, LeftOut, Made, Outgoing, State
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.clock import micros_now
from fedyard.sealed.errors import Gone, Malformed, NoKey, Readdressed, SealError
from fedyard.sealed.sealing import Address, Origin, receipt_of
from fedyard.sealed.trust import Changed
from fedyard.tasks import jobs
from fedyard.tasks.packed import size_and_digest
from fedyard.wire.answers import Entry, Message
from fedyard.wire.durable import write_whole
from fedyard.wire.notices import Submitted

KEY_TRIES = 15
KEY_PAUSE_S = 2.0
"""How often, and after which pause, a missing key is asked for again: its agent may just be starting."""
MAX_TOGETHER_BYTES = 16_777_216
"""Of the updates of a round that are handed to the task in memory; the others lie in files."""
MAX_DETAIL = 200
"""Characters of what is said of one update that cannot be opened."""

_OUT = ("failed", "dropped", "cancelled")
"""Seats that get no more models."""


class Usable(msgspec.Struct, frozen=True):
    """The updates that a model can be made of.

    left_out: whose cannot be used, and why. receipts: by site, of those that were sealed.
    """

    updates: list[jobs.Submitted]
    left_out: Sequence[LeftOut]
    receipts: Mapping[str, str]


class Payloads:
    """The payloads of one site's runs. Raises `SealError` for what cannot be sealed or opened."""

    def __init__(
        self,
        folder: Path,
        state: State,
        client: Client,
        courier: Courier,
        patience: Patience,
        room: Room,
        log: Callable[..., None],
    ) -> None:
        self._folder = folder
        self._state, self._client, self._courier, self._patience = state, client, courier, patience
        self._log = log
        self._room = room
        self._opening = threading.Condition()
        self._being_opened: set[str] = set()

    # in

    def model(self, entry: Entry, message_id: str, *, start: bool = False) -> Unpacked:
        """A global model: the one of the entry's round, or, with `start`, the one that its seat begins with.

        Empty if it is gone from the hub.
        """
        project_id = _of(entry)[2]
        coordinator = self._patience.asked(entry, lambda: self._courier.directories.of(project_id)).coordinator
        found = self._opened(entry, message_id, _address(entry, coordinator, "model"), anywhere=start)
        return found or Unpacked(b"")

    def model_origin(self, message_id: str | None) -> Origin | None:
        """What the header of a model said that was opened here before; None if it was not, or came unsealed."""
        known = None if message_id is None else self._state.bodies.get(message_id)
        return None if known is None else known.origin

    def start_of(self, entry: Entry, message_id: str | None) -> str | None:
        """The seal digest of a model that this site has sealed, as the hub shows it; None if it was not sealed.

        Raises `SealError` if it is none of this site's, or of another project.
        """
        message = None if message_id is None else self._fetched(entry, message_id)
        return None if message is None else self._courier.signed_by_us(message.body, _of(entry)[2], "model")

    def members(self, entry: Entry) -> set[str]:
        """The project's members of now, by the hub's directory; a model is sealed to them alone."""
        project_id = _of(entry)[2]
        directory = self._patience.asked(entry, lambda: self._courier.directories.of(project_id, fresh=True))
        return {*directory.keys, *directory.problems}

    def updates(
        self, entry: Entry, submissions: Sequence[Submitted], task: str, models: Collection[str | None]
    ) -> Usable:
        """What the sites have submitted, sorted by site, since sums of floats depend on the order; and who is left out.

        An update that cannot be opened, that is gone, or that was made of another task or model than this site's
        leaves its site out (task, models: `contract.why_left_out`). Raises `Changed`, which is no matter of one update,
        and `ListRefused` where the hub shows an update in another place than it was sealed for.
        """
        found: list[jobs.Submitted] = []
        left_out: list[LeftOut] = []
        receipts: dict[str, str] = {}
        inline = 0
        for s in sorted(submissions, key=lambda s: s.site_id):
            if s.message_id is None:
                continue
            expected = _address(entry, s.site_id, "update")
            try:
                opened = self._opened(entry, s.message_id, expected)
                if opened is None:
                    raise Gone(f"the update of site {s.site_id} is not at the hub any more")
            except Changed:
                raise
            except Readdressed as error:
                raise contract.ListRefused("list_of_another_round", error.fact) from None
            except SealError as error:
                left_out.append(self._left_out(entry, s.site_id, f"seal_{error.slug}", error.fact))
                continue
            why = None if opened.origin is None else contract.why_left_out(opened.origin, task, models)
            if why is not None:
                left_out.append(self._left_out(entry, s.site_id, *why))
                continue
            if opened.origin is not None:
                receipts[s.site_id] = receipt_of(opened.origin.digest)
            content = opened.content
            if isinstance(content, bytes):
                inline += len(content)
                if inline > MAX_TOGETHER_BYTES:
                    content = self._spooled(entry, s.message_id, content)
            found.append(jobs.Submitted(s.site_id, jobs.packed(content), s.metrics))
        return Usable(found, tuple(left_out), receipts)

    def _left_out(self, entry: Entry, site_id: str, reason: str, fact: str) -> LeftOut:
        self._log("left out", entry=entry.seq, about=site_id, reason=reason.removeprefix("seal_"), detail=fact)
        return LeftOut(site_id, reason, fact[:MAX_DETAIL])

    def _spooled(self, entry: Entry, message_id: str, content: bytes) -> Path:
        """Content in a file of the run's folder, so that the updates of a round need not fit into memory at once."""
        path = under(self._work(entry), f"in-{message_id}")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, content)
        return path

    def arrived(self, entry: Entry) -> None:
        """Open a message of another site, or an update for a round that this site coordinates.

        Large messages lie in the folder `messages`, as far as it has room. Raises `NoRoom`.
        """
        message = entry.message
        if message is None:
            raise Malformed(f"entry {entry.seq} comes without its message")
        if message.kind == "update":
            self._opened(entry, message.id, _address(entry, message.sender_site_id or "", "update"))
            return
        sender, project_id = message.sender_site_id, entry.project_id
        if sender is None or project_id is None:
            raise Malformed(f"message {message.id} comes without its sender or its project")
        expected = Address(sender, project_id, message.kind, entry.run_id)
        place = f"entry {entry.seq}"
        if message.artifact_id is None:
            self._opened(entry, message.id, expected, place=place, target=under(self._folder / "messages", message.id))
            return
        size = max(message.size_bytes, self._courier.size_of(message.body))
        with self._room.place(sender, message.id, size, micros_now()) as target:
            self._opened(entry, message.id, expected, place=place, target=target)

    def _opened(
        self,
        entry: Entry,
        message_id: str,
        expected: Address,
        *,
        anywhere: bool = False,
        place: str = "",
        target: Path | None = None,
    ) -> Unpacked | None:
        """A message's content: as it was opened before, or opened now; None if it is gone from the hub, too.

        Messages have a thread of their own beside those of runs: the same one is opened by one of them at a time.
        """
        with self._alone_with(message_id):
            return self._open(entry, message_id, expected, anywhere=anywhere, place=place, target=target)

    @contextmanager
    def _alone_with(self, message_id: str) -> Iterator[None]:
        with self._opening:
            self._opening.wait_for(lambda: message_id not in self._being_opened)
            self._being_opened.add(message_id)
        try:
            yield
        finally:
            with self._opening:
                self._being_opened.remove(message_id)
                self._opening.notify_all()

    def _open(
        self,
        entry: Entry,
        message_id: str,
        expected: Address,
        *,
        anywhere: bool,
        place: str,
        target: Path | None,
    ) -> Unpacked | None:
        known = self._state.bodies.get(message_id)
        if known is not None and known.opened:
            if not known.file:
                return Unpacked(known.body, known.origin)
            if Path(known.file).exists():
                return Unpacked(Path(known.file), known.origin)
        message = self._fetched(entry, message_id)
        if message is None or (message.body is None and message.artifact_id is None):
            return None
        target = target or under(self._work(entry), f"in-{message_id}")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = self._patience.asked(
            entry,
            lambda: self._courier.unpack(
                message.body,
                expected,
                place=place or f"message {message_id}",
                target=target,
                artifact_id=message.artifact_id,
                anywhere=anywhere,
            ),
        )
        self._state.bodies.keep_opened(message, entry, opened.content, opened.origin)
        return opened

    def _fetched(self, entry: Entry, message_id: str) -> Message | None:
        """A message from disk or from the hub."""
        known = self._state.bodies.get(message_id)
        if known is not None and not known.opened:
            return Message(
                id=message_id,
                kind=known.kind,
                body=known.body or None,
                sender_site_id=known.sender,
                artifact_id=known.artifact_id,
            )
        try:
            return self._patience.asked(entry, lambda: self._client.message(message_id))
        except Refused as error:
            if error.token_unknown:
                raise
            return None

    # out

    def sealed_update(self, entry: Entry, made: Made) -> dict[str, object]:
        """The fields of a report that carry an update, sealed to the coordinator."""
        return self._sent(entry, made, "update", lambda _last: [self._coordinator(entry)])

    def sealed_model(self, entry: Entry, made: Made) -> dict[str, object]:
        """The fields of a report that carry a model, sealed to every member that has a key, this site among them."""
        return self._sent(entry, made, "model", lambda last: self._everybody(entry, made, last))

    def forget(self, entry: Entry) -> None:
        """The hub has what was made: files and rows of it go."""
        out, made = (
            self._state.results.outgoing(entry.seq, entry.run_id),
            self._state.results.made(entry.seq, entry.run_id),
        )
        self._state.results.forget_made(entry.seq)
        for file in {out.file if out else "", made.file if made else ""} - {""}:
            Path(file).unlink(missing_ok=True)

    def renew(self, entry: Entry) -> None:
        """The directory has changed: ask for it before anything is sealed again."""
        self._courier.directories.forget(entry.project_id)

    def _coordinator(self, entry: Entry) -> str:
        return self._courier.directories.of(_of(entry)[2]).coordinator

    def _everybody(self, entry: Entry, made: Made, last: bool) -> list[str]:
        """Every member that has a key, and every site with a seat: `NoKey` if one of these has none, until `last`.

        Nobody waits for a site that was left out: its seat ends with this model.
        """
        directory = self._courier.directories.of(_of(entry)[2])
        waited_for = set() if last else set(directory.problems) & self._seated(entry)
        for site_id in sorted(waited_for - {one.site_id for one in made.left_out}):
            if isinstance(directory.problems[site_id], NoKey):
                raise directory.problems[site_id]
        if directory.problems:
            problems = {site_id: error.slug for site_id, error in sorted(directory.problems.items())}
            self._log("model not sealed to", run=entry.run_id, round=entry.round, sites=problems)
        return sorted({*directory.keys, self._courier.site_id})

    def _seated(self, entry: Entry) -> set[str]:
        """The sites that go on in the entry's task run."""
        run_id, task_seq, _ = _of(entry)
        seats = self._client.run(run_id).task(task_seq).seats
        return {seat.site_id for seat in seats if seat.state not in _OUT}

    def _sent(self, entry: Entry, made: Made, kind: str, to: Callable[[bool], list[str]]) -> dict[str, object]:
        run_id = _of(entry)[0]
        address = _address(entry, self._courier.site_id, kind)
        out = self._state.results.outgoing(entry.seq, entry.run_id)
        if out is None:
            parcel = self._packed(entry, made, address, to)
            self._state.runs.keep_sealed(entry, kind, parcel.digest, made.digests, _leaving(entry, kind, parcel, made))
            if parcel.file is None:
                return {kind: parcel.body}
            out = Outgoing(entry.seq, run_id, parcel.body, str(parcel.file))
            self._state.results.keep_outgoing(out)
        if out.artifact_id is None:
            parcel = Parcel(out.seal, Path(out.file))
            key = f"artifact-{run_id}-{entry.seq}-{Path(out.file).stat().st_mtime_ns}"
            artifact_id = self._patience.asked(entry, lambda: self._courier.upload(parcel, address, key))
            out = msgspec.structs.replace(out, artifact_id=artifact_id)
            self._state.results.keep_outgoing(out)
        return {kind: out.seal, f"{kind}_artifact_id": out.artifact_id}

    def _packed(self, entry: Entry, made: Made, address: Address, to: Callable[[bool], list[str]]) -> Parcel:
        """Sealed, after a while of patience with a recipient whose agent is only just starting."""
        spool = under(self._work(entry), f"out-{entry.seq}")
        spool.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(KEY_TRIES):
            try:
                return self._patience.asked(
                    entry, lambda: self._courier.pack(made.content, address, to(False), spool, made.digests)
                )
            except NoKey:
                self._patience.pause(entry, KEY_PAUSE_S)
                self._courier.directories.forget(address.project)
        return self._patience.asked(
            entry, lambda: self._courier.pack(made.content, address, to(True), spool, made.digests)
        )

    def _work(self, entry: Entry) -> Path:
        """This agent's own folder of the entry's task run."""
        run_id, task_seq, _ = _of(entry)
        return agents_own(self._folder / "runs", run_id, task_seq)


def _of(entry: Entry) -> tuple[str, int, str]:
    """Run, task and project that an entry is about."""
    if entry.run_id is None or entry.task_seq is None or entry.project_id is None:
        raise Readdressed(f"entry {entry.seq} ({entry.kind}) names no run, task or project")
    return entry.run_id, entry.task_seq, entry.project_id


def _leaving(entry: Entry, kind: str, parcel: Parcel, made: Made) -> Egress:
    """What is put on record of it before any of it leaves."""
    run_id, task_seq, project_id = _of(entry)
    size, digest = size_and_digest(made.content)
    return Egress(
        at=micros_now(),
        project_id=project_id,
        run_id=run_id,
        task_seq=task_seq,
        round=entry.round or 0,
        kind=kind,
        recipients=parcel.to,
        size_bytes=size,
        digest=digest,
        seal=parcel.digest,
        norm=made.norm,
        metrics=made.metrics,
    )


def _address(entry: Entry, sender: str, kind: str) -> Address:
    """Where a payload of the entry's round belongs."""
    run_id, task_seq, project_id = _of(entry)
    return Address(sender, project_id, kind, run_id, task_seq, entry.round)
